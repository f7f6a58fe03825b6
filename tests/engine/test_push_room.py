"""Handlers that push chunks wait for their readers: for each, and all together, within bounds."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from support.operations import operation_on

from potassium import Limits
from potassium.engine.bridge import Bridge
from potassium.engine.failure import Failure
from potassium.engine.job import Job
from potassium.engine.pipeline import receive
from potassium.engine.push_room import PushRoom, PushShare
from potassium.engine.stream import BUFFER, CHUNK_OVERHEAD, Stream
from potassium.errors import ClientLeft, StreamBroken

HALF = b"x" * (BUFFER // 2 - CHUNK_OVERHEAD)


class Room:
    """A room, and streams that handlers push into."""

    def __init__(self, **limits: Any) -> None:
        options = {"send_buffer": 3 * BUFFER, "send_memory": 5 * BUFFER, "send_timeout": 60.0}
        self.loop = asyncio.get_running_loop()
        self.room = PushRoom(Limits(**(options | limits)))
        self.bridge: Bridge[Stream[Job]] = Bridge(self._tell, receive)

    def stream(self) -> Stream[Job]:
        job = Job(operation_on("push", print), None, self.loop.create_future())
        stream = job.stream = Stream(job, self.bridge)
        stream.share = PushShare(self.room)
        return stream

    def _tell(self, callback: Callable[[], object]) -> None:
        self.loop.call_soon_threadsafe(callback)


class Writer:
    """Sends halves of a buffer on a thread of its own, and counts those that were accepted."""

    def __init__(self, stream: Stream[Job], halves: int) -> None:
        self.sent = 0
        self.error: BaseException | None = None
        self._stream = stream
        self._halves = halves
        self._thread = threading.Thread(target=self._write, daemon=True)
        self._thread.start()

    def _write(self) -> None:
        try:
            for _ in range(self._halves):
                self._stream.send(HALF)
                self.sent += 1
        except BaseException as error:  # noqa: BLE001 - whatever it is
            self.error = error

    async def end(self) -> None:
        await asyncio.to_thread(self._thread.join, 10)
        assert not self._thread.is_alive()

    async def waits(self) -> None:
        """Return once the thread waits for its reader."""
        async with asyncio.timeout(10):
            while not self._stream.is_waiting:  # noqa: ASYNC110 - the thread tells nobody
                await asyncio.sleep(0.001)


async def test_one_call_may_be_its_buffer_ahead() -> None:
    """It waits when it is as far ahead as one call may be, and goes on when that was taken."""
    stream = Room().stream()
    writer = Writer(stream, 7)
    await writer.waits()
    assert writer.sent == 5  # the sixth half fills three buffers
    await stream.take()
    await writer.end()
    assert (writer.sent, writer.error) == (7, None)


async def test_all_calls_together_may_be_so_far_ahead() -> None:
    """When others have used up the memory for all, a call may still be one buffer ahead."""
    room = Room()
    others = [room.stream(), room.stream()]
    for other in others:
        for _ in range(4):
            other.send(HALF)
    assert room.room.ahead == 4 * BUFFER
    stream = room.stream()
    writer = Writer(stream, 3)
    await writer.waits()
    assert writer.sent == 1  # the second half fills a buffer
    await others[0].take()
    await writer.end()
    assert (writer.sent, writer.error) == (3, None)


@pytest.mark.parametrize("how", ["taken", "called off"])
async def test_a_waiting_thread_goes_on_when_there_is_room_or_no_need(how: str) -> None:
    """A thread that is too far ahead blocks until that is taken, or the job is called off."""
    stream = Room().stream()
    writer = Writer(stream, 6)
    await writer.waits()
    for _ in range(3):
        stream.wake()  # a spurious wake-up
        await asyncio.sleep(0.001)
    assert stream.is_waiting
    if how == "taken":
        await stream.take()
    else:
        stream.job.call_off(ClientLeft())
    await writer.end()
    assert not stream.is_waiting


async def test_a_call_waits_for_a_bounded_time_in_all() -> None:
    """However often its reader takes some, the call is cut off: there, and for its reader."""
    stream = Room(send_timeout=0.05).stream()
    writer = Writer(stream, 1000)
    while stream.job.called_off is None:
        await stream.take()
        await asyncio.sleep(0.01)
    await writer.end()
    assert isinstance(writer.error, StreamBroken)
    assert writer.sent < 1000
    with pytest.raises(StreamBroken):
        await stream.take()


@pytest.mark.parametrize("failure", [None, Failure(ValueError("no stream"))])
async def test_a_handler_that_goes_on_after_the_cut_sends_nothing_more(
    failure: Failure | None,
) -> None:
    """What its reader gets does not look whole, even if it has taken all before it is told."""
    room = Room(send_timeout=0.01)
    stream = room.stream()
    await Writer(stream, 6).end()
    with pytest.raises(StreamBroken):
        stream.send(b"more")
    stream.end(failure)
    assert isinstance(stream.failure, Failure)
    assert isinstance(stream.failure.to_raise(), StreamBroken)


async def test_a_background_job_waits_for_its_store() -> None:
    """No client reads it: the server itself does, so it is not cut off."""
    stream = Room(send_timeout=0.001).stream()
    stream.job.is_background = True
    writer = Writer(stream, 6)
    await writer.waits()
    await asyncio.sleep(0.01)
    await stream.take()
    await writer.end()
    assert (writer.sent, writer.error) == (6, None)


@pytest.mark.parametrize("how", ["taken", "called off", "called off before", "called off twice"])
async def test_what_nobody_will_read_takes_no_room(how: str) -> None:
    """All that a call took of the room is given back in the end, however it ends."""
    room = Room()
    stream = room.stream()
    if how == "called off before":
        stream.job.call_off(ClientLeft())
    for _ in range(4):
        stream.send(HALF)
    if how == "taken":
        stream.end()
        while await stream.take():
            pass
    else:
        stream.job.call_off(ClientLeft())
        stream.send(HALF)  # on its way when the call was called off
    if how == "called off twice":
        stream.job.call_off(ClientLeft())
    assert room.room.ahead == 0


async def test_threads_of_one_handler_lose_nothing() -> None:
    """If several threads send at the same time, each chunk is taken once, and all are counted."""
    room = Room()
    stream = room.stream()
    writers = [Writer(stream, 20) for _ in range(4)]
    count = 0
    async with asyncio.timeout(10):
        while count < 80:
            count += len(await stream.take() or [])
    for writer in writers:
        await writer.end()
        assert writer.error is None
    assert room.room.ahead == 0
