"""Large bodies are bound off the event loop, one at a time."""

import asyncio
import gc
import threading
import weakref
from contextvars import ContextVar
from typing import Any

import pytest

from potassium.errors import Draining, MalformedJSON
from potassium.handlers.arguments import Binding, JsonObject
from potassium.handlers.intake import Intake
from potassium.http.message import Message

ONE: ContextVar[int] = ContextVar("one")


class Slow(Binding):
    """Records what it binds, and takes as long as it is told to."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.go = threading.Semaphore(0)
        self.bound: list[bytes] = []
        self.threads: set[str] = set()
        self.fails = False

    def __call__(self, message: Message) -> int:
        self.bound.append(message.body)
        self.threads.add(threading.current_thread().name)
        self.begun.release()
        fails = self.fails
        assert self.go.acquire(timeout=10)
        if fails:
            raise MalformedJSON
        return ONE.get(0)


def message(body: bytes) -> Message:
    return Message("id", [(b"content-type", b"application/json")], body)


async def begun(slow: Slow) -> None:
    assert await asyncio.to_thread(slow.begun.acquire, timeout=10)


async def test_one_is_bound_at_a_time_and_the_loop_goes_on() -> None:
    """They take turns on one thread, which sees the context of the request."""
    intake, slow = Intake(), Slow()
    ONE.set(7)
    calls = [asyncio.create_task(intake.argument(slow, message(b"%d" % n))) for n in range(2)]
    await begun(slow)
    assert slow.bound == [b"0"]
    slow.go.release()
    slow.go.release()
    assert await asyncio.gather(*calls) == [7, 7]
    assert slow.threads == {"potassium-intake_0"}
    intake.close()


async def test_what_nobody_waits_for_is_not_bound() -> None:
    """A request that is cancelled before its turn takes no time from the others."""
    intake, slow = Intake(), Slow()
    calls = [asyncio.create_task(intake.argument(slow, message(b"%d" % n))) for n in range(3)]
    await begun(slow)
    calls[1].cancel()
    await asyncio.wait({calls[1]})
    slow.go.release()
    slow.go.release()
    await asyncio.gather(calls[0], calls[2])
    assert slow.bound == [b"0", b"2"]
    intake.close()


class Watched(Message):
    """A message that a test can see being freed."""

    __slots__ = ("__weakref__",)


async def test_what_nobody_waits_for_is_freed_at_once() -> None:
    """While another request is bound, even one that nobody waits for either, none piles up."""
    intake, slow = Intake(), Slow()
    first = asyncio.create_task(intake.argument(slow, message(b"0")))
    await begun(slow)
    for is_left in (False, True):
        if is_left:
            first.cancel()
        one = Watched("id", [], b"1")
        freed = weakref.ref(one)
        call = asyncio.create_task(intake.argument(slow, one))
        del one
        await asyncio.sleep(0)
        call.cancel()
        await asyncio.wait({call})
        del call
        assert freed() is None
    slow.go.release()
    intake.close()


async def test_what_fails_with_nobody_left_is_no_mistake() -> None:
    """A client that leaves while its input is found to be invalid leaves nothing in the log."""
    intake, slow = Intake(), Slow()
    told: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    slow.fails = True
    call = asyncio.create_task(intake.argument(slow, message(b"0")))
    await begun(slow)
    call.cancel()
    await asyncio.wait({call})
    del call
    slow.go.release()
    slow.fails = False
    slow.go.release()
    assert await intake.argument(slow, message(b"1")) == 0
    gc.collect()
    assert told == []
    intake.close()


async def test_what_waits_when_it_is_closed_is_refused() -> None:
    """The server is stopping: the call would be refused after that anyway."""
    intake, slow = Intake(), Slow()
    calls = [asyncio.create_task(intake.argument(slow, message(b"%d" % n))) for n in range(3)]
    await begun(slow)
    intake.close()
    slow.go.release()
    first, *others = await asyncio.gather(*calls, return_exceptions=True)
    assert (first, [type(one) for one in others]) == (0, [Draining, Draining])


async def test_files_are_decoded_several_at_a_time() -> None:
    """Beside large bodies, on threads of their own: decoders release the GIL."""
    intake, slow, parsing = Intake(), Slow(), Slow()
    slow.decodes_files = True
    calls = [asyncio.create_task(intake.argument(slow, message(b"%d" % n))) for n in range(2)]
    calls.append(asyncio.create_task(intake.argument(parsing, message(b"2"))))
    await begun(slow)
    await begun(slow)
    await begun(parsing)
    for _ in calls:
        slow.go.release()
        parsing.go.release()
    await asyncio.gather(*calls)
    assert slow.threads == {"potassium-files_0", "potassium-files_1"}
    assert parsing.threads == {"potassium-intake_0"}
    intake.close()


async def test_a_body_that_is_invalid_is_refused_as_on_the_loop() -> None:
    """The error is the same."""
    intake = Intake()
    with pytest.raises(MalformedJSON):
        await intake.argument(JsonObject(), message(b"{"))
    intake.close()


async def test_a_closed_intake_leaves_no_thread_and_opens_again() -> None:
    """An app may be started again."""
    intake = Intake()
    intake.close()
    for _ in range(2):
        value: Any = await intake.argument(JsonObject(), message(b"{}"))
        assert value == {}
        (thread,) = [one for one in threading.enumerate() if one.name.startswith("potassium-in")]
        intake.close()
        await asyncio.to_thread(thread.join, 10)
        assert not thread.is_alive()
