"""A server whose process, or whose worker processes, die while they run background jobs."""

import asyncio
from collections.abc import Sequence

from potassium.jobs.attempt import Attempt
from potassium.jobs.model import Status, StoredJob
from potassium.jobs.outcome import Crashed, NotDone, Outcome
from potassium.jobs.runner import Runner
from potassium.jobs.settlement import Settlement
from potassium.jobs.watch import Watch
from support.job_doubles import FakeTerms, FakeWebhooks
from support.job_runs import FakeLane, FakeWork, FlakyStore
from support.jobs import NOW, new_job

__all__ = ["PROBLEM", "Server", "settle"]

PROBLEM = b'{"status":500}'


class Server:
    """One process after the other on the same store: each ``crash`` is the end of one.

    It has two lanes with ``places`` each, so that jobs run beside one another. ``/train`` may have
    ``workers``: each ``die`` is the end of one.
    """

    def __init__(self, places: int = 4, *, workers: bool = False) -> None:
        self.store = FlakyStore()
        self.places = places
        self.workers = workers

    async def start(self) -> None:
        self.work = FakeWork(
            FakeLane("/train", places=self.places, has_workers=self.workers),
            FakeLane("/async", places=self.places),
        )
        self.watch = Watch(100)
        self.settlement = Settlement(
            self.store, FakeTerms(0.0, lambda _: []), FakeWebhooks(), self.watch, clock=lambda: NOW
        )
        self.runner = Runner(self.store, self.work, self.settlement, self.watch, clock=lambda: NOW)
        await self.runner.start()
        await settle()

    async def crash(self) -> None:
        """End the process without a word, and start the next one."""
        self.store.dead = await self.store.find(status=Status.RUNNING, limit=100)
        await self._forget()
        await self.start()

    async def _forget(self) -> None:
        tasks = [self.runner._loop, *self.runner._tasks]
        for task in tasks:
            if task is not None:
                task.cancel()
        await asyncio.gather(*(task for task in tasks if task), return_exceptions=True)

    async def submit(self, *ids: str, handler: str = "/train", attempts: int = 1) -> None:
        for one in ids:
            await self.store.submit(new_job(id=one, handler=handler, attempts_limit=attempts))

    async def runs(self) -> set[str]:
        await settle()
        return set(self.runner.running)

    async def next(self, outcome: Outcome | None = None) -> str:
        """Let the next job begin, and end with ``outcome`` if one is given; return its id."""
        run = await self.work.next()
        if outcome is not None:
            await self.end(run, outcome)
        return run.job.id

    async def end(self, run: Attempt, outcome: Outcome) -> None:
        self.work.end(run, outcome)
        await settle()

    async def die(self, *runs: Attempt, beside: int = 0) -> None:
        """End the worker process that has begun ``runs``, and ``beside`` other jobs."""
        was_alone = len(runs) + beside == 1
        for run in runs:
            self.work.end(run, Crashed(PROBLEM, was_alone=was_alone))
        await settle()

    async def job(self, job_id: str) -> StoredJob:
        job = await self.store.get(job_id)
        assert job is not None
        return job

    async def statuses(self, ids: Sequence[str]) -> set[Status]:
        return {(await self.job(one)).status for one in ids}

    async def close(self) -> None:
        self.work.end_all(NotDone())
        async with asyncio.timeout(5):
            await self.runner.close()


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)
