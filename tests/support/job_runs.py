"""Background jobs whose outcomes a test chooses, and a store that fails on demand."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any

from potassium.errors import StoreFailed
from potassium.jobs.attempt import Attempt
from potassium.jobs.inputs import size_of
from potassium.jobs.memory_store import MemoryStore
from potassium.jobs.model import Event, StoredJob
from potassium.jobs.outcome import Lane, Outcome

__all__ = ["FakeLane", "FakeWork", "FlakyStore"]


class FakeLane:
    """Has room for ``places`` jobs at a time, and records the arguments of each ``room`` call."""

    def __init__(self, *handlers: str, places: int = 1, has_workers: bool = False) -> None:
        self.has_workers = has_workers
        self.handlers: Sequence[str] = handlers
        self.places = places
        self.asked: list[tuple[int, int, float]] = []

    def memory(self, job: StoredJob) -> int:
        return size_of(job.body)

    def room(self, waiting: int, claimed: int, quiet: float) -> int:
        self.asked.append((waiting, claimed, quiet))
        return self.places - claimed


class FakeWork:
    """Runs each job until a test sets its outcome."""

    def __init__(self, *lanes: Lane) -> None:
        self.lanes: Sequence[Lane] = lanes or [FakeLane("/train")]
        self.started: list[str] = []
        self._runs: asyncio.Queue[Attempt] = asyncio.Queue()
        self._ends: dict[Attempt, asyncio.Future[Outcome]] = {}

    async def run(self, run: Attempt) -> Outcome:
        self.started.append(run.job.id)
        self._ends[run] = asyncio.get_running_loop().create_future()
        self._runs.put_nowait(run)
        return await self._ends[run]

    async def next(self) -> Attempt:
        """Wait for the next attempt."""
        async with asyncio.timeout(5):
            return await self._runs.get()

    def end(self, run: Attempt, outcome: Outcome) -> None:
        self._ends[run].set_result(outcome)

    def end_all(self, outcome: Outcome) -> None:
        for end in self._ends.values():
            if not end.done():
                end.set_result(outcome)


class FlakyStore(MemoryStore):
    """Keeps jobs in memory; the next ``failures[name]`` calls of the method ``name`` fail.

    Attributes:
        failures: how many of the next calls fail, by method.
        calls: how many calls were made, by method.
        dead: the jobs that a process that died left running.

    """

    def __init__(self) -> None:
        super().__init__()
        self.failures: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()
        self.dead: Sequence[StoredJob] = ()

    async def submit(self, *args: Any) -> StoredJob:
        self._called("submit")
        return await super().submit(*args)

    async def claim(self, **options: Any) -> Sequence[StoredJob]:
        self._called("claim")
        return await super().claim(**options)

    async def claim_suspect(self, **options: Any) -> StoredJob | None:
        self._called("claim_suspect")
        return await super().claim_suspect(**options)

    async def end(self, *args: Any, **options: Any) -> bool:
        self._called("end")
        return await super().end(*args, **options)

    async def put_back(self, *args: Any, **options: Any) -> bool:
        self._called("put_back")
        return await super().put_back(*args, **options)

    async def note(self, *args: Any, **options: Any) -> None:
        self._called("note")
        await super().note(*args, **options)

    async def events(self, *args: Any, **options: Any) -> Sequence[Event]:
        self._called("events")
        return await super().events(*args, **options)

    async def last_event(self, job_id: str) -> int:
        self._called("last_event")
        return await super().last_event(job_id)

    async def left_behind(self) -> Sequence[Sequence[StoredJob]]:
        self._called("left_behind")
        dead, self.dead = self.dead, ()
        return [dead] if dead else ()

    async def overdue(self, **options: Any) -> Sequence[StoredJob]:
        self._called("overdue")
        return await super().overdue(**options)

    async def delete_ended(self, **options: Any) -> int:
        self._called("delete_ended")
        return await super().delete_ended(**options)

    def _called(self, name: str) -> None:
        self.calls[name] += 1
        if self.failures[name]:
            self.failures[name] -= 1
            raise StoreFailed("The disk is full.")
