"""The buffer between a job that streams and its caller."""

import asyncio
import threading
from collections.abc import Callable

import pytest
from support.moments import at_moment
from support.operations import operation_on

from potassium.engine.bridge import Bridge
from potassium.engine.failure import Failure
from potassium.engine.job import Job
from potassium.engine.stream import BUFFER, CHUNK_OVERHEAD, Stream
from potassium.errors import ClientLeft, HandlerError, InvalidInput

HALF = b"x" * (BUFFER // 2)


class Bench:
    """A stream whose bridge counts the notifications that it carries."""

    def __init__(self) -> None:
        self.carried = 0
        self.loop = asyncio.get_running_loop()
        self.job = Job(operation_on("stream", lambda _: None), None, self.loop.create_future())
        self.stream = self.job.stream = Stream(self.job, Bridge(self._tell, self._receive))

    def _tell(self, callback: Callable[[], object]) -> None:
        self.loop.call_soon_threadsafe(callback)

    def _receive(self, stream: Stream[Job]) -> None:
        self.carried += 1
        stream.wake()


@pytest.fixture
async def bench() -> Bench:
    return Bench()


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_take_returns_all_that_piled_up(bench: Bench) -> None:
    """One take() returns every chunk pushed, in order; the bridge carries one notification."""
    for number in range(100):
        bench.stream.push(b"%d" % number)
    assert await bench.stream.take() == [b"%d" % number for number in range(100)]
    await settle()
    assert bench.carried == 1


async def test_take_returns_no_more_than_fills_the_buffer(bench: Bench) -> None:
    """The rest stays where it is counted, and is taken next, without another notification."""
    for _ in range(5):
        bench.stream.push(HALF)
    bench.stream.end()
    taken = [await bench.stream.take() for _ in range(4)]
    assert taken == [[HALF] * 2, [HALF] * 2, [HALF], None]


async def test_take_waits_for_a_chunk(bench: Bench) -> None:
    """A reader that is already waiting gets the chunk that another thread pushes later."""
    taking = asyncio.create_task(bench.stream.take())
    await settle()
    assert not taking.done()
    await asyncio.to_thread(bench.stream.push, b"late")
    assert await taking == [b"late"]


async def test_the_end_comes_behind_the_last_chunk(bench: Bench) -> None:
    """Chunks pushed before the end are taken first; from then on there is nothing more."""
    bench.stream.push(b"last")
    bench.stream.end()
    assert await bench.stream.take() == [b"last"]
    assert not bench.stream.is_over
    assert await bench.stream.take() is None
    assert await bench.stream.take() is None
    assert bench.stream.is_over


async def test_the_end_wakes_a_reader(bench: Bench) -> None:
    """A reader that waits is told that nothing more comes."""
    taking = asyncio.create_task(bench.stream.take())
    await settle()
    await asyncio.to_thread(bench.stream.end)
    assert await taking is None


@pytest.mark.parametrize(
    ("error", "kind"), [(ValueError(), HandlerError), (InvalidInput("short"), InvalidInput)]
)
async def test_a_failure_comes_behind_the_last_chunk(
    bench: Bench, error: Exception, kind: type[Exception]
) -> None:
    """The reader gets all that came before the error, and then the error."""
    bench.stream.push(b"last")
    bench.stream.end(Failure(error))
    assert await bench.stream.take() == [b"last"]
    with pytest.raises(kind):
        await bench.stream.take()
    assert bench.stream.is_over


async def test_who_is_called_off_gets_the_reason_at_once(bench: Bench) -> None:
    """Nothing more is taken from a job that was called off, even if it has chunks left."""
    bench.stream.push(b"unwanted")
    bench.job.call_off(ClientLeft())
    with pytest.raises(ClientLeft):
        await bench.stream.take()


async def test_calling_off_wakes_the_reader(bench: Bench) -> None:
    """A reader that waits for a chunk is told that none comes."""
    taking = asyncio.create_task(bench.stream.take())
    await settle()
    bench.job.call_off(ClientLeft())
    with pytest.raises(ClientLeft):
        await taking


async def test_a_take_that_is_cancelled_takes_nothing(bench: Bench) -> None:
    """A chunk that arrives at the moment of a cancellation is there for the next take()."""
    taking = asyncio.create_task(bench.stream.take())
    await settle()
    bench.stream.push(b"kept")
    taking.cancel()
    await asyncio.wait({taking})
    await settle()
    assert await bench.stream.take() == [b"kept"]


async def test_it_is_full_at_its_bound(bench: Bench) -> None:
    """A megabyte fills the buffer, and a take() makes room again."""
    bench.stream.push(HALF)
    assert not bench.stream.is_full
    bench.stream.push(HALF)
    assert bench.stream.is_full
    await bench.stream.take()
    assert not bench.stream.is_full
    bench.stream.push(HALF)
    assert not bench.stream.is_full


async def test_chunks_of_no_length_fill_it_too(bench: Bench) -> None:
    """Each chunk also counts its own overhead, so that the number of chunks is bounded."""
    for _ in range(BUFFER // CHUNK_OVERHEAD):
        assert not bench.stream.is_full
        bench.stream.push(b"")
    assert bench.stream.is_full


async def test_a_writer_with_room_does_not_wait(bench: Bench) -> None:
    """A writer whose buffer is not full goes on at once."""
    bench.stream.push(HALF)
    await bench.stream.room()


async def test_a_stalled_coroutine_waits_until_there_is_room(bench: Bench) -> None:
    """A writer on the loop that has filled the buffer goes on once it has been taken."""
    bench.stream.push(HALF * 2)
    waiting = asyncio.create_task(bench.stream.room())
    await settle()
    bench.stream.wake()  # a spurious wake-up
    await settle()
    assert not waiting.done()
    await bench.stream.take()
    await asyncio.wait_for(waiting, 5)


async def test_taking_from_a_stalled_stream_tells_its_runner(bench: Bench) -> None:
    """The runner of a stream is notified of room if the stream has stalled, and only then."""
    told: list[str] = []
    bench.job.interrupt = lambda: told.append("room")
    bench.stream.push(HALF * 2)
    await bench.stream.take()
    assert told == []
    bench.stream.push(HALF * 2)
    bench.stream.has_stalled = True
    await bench.stream.take()
    assert told == ["room"]


async def test_a_fast_thread_and_its_reader_lose_nothing(bench: Bench) -> None:
    """If a thread pushes chunks as fast as it can, each is taken once, in order."""
    count = 20_000

    def write() -> None:
        for number in range(count):
            bench.stream.push(b"%d" % number)
        bench.stream.end()

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    taken: list[bytes] = []
    async with asyncio.timeout(20):
        while (chunks := await bench.stream.take()) is not None:
            taken += chunks
    thread.join()
    assert taken == [b"%d" % number for number in range(count)]


async def test_a_thread_and_a_reader_in_step_never_miss_each_other(bench: Bench) -> None:
    """A thread that pushes the next chunk the moment the last was taken always wakes the reader."""
    taken = threading.Semaphore(0)

    def write() -> None:
        for _ in range(1000):
            bench.stream.push(b"x")
            assert taken.acquire(timeout=10)
        bench.stream.end()

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    async with asyncio.timeout(10):
        while await bench.stream.take() is not None:
            taken.release()
    thread.join()


async def test_what_ends_in_the_midst_of_a_take_is_taken_whole() -> None:
    """If the last chunk and the end come at any moment during a take(), both are seen."""
    for moment in range(1, 1000):
        bench = Bench()

        def end(stream: Stream[Job] = bench.stream) -> None:
            if not stream.has_ended:
                stream.push(b"last")
                stream.end()

        with at_moment(moment, Stream.take.__code__, end) as came:
            bench.loop.call_later(0, end)
            async with asyncio.timeout(5):
                assert await bench.stream.take() == [b"last"]
        assert await bench.stream.take() is None
        if not came:
            return
