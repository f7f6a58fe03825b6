"""Noticing that a client has left."""

import asyncio
from contextvars import ContextVar, copy_context
from typing import Any

import pytest
from support.operations import operation_on

from potassium.engine import Job
from potassium.serving.disconnects import PATIENCE, Disconnects

TENANT: ContextVar[str] = ContextVar("tenant", default="nobody")

OPERATION = operation_on("work", lambda argument: argument)


class Client:
    """The client's side of one request, which stays connected until it leaves."""

    def __init__(self) -> None:
        self.left = asyncio.Event()
        self.watched = 0

    async def receive(self) -> dict[str, Any]:
        self.watched += 1
        await self.left.wait()
        return {"type": "http.disconnect"}


def job() -> Job:
    return Job(OPERATION, None, asyncio.get_running_loop().create_future())


@pytest.fixture
def called_off() -> list[Job]:
    return []


async def later() -> None:
    """Wait until calls that were noted before are watched, however late the loop is."""
    for _ in range(3):  # each is due after a look that was due before it
        await asyncio.sleep(PATIENCE)


async def soon() -> None:
    """Let the tasks go on that are ready, and those that they wake."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_client_that_leaves_is_noticed(called_off: list[Job]) -> None:
    """The job of a client that left is called off, and only that one."""
    departures = Disconnects(called_off.append)
    clients, jobs = [Client() for _ in range(3)], [job() for _ in range(3)]
    for one, client in zip(jobs, clients, strict=True):
        departures.note(one, client.receive)
    await later()
    clients[1].left.set()
    await soon()
    assert called_off == [jobs[1]]
    for one in jobs:
        one.future.cancel()


async def test_a_client_that_left_before_the_watch_is_noticed(called_off: list[Job]) -> None:
    """A client that leaves in the first milliseconds is noticed too."""
    departures = Disconnects(called_off.append)
    client, one = Client(), job()
    client.left.set()
    departures.note(one, client.receive)
    await later()
    assert called_off == [one]


async def test_calls_that_end_soon_are_not_watched(called_off: list[Job]) -> None:
    """A call that ends within a few milliseconds costs no task."""
    departures = Disconnects(called_off.append)
    clients = [Client() for _ in range(10)]
    for client in clients:
        one = job()
        departures.note(one, client.receive)
        one.future.set_result(None)
    await later()
    assert [client.watched for client in clients] == [0] * 10


async def test_calls_noted_after_a_look_are_watched_too(called_off: list[Job]) -> None:
    """The timer runs for as long as anything is noted, and starts again afterwards."""
    departures = Disconnects(called_off.append)
    for _ in range(3):
        client, one = Client(), job()
        departures.note(one, client.receive)
        await asyncio.sleep(PATIENCE / 2)
        departures.note(one, client.receive)
        await later()
        assert client.watched == 2
        one.future.cancel()


async def test_watching_ends_with_the_job(called_off: list[Job]) -> None:
    """Once a job is settled, its watcher is gone, and a later disconnect has no effect."""
    tasks = len(asyncio.all_tasks())
    departures = Disconnects(called_off.append)
    client, one = Client(), job()
    departures.note(one, client.receive)
    await later()
    assert len(asyncio.all_tasks()) == tasks + 1
    one.future.set_result(None)
    await soon()
    assert len(asyncio.all_tasks()) == tasks
    client.left.set()
    await soon()
    assert called_off == []


async def test_closed_departures_watch_nothing_more(called_off: list[Job]) -> None:
    """After the stop, calls that were noted before are not watched."""
    departures = Disconnects(called_off.append)
    client, one = Client(), job()
    departures.note(one, client.receive)
    departures.close()
    await later()
    assert client.watched == 0


async def test_a_receive_that_never_waits_does_not_freeze_the_loop(called_off: list[Job]) -> None:
    """A receive() that returns something other than a disconnect is not called again."""
    departures = Disconnects(called_off.append)
    one = job()
    asked = 0

    async def replay() -> dict[str, Any]:
        nonlocal asked
        asked += 1
        return {"type": "http.request", "body": b"{}", "more_body": False}

    departures.note(one, replay)
    await later()
    assert (asked, called_off) == (1, [])


async def test_each_client_is_watched_with_the_variables_of_its_own_request(
    called_off: list[Job],
) -> None:
    """Middleware may have wrapped ``receive``; one timer looks after all calls."""
    seen: dict[str, str] = {}
    disconnects = Disconnects(called_off.append)

    def note(name: str) -> Job:
        async def receive() -> dict[str, Any]:
            seen[name] = TENANT.get()
            await asyncio.Event().wait()
            raise AssertionError

        TENANT.set(name)
        noted = job()
        disconnects.note(noted, receive)
        return noted

    jobs = [copy_context().run(note, name) for name in ("acme", "umbrella")]
    await later()
    assert seen == {"acme": "acme", "umbrella": "umbrella"}
    for one in jobs:
        one.settle()
    disconnects.close()
