"""The client against real server processes."""

import asyncio
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from e2e.jobs import IMPORTS, SERVE
from e2e.server import Server, Start, wait_until
from e2e.wire import call as held
from e2e.wire import events

from potassium.client import (
    AsyncClient,
    AsyncStream,
    Client,
    ConnectionFailed,
    DeadlineExceeded,
    JobEvent,
    NotFound,
)

MANY = 1000
APP = (
    IMPORTS
    + """
import asyncio

MANY = 1000
app = Potassium("client", jobs=Jobs(path="jobs.db", attempts=3), limits=Limits(queue_size=2000))
everybody = asyncio.Event()
here = 0


@app.handler("/echo")
def echo(cache, json_in: dict):
    return json_in


@app.handler("/hold")
def hold_(cache, json_in: dict):
    return hold(json_in)


@app.handler("/tokens")
def tokens(cache, json_in: dict):
    try:
        while True:
            yield "token"
            time.sleep(0.01)
    finally:
        note(f"{json_in['name']} closed")


@app.handler("/waits")
async def waits(cache, json_in: dict):
    note(f"{json_in['name']} starts")
    try:
        await asyncio.sleep(60)
    finally:
        note(f"{json_in['name']} cancelled")


@app.handler("/together", concurrency=MANY)
async def together(cache, json_in: dict):
    global here
    here += 1
    if here == MANY:
        everybody.set()
    await everybody.wait()
    return json_in["n"]


@app.background("/train")
def train(cache, request: Request):
    request.progress(0.5, "half")
    return {"name": hold(request.json)}
"""
    + SERVE
)
SMALL = (
    IMPORTS
    + """
app = Potassium("small", limits=Limits(queue_size=1))


@app.handler("/hold")
def hold_(cache, json_in: dict):
    return hold(json_in)
"""
    + SERVE
)


@dataclass
class Named:
    name: str


@pytest.fixture
def server(start: Start) -> Server:
    return start(APP)


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with Client(server.url, deadline=30) as client:
        yield client


def happens(server: Server, event: str) -> None:
    wait_until(lambda: event in events(server), event, seconds=10)


async def collect(stream: AsyncStream[Any]) -> list[Any]:
    return [item async for item in stream]


def killed(server: Server) -> None:
    server.process.send_signal(signal.SIGKILL)
    server.process.wait()


def test_calls(client: Client, name: str) -> None:
    """A result comes back as the type that is asked for, and a failure as an error."""
    assert client.call("/echo", {"name": name}, into=Named) == Named(name)
    with pytest.raises(NotFound):
        client.call("/nowhere")


def test_threads_share_a_client(client: Client, pool: ThreadPoolExecutor) -> None:
    """Each gets its own answer."""
    items = [{"n": n} for n in range(200)]
    assert list(pool.map(lambda item: client.call("/echo", item), items)) == items


def test_a_deadline_ends_the_handler_too(server: Server, client: Client, name: str) -> None:
    """The client raises on time, and the server does not go on for nobody."""
    with pytest.raises(DeadlineExceeded):
        client.call("/waits", {"name": name}, deadline=0.5)
    happens(server, f"{name} cancelled")


def test_leaving_a_stream_stops_its_handler(server: Server, client: Client, name: str) -> None:
    """The generator is closed where it stands."""
    got = []
    for token in client.stream("/tokens", {"name": name}):
        got.append(token)
        if len(got) == 3:
            break
    assert got == ["token"] * 3
    happens(server, f"{name} closed")


async def test_cancelling_a_stream_stops_its_handler(server: Server, name: str) -> None:
    """At once, not when the client is closed."""
    async with AsyncClient(server.url) as client:
        stream = client.stream("/tokens", {"name": name})
        await anext(stream)
        reading = asyncio.ensure_future(collect(stream))
        await asyncio.sleep(0.05)
        reading.cancel()
        await asyncio.wait([reading])
        assert reading.cancelled()
        await asyncio.to_thread(happens, server, f"{name} closed")


async def test_cancelling_a_call_cancels_its_handler(server: Server, name: str) -> None:
    """The connection is closed, and the server sees it."""
    async with AsyncClient(server.url) as client:
        call = asyncio.ensure_future(client.call("/waits", {"name": name}))
        await asyncio.to_thread(happens, server, f"{name} starts")
        call.cancel()
        await asyncio.wait([call])
        assert call.cancelled()
        await asyncio.to_thread(happens, server, f"{name} cancelled")


async def test_a_thousand_calls_run_at_a_time(server: Server) -> None:
    """None is answered before all have arrived; and once more, over the same connections."""
    async with AsyncClient(server.url, deadline=50) as client:
        for _ in range(2):
            calls = [client.call("/together", {"n": n}) for n in range(MANY)]
            assert await asyncio.gather(*calls) == list(range(MANY))


def test_a_job_is_waited_for_while_its_server_is_killed_and_restarted(
    start: Start, pool: ThreadPoolExecutor, gate: Path, name: str
) -> None:
    """The wait gets the result, and whoever follows the events sees each once."""
    server = start(APP)
    with Client(server.url) as client:
        job = client.submit("/train", held(name, gate))
        result = pool.submit(client.job(job.id).wait, 60, into=Named)
        told: list[JobEvent] = []
        followed = pool.submit(lambda: told.extend(job.events()))
        happens(server, f"{name} starts")
        wait_until(lambda: told, "the first event")
        killed(server)
        restarted = start(APP, port=server.port)
        gate.touch()
        assert result.result(60) == Named(name)
        followed.result(60)
        assert job.refresh().attempts == 2
    assert [event.id for event in told] == list(range(1, len(told) + 1))
    statuses = [event.data["status"] for event in told if event.kind == "status"]
    assert (statuses[0], statuses[-1]) == ("queued", "succeeded")
    assert events(restarted, name) == [f"{name} starts", f"{name} starts", f"{name} ends"]


def test_a_call_that_was_running_when_its_server_died_is_not_sent_again(
    start: Start, pool: ThreadPoolExecutor, gate: Path, name: str
) -> None:
    """It may have run. An idempotent one is sent to the next server."""
    server = start(APP)
    with Client(server.url, retries=30) as client:
        once = pool.submit(client.call, "/hold", held(f"{name} a", gate))
        happens(server, f"{name} a starts")
        again = pool.submit(lambda: client.call("/hold", held(f"{name} b", gate), idempotent=True))
        wait_until(lambda: server.status()["queue"]["length"] == 1, "the second call waits")
        killed(server)
        with pytest.raises(ConnectionFailed):
            once.result(10)
        restarted = start(APP, port=server.port)
        gate.touch()
        assert again.result(30) == f"{name} b"
    assert f"{name} a ends" not in events(restarted)


def test_a_refused_call_is_sent_again_when_the_server_says(
    start: Start, pool: ThreadPoolExecutor, gate: Path, name: str
) -> None:
    """The queue is full; the call gets its result all the same, after ``Retry-After``."""
    server = start(SMALL)

    def refused() -> int:
        counts: dict[str, Any] = server.status()["counts"]
        return int(counts["refused"])

    with Client(server.url, deadline=50, retries=30) as client:
        calls = [pool.submit(client.call, "/hold", held(f"{name} 0", gate))]
        happens(server, f"{name} 0 starts")
        for number in 1, 2:
            calls.append(pool.submit(client.call, "/hold", held(f"{name} {number}", gate)))
            wait_until(lambda: server.status()["queue"]["length"] == 1, "a call waits in the queue")
        wait_until(lambda: refused() >= 1, "a call is refused")
        gate.touch()
        assert sorted(call.result(50) for call in calls) == [f"{name} {n}" for n in range(3)]
