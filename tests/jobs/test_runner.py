"""Running queued jobs, and storing the outcome of each."""

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import orjson
import pytest
from support.job_doubles import FakeTerms, FakeWebhooks
from support.job_runs import FakeLane, FakeWork, FlakyStore
from support.jobs import NOW, delivery, new_job, take_due

from potassium.errors import StoreFailed
from potassium.jobs.attempt import Attempt
from potassium.jobs.model import Event, Status, StoredJob
from potassium.jobs.outcome import Cancelled, Done, Failed, NotDone
from potassium.jobs.runner import Runner
from potassium.jobs.settlement import Settlement
from potassium.jobs.watch import Watch
from potassium.webhooks.model import Delivery

BACKOFF = 5.0
PROBLEM = b'{"status":500}'


class Bench:
    """A runner whose store, ``Work`` and clock are controlled by the test."""

    def __init__(self, *lanes: FakeLane) -> None:
        self.now = NOW
        self.store = FlakyStore()
        self.work = FakeWork(*lanes)
        self.watch = Watch(100)
        self.webhooks = FakeWebhooks()
        self.runner = self.new_runner()

    def new_runner(self) -> Runner:
        self.settlement = Settlement(
            self.store,
            FakeTerms(BACKOFF, self.deliveries),
            self.webhooks,
            self.watch,
            clock=lambda: self.now,
        )
        return Runner(self.store, self.work, self.settlement, self.watch, clock=lambda: self.now)

    def deliveries(self, job: StoredJob) -> list[Delivery]:
        return [delivery(url=job.webhook_url, job_id=job.id)] if job.webhook_url else []

    async def submit(self, *ids: str, **values: Any) -> None:
        for one in ids:
            await self.store.submit(new_job(id=one, **values))
        self.runner.wake()

    async def job(self, job_id: str) -> StoredJob:
        job = await self.store.get(job_id)
        assert job is not None
        return job

    async def comes_to(self, job_id: str, status: Status) -> StoredJob:
        """Wait until a job has a status."""
        with self.watch.over(job_id) as change:
            while (job := await self.job(job_id)).status is not status:
                await change.wait(5)
        return job

    async def told(self, job_id: str) -> list[tuple[int, str, int]]:
        """Return the id, status and attempts of each status event."""
        events = [e for e in await self.store.events(job_id) if e.kind == "status"]
        return [(e.id, *orjson.loads(e.data).values()) for e in events]

    async def run(self, outcome: Done | Failed | Cancelled | NotDone) -> Attempt:
        """Let the next job begin, and end with ``outcome``."""
        run = await self.work.next()
        run.began()
        await settle()
        self.work.end(run, outcome)
        return run

    async def close(self) -> None:
        self.runner.drain()
        self.work.end_all(NotDone())
        async with asyncio.timeout(5):
            await self.runner.close()


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("potassium.jobs.runner.RETRY_STORE", 0.001)
    monkeypatch.setattr("potassium.jobs.settlement.RETRY_STORE", 0.001)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    yield bench
    await bench.close()


async def test_jobs_run_as_there_is_room(bench: Bench) -> None:
    """In a lane with one place, they run one after the other, in the order of submission."""
    await bench.submit("a", "b", "c")
    await bench.runner.start()
    for name in "abc":
        run = await bench.work.next()
        await settle()
        assert list(bench.runner.running) == [run.job.id] == [name]
        bench.work.end(run, Done(b"1"))
    await bench.comes_to("c", Status.SUCCEEDED)
    assert bench.work.started == ["a", "b", "c"]


async def test_a_lane_with_more_room_takes_more() -> None:
    """It takes as many jobs as it has room for, and not one more."""
    bench = Bench(FakeLane("/train", places=2))
    await bench.submit("a", "b", "c")
    await bench.runner.start()
    first, _ = await bench.work.next(), await bench.work.next()
    await settle()
    assert bench.work.started == ["a", "b"]
    bench.work.end(first, Done(b"1"))
    assert (await bench.work.next()).job.id == "c"
    await bench.close()


async def test_lanes_do_not_wait_for_one_another() -> None:
    """A full lane does not keep another lane from running its jobs."""
    bench = Bench(FakeLane("/train"), FakeLane("/other"))
    await bench.submit("a", "b")
    await bench.submit("c", handler="/other")
    await bench.runner.start()
    assert {(await bench.work.next()).job.id for _ in range(2)} == {"a", "c"}
    await bench.close()


async def test_the_store_is_asked_only_for_what_may_have_come() -> None:
    """A new job wakes its own lane, not all; a lane whose next job is due is looked at again."""
    bench = Bench(FakeLane("/train"), FakeLane("/other"))
    await bench.submit("later")
    (claimed,) = await bench.store.claim(handlers=["/train"], limit=1, now=NOW)
    await bench.store.put_back(claimed, due_at=NOW + 100, error=None)
    await bench.runner.start()
    await settle()
    asked = bench.store.calls["claim"]
    await bench.store.submit(new_job(id="a", handler="/other"))
    bench.runner.wake("/other")
    await bench.work.next()
    await settle()
    assert bench.store.calls["claim"] == asked + 1
    bench.now += 100
    bench.runner.wake("/unknown")
    assert (await bench.work.next()).job.id == "later"
    await bench.close()


async def test_a_lane_hears_how_many_have_not_begun() -> None:
    """A claimed job is waiting until its handler begins, and claimed until it has ended."""
    lane = FakeLane("/train", places=2)
    bench = Bench(lane)
    await bench.submit("a", "b")
    await bench.runner.start()
    run, _ = await bench.work.next(), await bench.work.next()
    await settle()
    assert lane.asked[-1][:2] == (2, 2)
    run.began()
    await settle()
    waiting, claimed, quiet = lane.asked[-1]
    assert (waiting, claimed) == (1, 2)
    assert quiet < 1
    bench.work.end(run, Done(b"1"))
    await bench.comes_to("a", Status.SUCCEEDED)
    await settle()
    assert lane.asked[-1][:2] == (1, 1)
    await bench.close()


async def test_a_job_that_comes_later_runs_when_it_comes(bench: Bench) -> None:
    """An idle runner is woken for a new job."""
    await bench.runner.start()
    await settle()
    await bench.submit("a")
    assert (await bench.work.next()).job.id == "a"


async def test_a_success_is_stored_with_its_output(bench: Bench) -> None:
    """Its events are stored too: ``running`` when it begins, and the end as the last one."""
    await bench.submit("a")
    await bench.runner.start()
    with bench.watch.over("a") as change:
        await bench.run(Done(b'{"loss":0.1}'))
        job = await bench.comes_to("a", Status.SUCCEEDED)
        assert await change.wait(0)
    assert (job.error, job.finished_at) == (None, NOW)
    assert await bench.store.output(job.id) == b'{"loss":0.1}'
    assert await bench.told("a") == [(2, "running", 1), (3, "succeeded", 1)]
    await settle()
    assert list(bench.runner.running) == []


async def test_a_cancelled_job_is_stored_as_such(bench: Bench) -> None:
    """It is not tried again, however many attempts it has left."""
    await bench.submit("a", attempts_limit=5)
    await bench.runner.start()
    run = await bench.work.next()
    assert bench.runner.cancel("a")
    assert run.is_cancelled
    bench.work.end(run, Cancelled(PROBLEM))
    job = await bench.comes_to("a", Status.CANCELLED)
    assert job.error == PROBLEM
    await settle()
    assert not bench.runner.cancel("a")


async def test_a_failure_is_tried_again_after_a_time(bench: Bench) -> None:
    """Until then the job waits in the store, with the error of its last attempt."""
    await bench.submit("a", attempts_limit=2)
    await bench.runner.start()
    await bench.run(Failed(PROBLEM, may_retry=True))
    job = await bench.comes_to("a", Status.QUEUED)
    assert (job.due_at, job.attempts, job.error) == (NOW + BACKOFF, 1, PROBLEM)
    bench.now += BACKOFF - 0.1
    bench.runner.wake()
    await settle()
    assert bench.work.started == ["a"]
    bench.now += 0.1
    bench.runner.wake()
    await bench.run(Done(b"1"))
    await bench.comes_to("a", Status.SUCCEEDED)
    assert await bench.told("a") == [
        (2, "running", 1),
        (3, "queued", 1),
        (4, "running", 2),
        (5, "succeeded", 2),
    ]


async def test_a_job_is_due_without_anybody_waking_the_runner(bench: Bench) -> None:
    """The runner sleeps until the next job is due."""
    await bench.submit("a", created_at=NOW + 0.02)
    await bench.runner.start()
    await settle()
    assert bench.work.started == []
    bench.now += 0.02
    assert (await bench.work.next()).job.id == "a"


@pytest.mark.parametrize(("limit", "may_retry"), [(1, True), (5, False)])
async def test_a_failure_is_the_end_where_another_attempt_is_of_no_use(
    bench: Bench, limit: int, may_retry: bool
) -> None:
    """A failure of the last attempt is the end, and so is one that would only happen again."""
    await bench.submit("a", attempts_limit=limit)
    await bench.runner.start()
    await bench.run(Failed(PROBLEM, may_retry=may_retry))
    job = await bench.comes_to("a", Status.FAILED)
    assert (job.attempts, job.error) == (1, PROBLEM)


async def test_what_a_drain_cuts_off_is_queued_again(bench: Bench) -> None:
    """It is due at once, with as many attempts left; this server does not begin it again."""
    await bench.submit("a", "b")
    await bench.runner.start()
    run = await bench.work.next()
    bench.runner.drain()
    bench.work.end(run, NotDone())
    await bench.runner.close()
    job = await bench.job("a")
    assert (job.status, job.attempts, job.due_at, job.error) == (Status.QUEUED, 1, NOW, None)
    assert (job.attempts_limit, job.crashes) == (2, 0)
    assert bench.work.started == ["a"]
    assert await bench.told("a") == [(2, "queued", 1)]


async def left(bench: Bench, attempts: int, limit: int = 1) -> None:
    """Leave job ``a`` running, like a process that died during an attempt."""
    await bench.submit("a", attempts_limit=limit)
    for _ in range(attempts - 1):
        (job,) = await bench.store.claim(handlers=["/train"], limit=1, now=NOW)
        crashed = replace(job, crashes=job.crashes + 1)
        await bench.store.put_back(crashed, due_at=NOW, error=None)
    bench.store.dead = await bench.store.claim(handlers=["/train"], limit=1, now=NOW)


@pytest.mark.parametrize(("attempts", "limit"), [(1, 1), (2, 1), (4, 5)])
async def test_what_a_crash_cut_off_runs_again(bench: Bench, attempts: int, limit: int) -> None:
    """This holds even if its attempts are used up: the crash is not a failure of the job."""
    await left(bench, attempts, limit)
    await bench.runner.start()
    run = await bench.run(Done(b"1"))
    assert run.job.attempts == attempts + 1
    await bench.comes_to("a", Status.SUCCEEDED)
    assert [told[1:] for told in await bench.told("a")] == [
        ("queued", attempts),
        ("running", attempts + 1),
        ("succeeded", attempts + 1),
    ]


async def test_drains_use_neither_crashes_nor_attempts_up(bench: Bench) -> None:
    """After five drains, a job may crash and fail as often as any other."""
    await bench.submit("a", attempts_limit=2)
    for _ in range(5):
        (job,) = await bench.store.claim(handlers=["/train"], limit=1, now=NOW)
        await bench.store.put_back(job, due_at=NOW, error=None, counts=False)
    bench.store.dead = await bench.store.claim(handlers=["/train"], limit=1, now=NOW)
    await bench.runner.start()
    run = await bench.run(Done(b"1"))
    assert (run.job.attempts, run.job.attempts_limit, run.job.crashes) == (7, 7, 1)
    await bench.comes_to("a", Status.SUCCEEDED)


@pytest.mark.parametrize(("attempts", "limit"), [(3, 1), (3, 3), (5, 5)])
async def test_what_crashes_again_and_again_is_given_up(
    bench: Bench, attempts: int, limit: int
) -> None:
    """It ran alone: it fails after three crashes, or its limit of attempts if higher."""
    await left(bench, attempts, limit)
    await bench.runner.start()
    job = await bench.job("a")
    assert job.status is Status.FAILED
    error = orjson.loads(job.error or b"")
    assert (error["code"], error["request_id"]) == ("interrupted", "r-1")
    assert error["detail"] == f"The server died {attempts} times while it ran only this job."
    assert await bench.told("a") == [(2, "failed", attempts)]
    await settle()
    assert bench.work.started == []


async def test_events_go_on_counting_after_a_crash(bench: Bench) -> None:
    """The events that the dead process stored keep their ids."""
    await left(bench, 1)
    (job,) = bench.store.dead
    chunks = [Event(id=number, kind="chunk", data=b"1") for number in range(2, 2000)]
    await bench.store.note(job, progress=None, message=None, events=chunks)
    await bench.runner.start()
    await bench.run(Done(b"1"))
    await bench.comes_to("a", Status.SUCCEEDED)
    events = await bench.store.events("a", limit=5000)
    assert [event.id for event in events] == list(range(2, 2003))


async def test_a_store_that_cannot_be_read_stops_the_start(bench: Bench) -> None:
    """The start fails, and no job runs."""
    bench.store.failures["left_behind"] = 1
    with pytest.raises(StoreFailed):
        await bench.runner.start()
    await bench.runner.close()
    assert bench.work.started == []


async def test_claims_go_on_where_the_store_has_failed(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """The store is asked again, and the log says what was wrong, but not each time."""
    bench.store.failures["claim"] = 2
    await bench.submit("a")
    await bench.runner.start()
    assert (await bench.work.next()).job.id == "a"
    assert [(one.levelno, one.getMessage()) for one in caplog.records] == [
        (logging.ERROR, "background jobs cannot be claimed: The disk is full.")
    ]


@pytest.mark.parametrize(
    ("outcome", "write", "status"),
    [
        (Done(b"1"), "end", Status.SUCCEEDED),
        (Failed(PROBLEM, may_retry=False), "end", Status.FAILED),
        (Failed(PROBLEM, may_retry=True), "put_back", Status.QUEUED),
    ],
)
async def test_an_outcome_is_not_lost_where_the_store_has_failed(
    bench: Bench, outcome: Done | Failed, write: str, status: Status
) -> None:
    """The write is retried until it succeeds, and the handler does not run again."""
    await bench.submit("a", attempts_limit=2)
    await bench.runner.start()
    bench.store.failures[write] = 3
    await bench.run(outcome)
    job = await bench.comes_to("a", status)
    assert job.attempts == 1
    assert bench.store.calls[write] == 4
    assert bench.work.started == ["a"]


async def test_a_drain_does_not_wait_for_a_store_that_fails(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """The outcome is given up, and the job runs again at the server's next start."""
    await bench.submit("a")
    await bench.runner.start()
    run = await bench.work.next()
    bench.store.failures["end"] = 1000
    bench.runner.drain()
    bench.work.end(run, Done(b"1"))
    async with asyncio.timeout(5):
        await bench.runner.close()
    assert (
        "the outcome of job a was not stored; the job will run again: The disk is full."
        in caplog.text
    )
    assert (await bench.job("a")).status is Status.RUNNING
    assert list(bench.runner.running) == []
    bench.store.failures.clear()
    bench.store.dead = [await bench.job("a")]
    bench.runner = bench.new_runner()
    await bench.runner.start()
    await bench.run(Done(b"2"))
    await bench.comes_to("a", Status.SUCCEEDED)
    assert await bench.store.output("a") == b"2"


async def test_a_drain_ends_what_insists(bench: Bench) -> None:
    """A job whose end could not be stored before the drain does not prevent the stop."""
    await bench.submit("a")
    await bench.runner.start()
    run = await bench.work.next()
    bench.store.failures["end"] = 1000
    bench.work.end(run, Done(b"1"))
    await asyncio.sleep(0.005)
    async with asyncio.timeout(5):
        await bench.runner.close()
    assert (await bench.job("a")).status is Status.RUNNING


async def test_a_claimed_job_runs_where_its_events_could_not_be_read(bench: Bench) -> None:
    """The read is retried: nobody else would run the job, or end it, before the next start."""
    await bench.submit("a", attempts_limit=2)
    await bench.runner.start()
    await bench.run(Failed(PROBLEM, may_retry=True))
    await bench.comes_to("a", Status.QUEUED)
    bench.store.failures["last_event"] = 2
    bench.now += BACKOFF
    bench.runner.wake()
    await bench.run(Done(b"1"))
    await bench.comes_to("a", Status.SUCCEEDED)
    assert [number for number, *_ in await bench.told("a")] == [2, 3, 4, 5]


async def test_what_comes_of_a_lost_claim_changes_nothing(bench: Bench) -> None:
    """The job belongs to whoever claimed it afterwards."""
    await bench.submit("a", webhook_url="https://a.test/")
    await bench.runner.start()
    run = await bench.work.next()
    await bench.store.put_back(run.job, due_at=NOW, error=None)
    (other,) = await bench.store.claim(handlers=["/train"], limit=1, now=NOW)
    bench.work.end(run, Done(b"1"))
    await settle()
    assert await bench.job("a") == other.light
    assert bench.webhooks.woken == 0
    assert list(bench.runner.running) == []


async def test_an_end_brings_its_deliveries_with_it(bench: Bench) -> None:
    """The deliveries are stored with the end, and the webhook service is woken."""
    await bench.submit("a", webhook_url="https://a.test/")
    await bench.submit("b")
    await bench.runner.start()
    for name in "ab":
        await bench.run(Done(b"1"))
        await bench.comes_to(name, Status.SUCCEEDED)
    assert bench.webhooks.woken == 1
    assert [one.url for one in await take_due(bench.store)] == ["https://a.test/"]


async def test_a_waiting_job_is_ended_from_outside(bench: Bench) -> None:
    """Its last event is stored and its watchers are woken; it does not run any more."""
    await bench.submit("a")
    job = await bench.job("a")
    with bench.watch.over("a") as change:
        assert await bench.settlement.end(job, Status.CANCELLED, error=PROBLEM)
        assert await change.wait(0)
    assert (await bench.job("a")).error == PROBLEM
    assert await bench.told("a") == [(2, "cancelled", 0)]


async def test_of_two_ends_one_comes_to_nothing(bench: Bench) -> None:
    """A job that has changed since it was read is left as it is."""
    await bench.submit("a", webhook_url="https://a.test/")
    job = await bench.job("a")
    await bench.store.claim(handlers=["/train"], limit=1, now=NOW)
    with bench.watch.over("a") as change:
        assert not await bench.settlement.end(job, Status.CANCELLED, error=PROBLEM)
        assert not await change.wait(0)
    assert (await bench.job("a")).status is Status.RUNNING
    assert bench.webhooks.woken == 0


async def test_what_has_expired_is_not_run(bench: Bench) -> None:
    """The job waits for the sweeper, and the runner does not spin meanwhile."""
    await bench.submit("a", expires_at=NOW)
    await bench.runner.start()
    await asyncio.sleep(0.03)
    assert bench.work.started == []
    assert bench.store.calls["claim"] < 10
    await bench.settlement.end(await bench.job("a"), Status.EXPIRED, error=PROBLEM)
    assert (await bench.job("a")).status is Status.EXPIRED
