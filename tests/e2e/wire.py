"""Calls on plain sockets, for what an HTTP client would hide or not do."""

import json
import socket
import struct
from dataclasses import dataclass
from http.client import HTTPMessage, HTTPResponse
from pathlib import Path
from typing import Any

from e2e.server import Server

# What the handlers in the tests' apps do: record events and wait for a file.
RECORD = """
import pathlib
import time


def note(event):
    with open("events", "a") as events:
        print(event, file=events)


def wait_for(gate):
    while not pathlib.Path(gate).exists():
        time.sleep(0.005)


def hold(call):
    note(f"{call['name']} starts")
    wait_for(call["gate"])
    note(f"{call['name']} ends")
    return call["name"]
"""


def events(server: Server, name: str = "") -> list[str]:
    """Return the handlers' notes so far that begin with ``name``, in order."""
    file = server.log_file.parent / "events"
    lines = file.read_text().splitlines() if file.exists() else []
    return [line for line in lines if line.startswith(name)]


def call(name: str, gate: Path) -> dict[str, str]:
    """Return the body of a call that waits for a file."""
    return {"name": name, "gate": str(gate)}


def head(path: str, *headers: str) -> bytes:
    """Return the head of a POST that declares its body as JSON."""
    lines = [f"POST {path} HTTP/1.1", "Host: a", "Content-Type: application/json", *headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def post(path: str, body: Any, *headers: str) -> bytes:
    """Return a complete POST of ``body`` as JSON."""
    content = json.dumps(body).encode()
    return head(path, f"Content-Length: {len(content)}", *headers) + content


def reset(connection: socket.socket) -> None:
    """Close a connection with a RST, as a crashed client or a NAT timeout does."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


@dataclass
class Answer:
    """One answer from a socket."""

    status: int
    headers: HTTPMessage
    body: bytes

    def error(self) -> tuple[int, str]:
        """Return the status and the code of an error answer."""
        assert self.headers["content-type"] == "application/problem+json", self.body
        return self.status, json.loads(self.body)["code"]


def answer(connection: socket.socket) -> Answer:
    """Read one answer."""
    with HTTPResponse(connection, method="POST") as response:
        response.begin()
        return Answer(response.status, response.headers, response.read())


def is_closed(connection: socket.socket) -> bool:
    """Return whether the server closes the connection before the socket's timeout."""
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False
