"""What happens to jobs as time passes: expiry, deletion, and the renewal of claims."""

import asyncio
import logging

import pytest
from support.job_runs import FlakyStore
from support.jobs import NOW, new_job

from potassium.jobs.model import Status, StoredJob
from potassium.jobs.sweeper import Sweeper


class Bench:
    """A sweeper over a store, with a clock that the test moves."""

    def __init__(self, keep_for: float = 100.0) -> None:
        self.now = NOW
        self.store = FlakyStore()
        self.expired: list[str] = []
        self.taken_up = 0
        self.sweeper = Sweeper(
            self.store,
            self,  # type: ignore[arg-type]  # stands in for the runner
            self,  # type: ignore[arg-type]  # and for the settlement
            keep_for=keep_for,
            clock=lambda: self.now,
        )

    async def expire(self, job: StoredJob) -> None:
        self.expired.append(job.id)
        await self.store.end(job, Status.EXPIRED, now=self.now)

    async def take_up(self) -> None:
        self.taken_up += 1

    async def ended(self, count: int) -> None:
        """Store ``count`` jobs that end now."""
        for _ in range(count):
            job = await self.store.submit(new_job())
            await self.store.end(job, Status.CANCELLED, now=self.now)

    async def kept(self) -> int:
        return len(await self.store.find(limit=10_000))


@pytest.fixture
def bench() -> Bench:
    return Bench()


async def test_a_job_expires_once_its_time_has_passed(bench: Bench) -> None:
    """It does so no earlier, and only once; a job without ``expires_at`` never does."""
    await bench.store.submit(new_job(id="short", expires_at=NOW + 5))
    await bench.store.submit(new_job(id="patient"))
    await bench.sweeper.sweep()
    assert bench.expired == []
    bench.now += 5
    await bench.sweeper.sweep()
    await bench.sweeper.sweep()
    assert bench.expired == ["short"]


async def test_a_job_is_deleted_when_it_was_kept_long_enough(bench: Bench) -> None:
    """The time counts from the end of the job."""
    await bench.ended(1)
    bench.now += 100
    await bench.sweeper.sweep()
    assert await bench.kept() == 1
    bench.now += 10
    await bench.sweeper.sweep()
    assert await bench.kept() == 0


@pytest.mark.parametrize(("keep_for", "late"), [(100.0, 10.0), (86_400.0, 60.0)])
async def test_old_jobs_are_looked_for_now_and_then(keep_for: float, late: float) -> None:
    """A deletion is at most a tenth of ``keep_for`` late, and at most a minute."""
    bench = Bench(keep_for)
    await bench.sweeper.sweep()
    bench.now += late - 0.1
    await bench.sweeper.sweep()
    assert bench.store.calls["delete_ended"] == 1
    bench.now += 0.1
    await bench.sweeper.sweep()
    assert bench.store.calls["delete_ended"] == 2


async def test_a_backlog_of_old_jobs_is_deleted_in_pieces(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No other call waits long behind one piece, and one sweep deletes all of them."""
    monkeypatch.setattr("potassium.jobs.sweeper.AT_ONCE", 4)
    await bench.ended(10)
    bench.now += 101
    await bench.sweeper.sweep()
    assert await bench.kept() == 0
    assert bench.store.calls["delete_ended"] == 4


async def test_what_others_have_left_is_taken_up(bench: Bench) -> None:
    """Each sweep looks for jobs of servers that died: the start alone would be too early."""
    await bench.sweeper.sweep()
    await bench.sweeper.sweep()
    assert bench.taken_up == 2


async def test_it_goes_on_sweeping_where_the_store_has_failed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A failure is logged, and the next sweep comes on time."""
    monkeypatch.setattr("potassium.jobs.sweeper.PAUSE", 0.001)
    await bench.store.submit(new_job(id="short", expires_at=NOW))
    bench.store.failures["overdue"] = 1
    bench.sweeper.start()
    await asyncio.sleep(0.02)
    assert bench.expired == ["short"]
    await bench.sweeper.close()
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.getMessage() == "background jobs cannot be swept: The disk is full."


async def test_closed_it_sweeps_no_more(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sweeper that was never started can be closed too."""
    monkeypatch.setattr("potassium.jobs.sweeper.PAUSE", 0.001)
    await bench.sweeper.close()
    bench.sweeper.start()
    await asyncio.sleep(0.005)
    await bench.sweeper.close()
    seen = bench.store.calls["overdue"]
    assert seen
    await asyncio.sleep(0.005)
    assert bench.store.calls["overdue"] == seen
