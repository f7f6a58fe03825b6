"""A runner of background jobs over a store that fails on demand."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from potassium.errors import StoreFailed
from potassium.jobs.attempt import Attempt
from potassium.jobs.inputs import size_of
from potassium.jobs.memory_store import MemoryStore
from potassium.jobs.model import Status, StoredJob
from potassium.jobs.outcome import Done, Lane, Outcome
from potassium.jobs.runner import Runner
from potassium.jobs.settlement import Settlement
from potassium.jobs.watch import Watch
from potassium.webhooks.model import Delivery
from support.job_doubles import FakeTerms, FakeWebhooks
from support.jobs import new_job

__all__ = ["FaultyStore", "RunnerBench"]


class FaultyStore(MemoryStore):
    """A store in memory whose method ``name`` fails the next ``faults[name]`` times."""

    def __init__(self) -> None:
        super().__init__()
        self.faults: dict[str, int] = {}

    def __getattribute__(self, name: str) -> Any:
        attribute = super().__getattribute__(name)
        is_plain = name in ("faults", "clock", "follow", "hurry") or name.startswith("_")
        if is_plain or not callable(attribute):
            return attribute

        async def call(*arguments: Any, **options: Any) -> Any:
            await asyncio.sleep(0)  # like a store that has to wait for a disk
            if self.faults.get(name, 0):
                self.faults[name] -= 1
                raise StoreFailed("It fails.")
            return await attribute(*arguments, **options)

        return call


class OneByOne:
    """A lane of one job at a time."""

    handlers: Sequence[str] = ("/train",)
    has_workers = False

    def memory(self, job: StoredJob) -> int:
        return size_of(job.body)

    def room(self, waiting: int, claimed: int, quiet: float) -> int:
        del waiting, quiet
        return 1 - claimed


class RunnerBench:
    """Runs jobs of ``/train`` with ``run``; jobs that have ended are in ``ended``."""

    def __init__(self, run: Callable[[Attempt], Awaitable[Outcome]] | None = None) -> None:
        self.lanes: Sequence[Lane] = [OneByOne()]
        self.store = FaultyStore()
        self.watch = Watch(100)
        self.ended: list[StoredJob] = []
        self.runs: list[Attempt] = []
        self._do = run
        terms = FakeTerms(0.0, self._deliveries)
        clock = self.store.clock
        settlement = Settlement(self.store, terms, FakeWebhooks(), self.watch, clock=clock)
        self.runner = Runner(self.store, self, settlement, self.watch, clock=clock)

    async def run(self, attempt: Attempt) -> Outcome:
        self.runs.append(attempt)
        return Done(b"1") if self._do is None else await self._do(attempt)

    @asynccontextmanager
    async def running(self) -> AsyncIterator["RunnerBench"]:
        """Run jobs for as long as the context lasts."""
        await self.runner.start()
        try:
            yield self
        finally:
            await self.runner.close()

    async def submit(self, **values: Any) -> str:
        """Submit a job, due at once; return its id."""
        job = await self.store.submit(new_job(**{"created_at": 0.0, **values}))
        self.runner.wake()
        return job.id

    async def reaches(self, job_id: str, *statuses: Status) -> StoredJob:
        """Return a job once it is in one of ``statuses``."""
        async with asyncio.timeout(5):
            while True:
                job = await MemoryStore.get(self.store, job_id)
                if job is not None and job.status in statuses:
                    return job
                await asyncio.sleep(0.001)

    async def statuses(self, job_id: str) -> list[bytes]:
        """Return the data of a job's status events."""
        events = await MemoryStore.events(self.store, job_id)
        return [event.data for event in events if event.kind == "status"]

    def _deliveries(self, job: StoredJob) -> list[Delivery]:
        self.ended.append(job)
        return []
