"""One attempt at a job."""

import asyncio
import threading
from collections.abc import Sequence

import orjson
import pytest
from support.job_runs import FlakyStore
from support.jobs import NOW, new_job

from potassium.jobs.attempt import Attempt
from potassium.jobs.model import Event
from potassium.jobs.watch import Watch


class SlowStore(FlakyStore):
    """Stores the reports of an attempt only while ``go`` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.go = asyncio.Event()
        self.writes = asyncio.Semaphore(0)

    async def note(self, *args: object, **options: object) -> None:
        self.writes.release()
        await self.go.wait()
        await super().note(*args, **options)


class Bench:
    """A store with one job, and the attempt at that job."""

    def __init__(self, store: FlakyStore) -> None:
        self.store = store
        self.watch = Watch(100)

    async def claim(self) -> Attempt:
        await self.store.submit(new_job(id="job"))
        (job,) = await self.store.claim(handlers=["/train"], limit=1, now=NOW)
        return Attempt(job, self.store, self.watch, 1)

    async def told(self) -> list[tuple[int, str, object]]:
        return readable(await self.store.events("job"))


def readable(events: Sequence[Event]) -> list[tuple[int, str, object]]:
    return [(event.id, event.kind, orjson.loads(event.data)) for event in events]


@pytest.fixture
def bench() -> Bench:
    return Bench(FlakyStore())


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let beginnings be stored without a pause."""
    monkeypatch.setattr("potassium.jobs.attempt.BEGIN_PAUSE", 0.0)


@pytest.mark.usefixtures("at_once")
async def test_a_handler_begins_once(bench: Bench) -> None:
    """However often the handler runs in one attempt, ``on_begin`` callbacks are called once."""
    run = await bench.claim()
    called: list[str] = []
    run.on_begin += [lambda: called.append("first"), lambda: called.append("second")]
    assert not run.has_begun
    run.began()
    run.began()
    assert run.has_begun
    assert called == []
    await settle()
    assert called == ["first", "second"]
    assert await bench.told() == [(2, "status", {"status": "running", "attempts": 1})]


async def test_a_short_job_stores_its_beginning_with_its_end(bench: Bench) -> None:
    """One write stores both; a longer job is seen to run after a moment."""
    short = await bench.claim()
    short.began()
    await settle()
    events = await short.finish({"status": "succeeded", "attempts": 1})
    assert [event.id for event in events] == [2, 3]
    assert bench.store.calls["note"] == 0
    long = Attempt(short.job, bench.store, bench.watch, 1)
    long.began()
    async with asyncio.timeout(5):
        while not await bench.told():  # noqa: ASYNC110 - the store tells nobody
            await asyncio.sleep(0.001)


@pytest.mark.usefixtures("at_once")
async def test_threads_tell_through_the_loop(bench: Bench) -> None:
    """What a handler reports on the GPU thread is processed on the event loop's thread."""
    run = await bench.claim()
    threads: list[int] = []
    run.on_begin.append(lambda: threads.append(threading.get_ident()))

    def handler() -> None:
        run.began()
        run.progress(0.5, "half")

    await asyncio.to_thread(handler)
    await settle()
    assert threads == [threading.get_ident()]
    assert [kind for _, kind, _ in await bench.told()] == ["status", "progress"]


async def test_progress_told_faster_than_stored_is_told_with_its_last_value(bench: Bench) -> None:
    """A handler may report every step; values that nobody could have seen are not events."""
    run = await bench.claim()
    for step in range(1000):
        run.progress(step / 1000, f"step {step}")
    await settle()
    assert await bench.told() == [(2, "progress", {"progress": 0.999, "message": "step 999"})]
    job = await bench.store.get("job")
    assert job is not None
    assert (job.progress, job.message) == (0.999, "step 999")


async def test_what_progress_leaves_out_stays(bench: Bench) -> None:
    """A message stays until another one is reported."""
    run = await bench.claim()
    run.progress(0.1, "epoch 1")
    run.progress(0.2, None)
    run.progress(None, None)
    await settle()
    assert await bench.told() == [(2, "progress", {"progress": 0.2, "message": "epoch 1"})]


async def test_events_keep_their_order(bench: Bench) -> None:
    """Progress that was reported before a chunk precedes it in the stream."""
    run = await bench.claim()
    run.began()
    await settle()
    run.progress(0.5, None)
    await asyncio.sleep(0)
    await run.chunk(b'"a"')
    await run.chunk(b'"b"')
    await settle()
    assert [(number, kind) for number, kind, _ in await bench.told()] == [
        (2, "status"),
        (3, "progress"),
        (4, "chunk"),
        (5, "chunk"),
    ]


async def test_watchers_are_told_once_an_event_is_stored(bench: Bench) -> None:
    """A watcher that then reads the events finds the new one."""
    run = await bench.claim()
    with bench.watch.over("job") as change:
        await run.chunk(b"1")
        assert await bench.told() == []
        assert await change.wait(5)
        assert await bench.told() == [(2, "chunk", 1)]


async def test_the_end_brings_what_is_not_stored_yet(bench: Bench) -> None:
    """The remaining events go with the end, in one transaction, and the end is the last event."""
    run = await bench.claim()
    await run.chunk(b"1")
    run.progress(0.5, None)
    await asyncio.sleep(0)
    bench.store.failures["note"] = 1
    await run.chunk(b"2")
    rest = await run.finish({"status": "succeeded", "attempts": 1})
    told = await bench.told() + readable(rest)
    assert [number for number, _, _ in told] == list(range(2, 2 + len(told)))
    assert [kind for _, kind, _ in told] == ["chunk", "progress", "chunk", "status"]


async def test_after_the_end_nothing_is_told(bench: Bench) -> None:
    """A thread that a handler left behind adds nothing to the events of the next attempt."""
    run = await bench.claim()
    called: list[bool] = []
    run.on_begin.append(lambda: called.append(True))
    rest = await run.finish({"status": "queued", "attempts": 1})
    run.began()
    run.progress(0.5, None)
    await settle()
    assert not called
    assert await bench.told() == []
    assert readable(rest) == [(2, "status", {"status": "queued", "attempts": 1})]
    assert "note" not in bench.store.calls


async def test_events_that_could_not_be_stored_come_with_the_next(bench: Bench) -> None:
    """If the store fails once, no event is lost, and their order stays."""
    run = await bench.claim()
    bench.store.failures["note"] = 1
    await run.chunk(b"1")
    await settle()
    assert await bench.told() == []
    await run.chunk(b"2")
    await settle()
    assert await bench.told() == [(2, "chunk", 1), (3, "chunk", 2)]


async def test_the_end_waits_for_what_is_being_stored() -> None:
    """Nothing about an attempt is stored after its end."""
    store = SlowStore()
    bench = Bench(store)
    run = await bench.claim()
    await run.chunk(b"1")
    await store.writes.acquire()
    ending = asyncio.create_task(run.finish({"status": "failed", "attempts": 1}))
    await settle()
    assert not ending.done()
    store.go.set()
    assert readable(await ending) == [(3, "status", {"status": "failed", "attempts": 1})]
    assert await bench.told() == [(2, "chunk", 1)]


async def test_a_stream_that_is_far_ahead_waits_for_the_store(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Chunks pile up in memory only up to a limit; then the stream waits, and none is lost."""
    monkeypatch.setattr("potassium.jobs.attempt.MOST_UNSAVED", 3)
    store = SlowStore()
    bench = Bench(store)
    run = await bench.claim()
    taken: list[int] = []

    async def stream() -> None:
        for number in range(10):
            await run.chunk(b"%d" % number)
            taken.append(number)

    task = asyncio.create_task(stream())
    await store.writes.acquire()
    await settle()
    assert len(taken) < 5
    store.go.set()
    await task
    await settle()
    assert await bench.told() == [(2 + number, "chunk", number) for number in range(10)]


async def stream_into(run: Attempt, chunks: int, size: int, taken: list[int]) -> None:
    for number in range(chunks):
        await run.chunk(b"%d" % (number + 1) * size)
        taken.append(number)


async def test_a_stream_of_large_chunks_waits_sooner(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is counted is the number of chunks, and their bytes."""
    monkeypatch.setattr("potassium.jobs.attempt.MOST_UNSAVED_BYTES", 300)
    store = SlowStore()
    bench = Bench(store)
    run = await bench.claim()
    taken: list[int] = []
    task = asyncio.create_task(stream_into(run, 10, 100, taken))
    await store.writes.acquire()
    await settle()
    assert len(taken) == 2
    store.go.set()
    await task
    await settle()
    assert len(await bench.told()) == 10


async def test_a_stream_without_an_end_waits_for_a_store_that_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It goes on once the store works again, and no chunk is lost."""
    monkeypatch.setattr("potassium.jobs.attempt.MOST_UNSAVED", 3)
    monkeypatch.setattr("potassium.jobs.attempt.RETRY_STORE", 0.001)
    bench = Bench(FlakyStore())
    run = await bench.claim()
    bench.store.failures["note"] = 1000
    taken: list[int] = []
    task = asyncio.create_task(stream_into(run, 10, 1, taken))
    await settle()
    assert len(taken) == 2
    bench.store.failures["note"] = 3
    await task
    await settle()
    assert [told for _, _, told in await bench.told()] == list(range(1, 11))


@pytest.mark.parametrize("fails", [False, True])
async def test_a_stream_that_nobody_wants_waits_no_longer(
    monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    """Its job is cancelled, or its time is over, while the store is slow or fails."""
    monkeypatch.setattr("potassium.jobs.attempt.MOST_UNSAVED", 3)
    store = FlakyStore() if fails else SlowStore()
    bench = Bench(store)
    run = await bench.claim()
    store.failures["note"] = 1000
    task = asyncio.create_task(stream_into(run, 4, 1, []))
    await settle()
    assert not task.done()
    run.interrupt()
    async with asyncio.timeout(0.5):
        await task
    if isinstance(store, SlowStore):
        store.go.set()


async def test_progress_events_are_bounded(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that reports for days shows its latest progress, but stores no more events of it."""
    monkeypatch.setattr("potassium.jobs.attempt.PROGRESS_PAUSE", 0.0)
    monkeypatch.setattr("potassium.jobs.attempt.MOST_PROGRESS", 500)
    run = await bench.claim()
    for number in range(20):
        run.progress(number / 20, None)
        await settle()
    assert 2 < len(await bench.told()) < 8
    job = await bench.store.get("job")
    assert job is not None
    assert job.progress == 19 / 20


async def test_a_long_message_is_cut(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is stored with the job, and again with each event."""
    monkeypatch.setattr("potassium.jobs.attempt.LONGEST_MESSAGE", 5)
    run = await bench.claim()
    run.progress(0.5, "1234567")
    await settle()
    assert await bench.told() == [(2, "progress", {"progress": 0.5, "message": "12345"})]


async def test_a_cancelled_run_is_asked_to_end(bench: Bench) -> None:
    """Before there is anything to call off, the request is only recorded."""
    run = await bench.claim()
    asked: list[bool] = []
    run.cancel()
    assert run.is_cancelled
    run.on_cancel = lambda: asked.append(True)
    run.cancel()
    assert asked == [True]


async def test_progress_is_told_so_often_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Faster reports become one event with the last value; a chunk or the end stores it early."""
    monkeypatch.setattr("potassium.jobs.attempt.PROGRESS_PAUSE", 3600.0)
    bench = Bench(FlakyStore())
    run = await bench.claim()
    for share in (0.1, 0.2, 0.3):
        run.progress(share, None)
        await settle()
    assert [event[1] for event in await bench.told()] == ["progress"]
    await run.chunk(b"1")
    await settle()
    assert [event[1] for event in await bench.told()] == ["progress", "progress", "chunk"]
    run.progress(0.4, None)
    await settle()
    events = await run.finish({"status": "succeeded", "attempts": 1})
    assert [event.kind for event in events] == ["progress", "status"]
