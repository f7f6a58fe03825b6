"""Reading request bodies within a time limit."""

import asyncio
from typing import Any

import pytest

from potassium import Limits
from potassium.errors import BodyTimeout
from potassium.serving.bodies import Bodies

SCOPE = {"type": "http", "headers": []}


class Sender:
    """The client's side of one request, which may fall silent."""

    def __init__(self, *pieces: bytes, more: bool = False) -> None:
        self.pieces = list(pieces)
        self.more = more

    async def receive(self) -> dict[str, Any]:
        if not self.pieces:
            await asyncio.Event().wait()
        body = self.pieces.pop(0)
        return {"type": "http.request", "body": body, "more_body": bool(self.pieces) or self.more}


@pytest.mark.parametrize("pieces", [[], [b"half"]])
async def test_a_body_that_falls_silent_is_given_up(pieces: list[bytes]) -> None:
    """After the time limit the reader raises BodyTimeout, and its task goes on."""
    bodies = Bodies(Limits(body_timeout=0.03))
    sender = Sender(*pieces, more=True)
    loop = asyncio.get_running_loop()
    started = loop.time()
    with pytest.raises(BodyTimeout):
        await bodies.read(SCOPE, sender.receive)
    assert 0.02 < loop.time() - started < 1
    await asyncio.sleep(0)
    task = asyncio.current_task()
    assert task is not None
    assert not task.cancelling()


async def test_only_the_late_ones_are_given_up() -> None:
    """A body that arrives is read while another one is given up."""
    bodies = Bodies(Limits(body_timeout=0.03))
    silent = asyncio.create_task(bodies.read(SCOPE, Sender(b"half", more=True).receive))
    for _ in range(8):
        await asyncio.sleep(0.01)
        assert await bodies.read(SCOPE, Sender(b"a", b"b").receive) == b"ab"
    with pytest.raises(BodyTimeout):
        await silent


async def test_a_cancellation_from_outside_is_no_timeout() -> None:
    """A reader that its server cancels is cancelled, even if it is also late."""
    bodies = Bodies(Limits(body_timeout=0.02))
    silent = asyncio.create_task(bodies.read(SCOPE, Sender(b"half", more=True).receive))
    await asyncio.sleep(0)
    silent.cancel()
    with pytest.raises(asyncio.CancelledError):
        await silent


async def test_a_cancellation_beside_the_timeout_is_not_swallowed() -> None:
    """A reader that is cancelled from outside and late at the same moment is cancelled."""
    bodies = Bodies(Limits(body_timeout=0.02))
    silent = asyncio.create_task(bodies.read(SCOPE, Sender(b"half", more=True).receive))
    await asyncio.sleep(0)
    loop = asyncio.get_running_loop()
    bodies._under_way[silent] = loop.time() - 1
    bodies._look(loop)
    silent.cancel()
    with pytest.raises(asyncio.CancelledError):
        await silent


async def test_nothing_is_kept_of_bodies_that_are_read() -> None:
    """Once nothing is being read, no task and no timer is kept."""
    bodies = Bodies(Limits(body_timeout=0.02))
    for _ in range(100):
        await bodies.read(SCOPE, Sender(b"a").receive)
    await asyncio.sleep(0.02)
    assert (bodies._under_way, bodies._timer) == ({}, None)
