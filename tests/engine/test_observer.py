"""What the engine tells an observer."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextvars import ContextVar
from typing import Any

import pytest
from support.engine import Gate, running
from support.operations import operation_on

from potassium.config import Batch
from potassium.engine import AsyncSteps, End, Engine, Job, Operation, Steps, Stream
from potassium.errors import (
    ClientLeft,
    DeadlineExceeded,
    HandlerError,
    InvalidInput,
    PotassiumError,
    QueueFull,
)

SPAN: ContextVar[str] = ContextVar("span", default="none")
Event = tuple[str, Any]


class Witness:
    """Keeps what it is told, except of ``init``; each entry is the event and its subject."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.threads: set[str] = set()  # where batches begin

    def refused(self, operation: Operation, error: PotassiumError) -> None:
        self.events.append(("refused", (operation.name, error.code)))

    def streams(self, job: Job) -> None:
        self.events.append(("streams", job))

    def ran(self, jobs: Sequence[Job]) -> None:
        self.events += [("ran", job) for job in jobs if job.operation.name != "init"]

    def closed(self, job: Job, end: End) -> None:
        self.events.append((end.value, job))

    def begin_batch(self, jobs: Sequence[Job]) -> None:
        self.threads.add(threading.current_thread().name)
        SPAN.set(f"a batch of {len(jobs)}")

    @property
    def kinds(self) -> list[str]:
        return [kind for kind, _ in self.events]

    async def has(self, *kinds: str) -> list[Any]:
        """Return the subjects once the events are of these kinds, and of no other."""
        while self.kinds != list(kinds):
            assert len(self.events) <= len(kinds), self.kinds
            await asyncio.sleep(0.001)
        return [subject for _, subject in self.events]


class Chunks(Steps):
    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)

    def __next__(self) -> bytes:
        return next(self._chunks)

    def close(self) -> None:
        pass


class AsyncChunks(AsyncSteps):
    def __init__(self, chunks: list[bytes]) -> None:
        self._chunks = self._each(chunks)

    async def _each(self, chunks: list[bytes]) -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    async def next(self) -> bytes:
        return await anext(self._chunks)

    async def close(self) -> None:
        pass


@pytest.fixture
def witness() -> Witness:
    return Witness()


def fail(_: Any) -> None:
    raise ValueError("no")


async def read(engine: Engine, operation: Operation) -> int:
    """Call an operation that streams, and return how many chunks came."""
    stream = await engine.call(operation, None)
    assert type(stream) is Stream
    count = 0
    try:
        while (some := await stream.take()) is not None:
            count += len(some)
    finally:
        engine.release(stream)
    return count


async def test_a_call_runs_and_then_closes(witness: Witness) -> None:
    """Its times are in order by then, and it ran alone."""
    operation = operation_on("x", lambda _: None)
    async with running(operation, observer=witness) as engine:
        await engine.call(operation, None)
        job, same = await witness.has("ran", "succeeded")
    assert job is same
    assert 0 < job.admitted_at == job.queued_at <= job.began_at <= job.ended_at
    assert job.run_time == job.ended_at - job.began_at
    assert (job.batch_size, job.preparation, job.finishing) == (1, None, None)


async def test_each_job_of_a_group_is_reported_once(witness: Witness) -> None:
    """However many run in one hop to the thread."""
    operation = operation_on("x", lambda _: None)
    async with running(operation, observer=witness) as engine:
        await asyncio.gather(*(engine.call(operation, None) for _ in range(100)))
    ran = [job for kind, job in witness.events if kind == "ran"]
    assert len(ran) == len(set(ran)) == 100


@pytest.mark.parametrize("step", ["prepare", "run", "finish"])
async def test_a_call_that_raises_has_failed(witness: Witness, step: str) -> None:
    """In whichever step; one that fails to be prepared never runs."""
    steps: dict[str, Any] = {
        name: (fail if name == step else lambda value: value)
        for name in ("prepare", "run", "finish")
    }
    operation = operation_on("x", **steps)
    async with running(operation, observer=witness) as engine:
        with pytest.raises(HandlerError):
            await engine.call(operation, None)
    assert witness.kinds == (["failed"] if step == "prepare" else ["ran", "failed"])


async def test_preparing_and_finishing_have_their_times(witness: Witness) -> None:
    """A call waits in the queue once it is prepared, and is finished after it ran."""
    step = lambda value: value  # noqa: E731
    operation = operation_on("x", step, prepare=step, finish=step)
    async with running(operation, observer=witness) as engine:
        await engine.call(operation, None)
        job, _ = await witness.has("ran", "succeeded")
    assert job.preparation is not None
    assert job.finishing is not None
    times = [job.admitted_at, *job.preparation, job.began_at, job.ended_at, *job.finishing]
    assert times == sorted(times)
    assert job.queued_at == job.preparation[1]


async def test_refusals_are_told_with_their_reason(witness: Witness) -> None:
    """A queue that is full, a deadline that has passed, a server that stops."""
    gate = Gate()
    async with running(gate.operation, queue_size=1, observer=witness) as engine:
        calls = [asyncio.create_task(engine.call(gate.operation, n)) for n in range(2)]
        await gate.has_begun()
        with pytest.raises(QueueFull):
            engine.admit(gate.operation, 2)
        with pytest.raises(DeadlineExceeded):
            engine.admit(gate.operation, 2, deadline=1.0)
        engine.drain()
        with pytest.raises(PotassiumError):
            engine.admit(gate.operation, 2)
        gate.open(2)
        await asyncio.gather(*calls)
    codes = [subject for kind, subject in witness.events if kind == "refused"]
    assert codes == [("gate", "queue_full"), ("gate", "deadline_exceeded"), ("gate", "draining")]


async def test_a_call_whose_caller_leaves_is_closed_before_it_ran(witness: Witness) -> None:
    """That it ran for nobody is told once it has."""
    gate = Gate()
    async with running(gate.operation, observer=witness) as engine:
        job = engine.admit(gate.operation, 1)
        await gate.has_begun()
        engine.abandon(job)
        assert witness.events == [("cancelled", job)]
        assert job.ended_at is None
        gate.open()
        await witness.has("cancelled", "ran")
    assert isinstance(job.called_off, ClientLeft)
    assert job.run_time is not None


async def test_a_call_that_is_abandoned_as_its_result_comes_has_not_failed(
    witness: Witness,
) -> None:
    """Nothing raised: its caller has left."""
    operation = operation_on("x", lambda _: None)
    async with running(operation, observer=witness) as engine:
        job = engine.admit(operation, None)
        await job.future
        engine.abandon(job)
        assert (engine.calls.counts.cancelled, engine.calls.counts.failed) == (1, 0)
    assert witness.kinds == ["ran", "cancelled"]


async def test_a_call_that_never_began_has_no_run_time(witness: Witness) -> None:
    """One that was called off in the inbox of the thread is reported, without times."""
    gate = Gate()
    async with running(gate.operation, observer=witness) as engine:
        first = engine.admit(gate.operation, 1)
        await gate.has_begun()
        second = engine.admit(gate.operation, 2)
        await asyncio.sleep(0)
        engine.abandon(second)
        gate.open()
        await engine.outcome(first)
    assert second.began_at is second.ended_at is second.run_time is None


async def test_a_batch_runs_in_a_context_of_its_own(witness: Witness) -> None:
    """The observer may set variables in it; the next batch does not see what this one set."""
    seen: list[str] = []

    def run(items: list[int]) -> Iterator[tuple[int, int]]:
        for index, item in enumerate(items):
            seen.append(SPAN.get())
            SPAN.set("left over")
            yield index, item

    operation = operation_on("x", run, batch=Batch(max_size=4))
    async with running(operation, observer=witness) as engine:
        await asyncio.gather(*(engine.call(operation, n) for n in range(4)))
        await engine.call(operation, 4)
    jobs = [job for kind, job in witness.events if kind == "ran"]
    sizes = [job.batch_size for job in jobs]
    assert witness.threads == {"potassium-gpu"}
    assert seen[0] == f"a batch of {sizes[0]}"
    assert (seen[-1], sizes[-1]) == ("a batch of 1", 1)
    assert all(job.run_time is not None for job in jobs)


async def test_what_a_batch_sets_is_gone_with_it() -> None:
    """Also without an observer."""
    seen: list[str] = []

    def run(items: list[int]) -> Iterator[tuple[int, int]]:
        seen.append(SPAN.get())
        SPAN.set("left over")
        yield 0, items[0]

    operation = operation_on("x", run, batch=Batch(max_size=1))
    async with running(operation) as engine:
        for _ in range(2):
            await engine.call(operation, 0)
    assert seen == ["none", "none"]


async def test_a_batch_that_raises_has_run(witness: Witness) -> None:
    """Each of its jobs has its times."""
    operation = operation_on("x", fail, batch=Batch(max_size=2))
    async with running(operation, observer=witness) as engine:
        with pytest.raises(HandlerError):
            await engine.call(operation, 0)
        job, _ = await witness.has("ran", "failed")
    assert job.run_time is not None


async def test_a_stream_begins_ends_and_closes(witness: Witness) -> None:
    """Once each; its stream knows when it began, and how many chunks were taken."""
    stepped_at: list[float] = []

    def steps() -> Iterator[bytes]:
        for chunk in (b"a", b"b", b"c"):
            yield chunk
            stepped_at.append(time.monotonic())

    operation = operation_on("x", lambda _: Chunks(steps()), may_stream=True)
    async with running(operation, observer=witness) as engine:
        assert await read(engine, operation) == 3
        _, job, _ = await witness.has("streams", "ran", "succeeded")
        job.stream.end()  # the loop hears of it again
        await asyncio.sleep(0.001)
    assert witness.kinds == ["streams", "ran", "succeeded"]
    assert job.stream.chunks == 3
    assert job.ended_at >= stepped_at[-1]
    assert job.began_at <= job.stream.began_at
    assert job.run_time == job.stream.spent > 0


async def test_an_async_stream_is_told_the_same(witness: Witness) -> None:
    """And so are async calls that do not stream."""

    async def run(_: Any) -> AsyncSteps:
        return AsyncChunks([b"a", b"b"])

    async def plain(_: Any) -> None:
        pass

    streaming = Operation("x", run, concurrency=1)
    single = Operation("y", plain, concurrency=1)
    async with running(streaming, single, observer=witness) as engine:
        assert await read(engine, streaming) == 2
        await engine.call(single, None)
        jobs = await witness.has("streams", "ran", "succeeded", "ran", "succeeded")
    assert all(job.run_time is not None for job in jobs)


async def test_a_stream_whose_reader_leaves_has_run(witness: Witness) -> None:
    """Once the thread has closed it."""

    def endless() -> Iterator[bytes]:
        while True:
            yield b"x" * 1000

    operation = operation_on("x", lambda _: Chunks(endless()), may_stream=True)
    async with running(operation, observer=witness) as engine:
        stream = await engine.call(operation, None)
        engine.release(stream)
        _, job, _ = await witness.has("streams", "cancelled", "ran")
    assert job.ended_at is not None


async def test_a_stream_that_gives_up_its_turns_counts_that(witness: Witness) -> None:
    """Each time that its reader did not keep up."""
    chunk = b"x" * (1024 * 1024)
    operation = operation_on("x", lambda _: Chunks([chunk] * 3), may_stream=True)
    async with running(operation, observer=witness) as engine:
        stream = await engine.call(operation, None)
        while not operation.stalled_streams:  # noqa: ASYNC110 - the thread counts them
            await asyncio.sleep(0.001)
        while await stream.take() is not None:
            pass
        engine.release(stream)
        await witness.has("streams", "ran", "succeeded")
    assert stream.stalls >= 1


async def test_a_stream_that_fails_before_its_first_chunk_never_streams(witness: Witness) -> None:
    """It has run, and failed."""

    def failing() -> Iterator[bytes]:
        yield from ()
        raise InvalidInput("no")

    operation = operation_on("x", lambda _: Chunks(failing()), may_stream=True)
    async with running(operation, observer=witness) as engine:
        with pytest.raises(InvalidInput):
            await engine.call(operation, None)
        await witness.has("ran", "failed")


async def test_a_stream_has_run_before_it_is_closed(witness: Witness) -> None:
    """Also if its reader sees the end before the loop is told of it."""
    ended = threading.Event()

    def steps() -> Iterator[bytes]:
        yield b"a"
        ended.wait(10)

    operation = operation_on("x", lambda _: Chunks(steps()), may_stream=True)
    async with running(operation, observer=witness) as engine:
        stream = await engine.call(operation, None)
        assert await stream.take() == [b"a"]
        ended.set()
        while not stream.has_ended:
            time.sleep(0.001)  # noqa: ASYNC251 - the loop hears of nothing meanwhile
        assert await stream.take() is None
        engine.release(stream)
        assert witness.kinds == ["streams", "ran", "succeeded"]
        await asyncio.sleep(0.01)
    assert witness.kinds == ["streams", "ran", "succeeded"]
