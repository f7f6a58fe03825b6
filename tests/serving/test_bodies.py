"""Reading request bodies within a time limit."""

import asyncio
from typing import Any

import pytest
from starlette.types import Receive

from potassium import Limits
from potassium.errors import BodyTimeout, BodyTooLarge, Overloaded
from potassium.serving.arrival import UNCOUNTED
from potassium.serving.bodies import TAKEN, Bodies
from potassium.serving.body_clock import BodyClock

SCOPE = {"type": "http", "headers": []}


async def read(bodies: Bodies, scope: Any, receive: Receive) -> bytes | None:
    """Return what is read for a handler that takes bytes."""
    received = await bodies.read(scope, receive, bodies.rule(None, spools=False))
    if received is None:
        return None
    _, body, held = received
    assert type(body) is bytes
    assert held == (len(body) if len(body) > UNCOUNTED else 0)
    return body


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
        await read(bodies, SCOPE, sender.receive)
    assert 0.02 < loop.time() - started < 1
    await asyncio.sleep(0)
    task = asyncio.current_task()
    assert task is not None
    assert not task.cancelling()


async def test_only_the_late_ones_are_given_up() -> None:
    """A body that arrives is read while another one is given up."""
    bodies = Bodies(Limits(body_timeout=0.03))
    silent = asyncio.create_task(read(bodies, SCOPE, Sender(b"half", more=True).receive))
    for _ in range(8):
        await asyncio.sleep(0.01)
        assert await read(bodies, SCOPE, Sender(b"a", b"b").receive) == b"ab"
    with pytest.raises(BodyTimeout):
        await silent


async def test_time_that_the_server_takes_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither while it lasts nor afterwards."""
    clock, loop, now = BodyClock(30), asyncio.get_running_loop(), 0.0
    task = asyncio.ensure_future(asyncio.Event().wait())
    with monkeypatch.context() as context:
        context.setattr(loop, "time", lambda: now)
        clock.begin(task, loop)
        with clock.standing_still(task):
            now += 100
            clock._look(loop)
        now += 29
        clock._look(loop)
        assert not task.cancelling()
        now += 1
        clock._look(loop)
        assert task.cancelling()
        clock.end(task)
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_cancellation_from_outside_is_no_timeout() -> None:
    """A reader that its server cancels is cancelled, even if it is also late."""
    bodies = Bodies(Limits(body_timeout=0.02))
    silent = asyncio.create_task(read(bodies, SCOPE, Sender(b"half", more=True).receive))
    await asyncio.sleep(0)
    silent.cancel()
    with pytest.raises(asyncio.CancelledError):
        await silent


async def test_a_cancellation_beside_the_timeout_is_not_swallowed() -> None:
    """A reader that is cancelled from outside and late at the same moment is cancelled."""
    bodies = Bodies(Limits(body_timeout=0.02))
    silent = asyncio.create_task(read(bodies, SCOPE, Sender(b"half", more=True).receive))
    await asyncio.sleep(0)
    loop = asyncio.get_running_loop()
    bodies._clock._under_way[silent] = loop.time() - 1
    bodies._clock._look(loop)
    silent.cancel()
    with pytest.raises(asyncio.CancelledError):
        await silent


async def test_nothing_is_kept_of_bodies_that_are_read() -> None:
    """Once nothing is being read, no task and no timer is kept."""
    bodies = Bodies(Limits(body_timeout=0.02))
    for _ in range(100):
        await read(bodies, SCOPE, Sender(b"a").receive)
    await asyncio.sleep(0.02)
    assert (bodies._clock._under_way, bodies._clock._timer) == ({}, None)


PART = b"a" * 20_000
ROOM = Limits(body_memory=50_000)


def announced(size: int, **headers: str) -> dict[str, Any]:
    given = [(name.encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http", "headers": [(b"content-length", b"%d" % size), *given]}


async def test_bodies_together_take_bounded_memory() -> None:
    """Those that have not been let go count; the first that does not fit is refused."""
    bodies = Bodies(ROOM)
    for _ in range(2):
        assert await read(bodies, SCOPE, Sender(PART).receive) == PART
    with pytest.raises(Overloaded):
        await read(bodies, SCOPE, Sender(PART).receive)
    bodies.memory.let_go(len(PART))
    assert await read(bodies, SCOPE, Sender(PART).receive) == PART


async def test_a_body_that_does_not_fit_is_refused_unread() -> None:
    """Its announced length is enough; whoever waits for 100 Continue does not send it at all."""
    bodies = Bodies(ROOM)
    await read(bodies, SCOPE, Sender(PART, PART).receive)
    sender = Sender(PART)
    with pytest.raises(Overloaded) as caught:
        await read(bodies, announced(len(PART)), sender.receive)
    assert caught.value.headers == {"Retry-After": "1"}
    with pytest.raises(Overloaded) as caught:
        await read(bodies, announced(len(PART), expect="100-continue"), sender.receive)
    assert caught.value.headers == {"Retry-After": "1", "Connection": "close"}
    assert sender.pieces == [PART]


async def test_a_body_that_stops_fitting_is_given_up_at_once() -> None:
    """Bodies on their way in count with what has arrived of them, if nothing was announced."""
    bodies = Bodies(ROOM)
    silent = asyncio.create_task(read(bodies, SCOPE, Sender(PART, PART, more=True).receive))
    await asyncio.sleep(0)
    sender = Sender(b"a" * 9000, PART, PART)
    with pytest.raises(Overloaded):
        await read(bodies, SCOPE, sender.receive)
    assert sender.pieces == [PART]
    silent.cancel()
    await asyncio.wait({silent})
    assert await read(bodies, SCOPE, Sender(PART, PART).receive) == PART + PART


async def test_what_is_only_announced_keeps_nobody_out() -> None:
    """Clients that announce large bodies and send nothing cost nothing."""
    bodies = Bodies(ROOM)
    silent = [
        asyncio.create_task(read(bodies, announced(50_000), Sender(more=True).receive))
        for _ in range(10)
    ]
    await asyncio.sleep(0)
    assert await read(bodies, announced(len(PART)), Sender(PART).receive) == PART
    for one in silent:
        one.cancel()
    await asyncio.wait(silent)


async def test_small_bodies_are_always_read() -> None:
    """Large ones do not keep them out."""
    bodies = Bodies(ROOM)
    await read(bodies, SCOPE, Sender(b"a" * 50_000).receive)
    for _ in range(100):
        assert await read(bodies, announced(3), Sender(b"a", b"b", b"c").receive) == b"abc"
        assert await read(bodies, announced(1000), Sender(b"a" * 1000).receive) == b"a" * 1000


async def test_one_body_alone_is_always_read() -> None:
    """The limit on a single body is another one."""
    bodies = Bodies(Limits(body_memory=1))
    assert await read(bodies, SCOPE, Sender(PART, PART).receive) == PART + PART
    assert bodies.memory.hold(10**9, own=2 * len(PART)) == 10**9


@pytest.mark.parametrize(
    "sender", [Sender(PART, more=True), Sender(PART, PART, PART)], ids=["late", "too large"]
)
async def test_a_body_that_is_given_up_counts_no_longer(sender: Sender) -> None:
    """Whatever the reason."""
    bodies = Bodies(Limits(body_timeout=0.02, body_size=50_000, body_memory=60_000))
    with pytest.raises((BodyTimeout, BodyTooLarge)):
        await read(bodies, SCOPE, sender.receive)
    assert bodies.memory.held == 0


async def test_a_client_that_leaves_in_mid_body_counts_no_longer() -> None:
    """What it had sent is let go."""
    bodies = Bodies(ROOM)
    messages = [{"type": "http.request", "body": PART, "more_body": True}]

    async def receive() -> dict[str, Any]:
        return messages.pop() if messages else {"type": "http.disconnect"}

    assert await read(bodies, SCOPE, receive) is None
    assert bodies.memory.held == 0


async def test_a_body_over_the_limit_closes_the_connection_of_one_who_waits() -> None:
    """Nobody can tell whether a client that expects 100 Continue sends the refused body."""
    bodies = Bodies(Limits(body_size=10))
    with pytest.raises(BodyTooLarge) as caught:
        await read(bodies, announced(11, expect="100-Continue"), Sender().receive)
    assert caught.value.headers == {"Connection": "close"}
    with pytest.raises(BodyTooLarge) as caught:
        await read(bodies, announced(11), Sender().receive)
    assert caught.value.headers == {}


async def test_a_body_that_was_read_is_taken_over() -> None:
    """Whoever reads next gets it and what counts for it, and the scope refers to it no more."""
    bodies = Bodies(Limits())
    rule = bodies.rule(None, spools=False)
    taken = await bodies.read(SCOPE, Sender(b"a" * 10_000).receive, rule)
    scope = {**SCOPE, TAKEN: taken}
    assert await bodies.read(scope, Sender().receive, rule) is taken
    assert TAKEN not in scope
    assert bodies.memory.held == 10_000


async def test_a_body_that_was_read_may_be_too_large_for_the_next() -> None:
    """It is refused, and counts no longer."""
    bodies = Bodies(Limits())
    taken = await bodies.read(SCOPE, Sender(b"a" * 10_000).receive, bodies.rule(None, spools=False))
    with pytest.raises(BodyTooLarge, match="at most 9999 bytes"):
        await bodies.read(
            {**SCOPE, TAKEN: taken}, Sender().receive, bodies.rule(9999, spools=False)
        )
    assert bodies.memory.held == 0
