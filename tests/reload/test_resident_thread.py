"""One thread for the GPU work of one version of an app after the other."""

import asyncio
import contextvars
import threading

import anyio.from_thread
import pytest
from support.calls import until

from potassium.reload.resident_thread import ResidentThread

VALUE: contextvars.ContextVar[str] = contextvars.ContextVar("value", default="none")


async def test_it_is_the_same_thread_each_time() -> None:
    seen: list[int] = []
    thread = ResidentThread()
    for _ in range(3):
        await thread.run(lambda: seen.append(threading.get_ident()))
    thread.close()

    assert len(set(seen)) == 1
    assert seen[0] != threading.get_ident()


async def test_it_ends_when_it_is_closed() -> None:
    found: list[threading.Thread] = []
    thread = ResidentThread()
    await thread.run(lambda: found.append(threading.current_thread()))
    thread.close()
    assert thread._host is not None
    await asyncio.wait_for(thread._host, 5)


async def test_each_function_runs_in_the_context_of_its_caller() -> None:
    seen: list[str] = []
    thread = ResidentThread()
    for value in ("one", "two"):
        VALUE.set(value)
        await thread.run(lambda: seen.append(VALUE.get()))
    thread.close()

    assert seen == ["one", "two"]


async def test_what_a_function_raises_is_raised() -> None:
    thread = ResidentThread()

    def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await thread.run(fail)
    await thread.run(lambda: None)
    thread.close()


async def test_a_function_may_call_the_event_loop() -> None:
    seen: list[int] = []

    async def on_loop() -> int:
        return threading.get_ident()

    thread = ResidentThread()
    await thread.run(lambda: seen.append(anyio.from_thread.run(on_loop)))
    thread.close()

    assert seen == [threading.get_ident()]


async def test_after_one_that_does_not_return_there_is_a_new_thread() -> None:
    seen: list[int] = []
    go = threading.Event()

    def hang() -> None:
        seen.append(threading.get_ident())
        go.wait()

    thread = ResidentThread()
    hanging = asyncio.ensure_future(thread.run(hang))
    await until(lambda: seen)
    hanging.cancel()
    await asyncio.wait({hanging})
    await thread.run(lambda: seen.append(threading.get_ident()))
    go.set()
    thread.close()

    assert hanging.cancelled()
    assert seen[0] != seen[1]
