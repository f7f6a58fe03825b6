"""Send random bytes to a server over sockets, and check what comes back; see fuzz.py.

Whatever a client sends, what comes back must be HTTP/1.1, with a response to each request as long
as all are good. A good request right after is answered. No exception reaches the event loop or the
log. In the end, there is no connection and no task, and memory is what it was.
"""

import asyncio
import gc
import logging
import socket
import struct
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import uvicorn
from fuzz_app import build
from fuzz_wire_check import wire_faults
from fuzz_wire_input import WireInput, make_wire

from potassium import Limits
from potassium.connections import Connections

TIME_LIMIT = 20.0  # seconds for one input
ENOUGH = 10  # failures after which to stop
CLIENTS = 400
CHECK_EVERY = 20  # inputs
WARM = 0.2  # of all inputs, after which memory is measured
MOST_GROWTH = 1.1
LIMITS = Limits(head_size=8192, head_timeout=0.5, body_timeout=0.2)
KEEP_ALIVE = 0.2  # seconds
LINGERS = struct.pack("ii", 1, 0)  # a reset instead of an end
GOOD = b"""POST / HTTP/1.1\r
Content-Type: application/json\r
Content-Length: 8\r
Connection: close\r
\r
{"x": 1}"""


@dataclass
class WireFindings:
    """How the inputs were answered, which of them failed, and memory in bytes, before and after."""

    statuses: Counter[int] = field(default_factory=Counter)
    inputs: int = 0
    failures: list[tuple[int, str]] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)


class Client(asyncio.Protocol):
    """A connection to the server."""

    def __init__(self) -> None:
        self.received: list[bytes] = []
        self.closed = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        self.received.append(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed.set_result(exc)


async def attempt(address: tuple[str, int], given: WireInput) -> tuple[list[int], str]:
    """Send one input; return the statuses of its responses, and what is wrong."""
    loop = asyncio.get_running_loop()
    transport, client = await loop.create_connection(Client, *address)
    try:
        for segment in given.segments:
            if transport.is_closing():
                break
            transport.write(segment)
            await asyncio.sleep(0)
        if given.end == "half-close" and not transport.is_closing():
            transport.write_eof()
        elif given.end == "reset":
            raw = cast("socket.socket", transport.get_extra_info("socket"))
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGERS)
            transport.abort()
        elif given.end == "close":
            transport.close()
        await asyncio.wait([client.closed], timeout=TIME_LIMIT)
    finally:
        transport.abort()
    return wire_faults(given, b"".join(client.received), was_closed=client.closed.done())


class Log(logging.Handler):
    """Keeps what must not be on the log."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record)[-2000:])


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Serve the app of fuzz.py, and a path that is answered in chunks."""
    if scope["type"] != "http" or scope["path"] != "/chunks":
        await fuzzed(scope, receive, send)
        return
    pieces, more = [b"a"], True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        pieces.append(message["body"])
        more = message["more_body"]
    await send({"type": "http.response.start", "status": 200})
    for piece in pieces:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body"})


fuzzed = build()


async def run_wire(seed: int, numbers: Iterable[int], total: int) -> WireFindings:
    """Send all inputs to one server; stop early if enough of them have failed."""
    log, findings = Log(), WireFindings()
    for name in ("uvicorn.error", "asyncio"):
        logging.getLogger(name).addHandler(log)
    config = uvicorn.Config(
        app,
        http=cast("Any", Connections(LIMITS, KEEP_ALIVE)),
        ws="none",
        lifespan="on",
        log_config=None,
    )
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        serving = asyncio.ensure_future(server.serve([listener]))
        while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.01)
        address, left = listener.getsockname(), iter(numbers)

        async def send() -> None:
            for number in left:
                await send_one(address, seed, number, findings)
                if log.lines:
                    findings.failures.append((number, f"on the log: {log.lines.pop()}"))
                if findings.inputs >= total * WARM and not findings.memory:
                    findings.memory.append(resident())
                if len(findings.failures) >= ENOUGH:
                    break

        await asyncio.gather(*(send() for _ in range(CLIENTS)))
        await end(server, findings)
        server.should_exit = True
        await serving
    return findings


async def send_one(
    address: tuple[str, int], seed: int, number: int, findings: WireFindings
) -> None:
    """Send an input, and now and then a good request after it."""
    given = make_wire(seed, number)
    statuses, fault = await attempt(address, given)
    findings.inputs += 1
    findings.statuses.update(statuses or [0])
    if fault:
        findings.failures.append((number, fault))
    if number % CHECK_EVERY == 0:
        statuses, fault = await attempt(address, WireInput([GOOD], "wait", responses=1))
        if fault or statuses not in ([200], [503]):
            findings.failures.append((number, f"a good request after it: {statuses} {fault}"))


async def end(server: uvicorn.Server, findings: WireFindings) -> None:
    """Look at what is left once all clients have gone."""
    state, until = server.server_state, time.monotonic() + TIME_LIMIT
    while (state.connections or state.tasks) and time.monotonic() < until:  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    if state.connections or state.tasks:
        left = f"{len(state.connections)} connections, {len(state.tasks)} tasks"
        findings.failures.append((0, f"{left} are left"))
    gc.collect()
    findings.memory.append(resident())
    if findings.memory[-1] > findings.memory[0] * MOST_GROWTH:
        findings.failures.append((0, f"memory grew: {findings.memory}"))


def resident() -> int:
    """Return how much memory this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def report_wire(seed: int, findings: WireFindings, seconds: float) -> None:
    """Print how the inputs were answered, and each failure with its input."""
    rate = findings.inputs / seconds
    print(f"Seed {seed}: {findings.inputs} inputs over sockets, {rate:.0f} a second")
    print("| status | responses |\n| --- | --- |")
    for status, count in sorted(findings.statuses.items()):
        print(f"| {status or 'none'} | {count} |")
    print("memory:", " to ".join(f"{size / 2**20:.1f} MiB" for size in findings.memory))
    for number, fault in findings.failures:
        shown = f"{make_wire(seed, number)!r:.1500}"
        print(f"\nFAILED: {fault} (--sockets --seed {seed} --only {number})\n{shown}")
    print(f"\n{len(findings.failures)} failures")
