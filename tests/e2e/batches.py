"""Helpers for calls that wait together, and for the batches that they form."""

import json
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from e2e.server import Server, wait_until
from e2e.streams import send
from e2e.wire import RECORD, Answer, answer, call, events

# The common start of these tests' apps: an input type, and a handler that waits for a file.
APP = (
    RECORD
    + """
import os
import threading

from pydantic import BaseModel

from potassium import Batch, Limits, Potassium, Request, Response

app = Potassium("server")


class Item(BaseModel):
    name: str
    number: int
    fault: str = ""
    gate: str = ""
    cost: int = 1


def begin(items):
    name = items[0].name if isinstance(items[0], Item) else items[0]["name"]
    numbers = [item.number if isinstance(item, Item) else item["number"] for item in items]
    note(f"{name} batch {numbers}")


@app.handler("/hold")
def wait(cache, json_in):
    return hold(json_in)


@app.handler("/ordinary")
def ordinary(cache, json_in):
    return "served"
"""
)


def batches(server: Server, name: str) -> list[list[int]]:
    """Return the numbers of the inputs of each batch that ran, in order."""
    start = f"{name} batch "
    return [json.loads(line.removeprefix(start)) for line in events(server, start)]


def items(name: str, count: int, **faults: str) -> list[dict[str, Any]]:
    """Return ``count`` inputs; ``_3="raises"`` gives input number 3 that fault."""
    return [
        {"name": name, "number": number, "fault": faults.get(f"_{number}", "")}
        for number in range(count)
    ]


@contextmanager
def waiting(
    server: Server, gate: Path, path: str, bodies: Sequence[Any], *headers: str, noted: str = ""
) -> Iterator[list[socket.socket]]:
    """Hold the GPU thread until the gate opens, with a call for each of ``bodies`` in the queue.

    A call counts as queued while it is prepared. ``noted`` begins the note that each one makes
    then, and which is waited for.
    """
    with ExitStack() as stack:
        stack.enter_context(send(server, "/hold", call("holder", gate), timeout=20))
        wait_until(lambda: not server.status()["gpu_available"], "a handler that runs")
        connections = [
            stack.enter_context(send(server, path, body, *headers, timeout=20)) for body in bodies
        ]
        count = len(bodies)
        wait_until(lambda: server.status()["queue"]["length"] == count, "all in the queue")
        if noted:
            wait_until(lambda: len(events(server, noted)) == count, "all prepared")
            server.status()  # the loop has heard of them
        yield connections


def together(
    server: Server, gate: Path, path: str, bodies: Sequence[Any], *, noted: str = ""
) -> list[Answer]:
    """Call with all ``bodies`` at once, behind a running handler; return the answers."""
    with waiting(server, gate, path, bodies, noted=noted) as connections:
        gate.touch()
        return [answer(connection) for connection in connections]


def outcome(answered: Answer) -> Any:
    """Return the result, or the status and the code of an error."""
    return json.loads(answered.body) if answered.status == 200 else answered.error()


def outcomes(
    server: Server, gate: Path, path: str, bodies: Sequence[Any], *, noted: str = ""
) -> list[Any]:
    """Call with all ``bodies`` at once; return the result or error of each call."""
    return [outcome(answered) for answered in together(server, gate, path, bodies, noted=noted)]
