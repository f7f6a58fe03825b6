"""Far more requests at once than the queue takes."""

import asyncio
import resource
import sys
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest
from e2e.server import Server, serve_source, wait_until
from e2e.wire import RECORD, call, events, post

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
QUEUE_SIZE = 64  # calls
CROWD = 10_000  # requests
BATCH = 100  # requests at a time
T = TypeVar("T")

SOURCE = (
    RECORD
    + f"""
from potassium import Limits, Potassium

app = Potassium("server", limits=Limits(queue_size={QUEUE_SIZE}))


@app.handler
def handler(cache, json_in):
    time.sleep(0.002)  # shorter ones would leave the queue several at a time
    return hold(json_in)


if __name__ == "__main__":
    app.serve()
"""
)


@pytest.fixture(scope="module", autouse=True)
def _enough_files() -> Iterator[None]:
    """Let this process, and the server that it starts, open enough connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = CROWD + 1000
    if hard != resource.RLIM_INFINITY and hard < needed:
        pytest.skip(f"needs {needed} open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, needed), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, _enough_files: None) -> Iterator[Server]:
    with serve_source(SOURCE, tmp_path_factory.mktemp("flood")) as server:
        yield server


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Path]:
    """Yield a path; handlers that wait go on once a file exists there."""
    gate = tmp_path / "gate"
    yield gate
    gate.touch()


@dataclass
class Caller(asyncio.Protocol):
    """One open connection and its answer; a task for each connection would be too slow."""

    transport: asyncio.Transport | None = None
    received: bytes = b""
    answered: asyncio.Event = field(default_factory=asyncio.Event)
    closed: asyncio.Event = field(default_factory=asyncio.Event)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received += data
        head, end, body = self.received.partition(b"\r\n\r\n")
        length = head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]
        if end and len(body) >= int(length):
            self.answered.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.answered.set()
        self.closed.set()

    def send(self, request: bytes) -> None:
        assert self.transport is not None
        self.received = b""
        self.answered.clear()
        self.transport.write(request)

    def outcome(self) -> str:
        """Return the status, and for an error also its code."""
        status = self.received[9:12].decode()
        code = self.received.partition(b'"code":"')[2].partition(b'"')[0].decode()
        return f"{status} {code}".strip()


@asynccontextmanager
async def connected(server: Server, number: int) -> AsyncIterator[list[Caller]]:
    """Open ``number`` connections, and reset them at the end."""
    loop = asyncio.get_running_loop()
    callers: list[Caller] = []
    try:
        while len(callers) < number:
            some = min(250, number - len(callers))
            opened = await asyncio.gather(
                *(loop.create_connection(Caller, "127.0.0.1", server.port) for _ in range(some))
            )
            callers += [caller for _, caller in opened]
        yield callers
    finally:
        for caller in callers:
            if caller.transport is not None:
                caller.transport.abort()
        await asyncio.gather(*(caller.closed.wait() for caller in callers))


async def answers(callers: Sequence[Caller]) -> Counter[str]:
    await asyncio.gather(*(caller.answered.wait() for caller in callers))
    return Counter(caller.outcome() for caller in callers)


def run(task: Coroutine[Any, Any, T], seconds: float = 50) -> T:
    async def bounded() -> T:
        async with asyncio.timeout(seconds):
            return await task

    return asyncio.run(bounded())


@asynccontextmanager
async def full(server: Server, gate: Path) -> AsyncIterator[None]:
    """Hold one call in the handler and a full queue behind it, then let them go."""
    async with connected(server, QUEUE_SIZE + 1) as callers, connected(server, 1) as [probe]:
        for caller in callers:
            caller.send(post("/", call("inside", gate)))
        while f'"length":{QUEUE_SIZE},' not in probe.received.decode():
            probe.send(b"GET /_k/status HTTP/1.1\r\nHost: a\r\n\r\n")
            assert await answers([probe]) == {"200": 1}
        assert not any(caller.answered.is_set() for caller in callers)
        yield
        gate.touch()  # noqa: ASYNC240 - an empty file, at once
        assert await answers(callers) == {"200": len(callers)}


def memory(server: Server) -> int:
    """Return the current resident memory of the process, in bytes."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024


def test_of_a_crowd_the_queue_and_the_running_one_are_served(server: Server, gate: Path) -> None:
    """Of 10 000 requests at once, 65 are served; the others are refused during the first one."""
    request = post("/", call("crowd", gate))

    async def flood() -> tuple[int, Counter[str]]:
        async with connected(server, CROWD) as callers:
            for caller in callers:
                caller.send(request)
            waiting = CROWD
            while waiting > QUEUE_SIZE + 1:
                await asyncio.sleep(0.05)
                waiting = sum(not caller.answered.is_set() for caller in callers)
            await asyncio.sleep(0.2)
            waiting = sum(not caller.answered.is_set() for caller in callers)
            gate.touch()  # noqa: ASYNC240 - an empty file, at once
            return waiting, await answers(callers)

    waiting, outcomes = run(flood())
    assert waiting == QUEUE_SIZE + 1
    assert outcomes == {"200": QUEUE_SIZE + 1, "503 queue_full": CROWD - QUEUE_SIZE - 1}
    assert events(server, "crowd starts") == ["crowd starts"] * (QUEUE_SIZE + 1)


def test_each_of_a_crowd_is_refused_during_the_first_call(server: Server, gate: Path) -> None:
    """Of 10 000 calls, 100 at a time, nobody waits; benchmarks/overload.py measures how long."""
    request = post("/", call("refused", gate))

    async def flood() -> None:
        async with full(server, gate), connected(server, BATCH) as callers:
            for _ in range(CROWD // BATCH):
                for caller in callers:
                    caller.send(request)
                assert await answers(callers) == {"503 queue_full": BATCH}

    run(flood())
    assert events(server, "refused starts") == []


def test_a_server_in_a_crowd_is_alive(server: Server, gate: Path) -> None:
    """Each liveness probe is answered 200 during refusals at full speed."""
    request = post("/", call("refused", gate))

    async def flood() -> None:
        async with (
            full(server, gate),
            connected(server, BATCH) as callers,
            connected(server, 1) as [probe],
        ):
            for _ in range(20):
                for caller in callers:
                    caller.send(request)
                probe.send(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
                assert await answers([probe]) == {"200": 1}
                await answers(callers)

    run(flood())


def test_memory_does_not_grow_with_refused_requests(server: Server, gate: Path) -> None:
    """After the second and third 10 000 refusals, the process is as large as after the first."""
    request = post("/", {**call("refused", gate), "weight": "x" * 10_000})

    async def flood() -> list[int]:
        sizes = []
        async with full(server, gate), connected(server, BATCH) as callers:
            for _ in range(3):
                for _ in range(CROWD // BATCH):
                    for caller in callers:
                        caller.send(request)
                    assert await answers(callers) == {"503 queue_full": BATCH}
                sizes.append(memory(server))
        return sizes

    sizes = run(flood())
    assert max(sizes) - sizes[0] < 10_000_000  # of the 200 MB that were sent


def test_a_server_after_a_crowd_serves(server: Server, gate: Path) -> None:
    """When a crowd has left without its answers, the queue is empty and calls are served."""
    request = post("/", call("gone", gate))

    async def flood() -> None:
        async with connected(server, 1000) as callers:
            for caller in callers:
                caller.send(request)
            await asyncio.sleep(0.3)

    run(flood())
    wait_until(lambda: server.status()["queue"]["length"] == 0, "all that have left are taken out")
    gate.touch()
    assert server.post("/", call("last", gate)).json() == "last"
