"""The clock of a file goes on when the file is opened again."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from support.jobs import new_job

from potassium.jobs.model import Status, StoredJob
from potassium.jobs.sqlite.store import SqliteStore
from potassium.webhooks.steady_clock import SteadyClock

NOW = 1_800_000_000.0
HOUR = 3600.0
HANDLERS = ["/train"]


class Machine:
    """A machine whose clocks a test sets, and the file on it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.wall = NOW
        self.passed = 100.0
        self.boot = "first"

    @asynccontextmanager
    async def store(self) -> AsyncIterator[SqliteStore]:
        """Open the file as a new process does, and look after it once."""
        clock = SteadyClock(
            wall=lambda: self.wall, passed=lambda: self.passed, boot=lambda: self.boot
        )
        store = SqliteStore(self.path, clock=clock)
        await store.open()
        await store.upkeep()
        try:
            yield store
        finally:
            await store.close()

    def run(self, seconds: float) -> None:
        self.wall += seconds
        self.passed += seconds


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "jobs.db")


async def submit(store: SqliteStore) -> None:
    await store.submit(new_job(created_at=store.clock()))


async def claim(store: SqliteStore) -> list[StoredJob]:
    return list(await store.claim(handlers=HANDLERS, limit=9, now=store.clock()))


@pytest.mark.parametrize("boot", ["first", "second"])
async def test_a_clock_set_back_puts_no_job_off(machine: Machine, boot: str) -> None:
    """A job that was due before the restart is due after it."""
    async with machine.store() as store:
        machine.run(10)
        await submit(store)
    machine.wall -= HOUR
    machine.boot = boot
    async with machine.store() as store:
        assert len(await claim(store)) == 1


async def test_a_clock_set_forward_deletes_no_result(machine: Machine) -> None:
    """Only the time that has passed counts, also before and after further steps."""
    async with machine.store() as store:
        await submit(store)
        (job,) = await claim(store)
        await store.end(job, Status.SUCCEEDED, now=store.clock())
    for step in (25 * HOUR, -25 * HOUR, 25 * HOUR):
        machine.wall += step
        machine.run(10)
        async with machine.store() as store:
            assert await store.delete_ended(before=store.clock() - 60, limit=9) == 0
    machine.run(60)
    async with machine.store() as store:
        assert await store.delete_ended(before=store.clock() - 60, limit=9) == 1


async def test_a_correction_is_kept_for_the_next_run_of_the_machine(machine: Machine) -> None:
    """A machine that began with a wrong time, and was corrected, has not run for decades."""
    machine.wall = 1000.0
    async with machine.store() as store:
        await submit(store)
        (job,) = await claim(store)
        await store.end(job, Status.SUCCEEDED, now=store.clock())
        machine.wall = NOW
        await store.upkeep()
    machine.boot = "second"
    machine.wall += 10
    async with machine.store() as store:
        assert await store.delete_ended(before=store.clock() - 60, limit=9) == 0
        assert store.clock.shown(store.clock()) == pytest.approx(machine.wall)


async def test_the_machine_may_have_been_off(machine: Machine) -> None:
    """What became due meanwhile is due."""
    async with machine.store() as store:
        await submit(store)
        (job,) = await claim(store)
        await store.put_back(job, due_at=store.clock() + HOUR, error=None)
    machine.boot, machine.passed = "second", 1.0
    machine.wall += 2 * HOUR
    async with machine.store() as store:
        assert len(await claim(store)) == 1


async def test_a_clock_that_is_not_set_is_written_once(machine: Machine) -> None:
    """Upkeep of a store at rest writes nothing."""
    async with machine.store() as store:
        log = machine.path.with_name("jobs.db-wal")
        before = (log.stat().st_size, log.stat().st_mtime_ns)
        for _ in range(5):
            machine.run(1)
            await store.upkeep()
        assert (log.stat().st_size, log.stat().st_mtime_ns) == before
