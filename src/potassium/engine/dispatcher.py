"""From the queue to the GPU thread, in groups."""

import asyncio
from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import Protocol

from potassium.engine.job import Job
from potassium.engine.queue import Capacity, JobQueue

__all__ = ["Dispatcher", "Runner"]

# A hop to the thread and back costs some tens of microseconds. Handing over about a millisecond
# of work at a time makes that cost vanish for short jobs; a job that takes longer than this
# travels alone, so that long jobs keep their strict order and can be called off to the last.
GROUP_TIME = 0.001  # seconds

# From this duration on, the next group is handed over while one still runs: the thread would be
# idle for the length of a hop otherwise. For shorter jobs, which are bound by the interpreter, a
# second group in flight only makes thread and loop fight over the GIL.
PREFETCH_TIME = 0.0002  # seconds


class Runner(Protocol):
    """What the dispatcher hands groups to."""

    def hand_over(self, group: Sequence[Job]) -> None:
        """Take ``group``; returns at once."""


class Dispatcher:
    """Keeps the GPU thread supplied from the queue.

    At most two groups are with the thread: the one it runs and, where jobs are not too short
    for it to pay, the next. Belongs to the event loop.
    """

    def __init__(self, jobs: JobQueue, capacity: Capacity, runner: Runner) -> None:
        """Connect ``jobs`` to ``runner``; ``run`` does the work."""
        self._jobs = jobs
        self._capacity = capacity
        self._runner = runner
        self._handed_over: deque[Sequence[Job]] = deque()
        self._room = asyncio.Event()
        self._room.set()

    @property
    def handed_over(self) -> Sequence[Sequence[Job]]:
        """The groups that are with the thread: first the one it runs."""
        return self._handed_over

    async def run(self) -> None:
        """Hand over groups for ever; ends by cancellation, which leaves the queue as it is."""
        while True:
            await self._room.wait()
            self.hand_over(self._group(await self._jobs.get()))

    def hand_over(self, group: Sequence[Job]) -> None:
        """Give ``group`` to the thread, behind the one that it may be at."""
        if self._handed_over:
            self._capacity.waiting += len(group)
        self._handed_over.append(group)
        if len(self._handed_over) > 1 or _duration(group[-1]) < PREFETCH_TIME:
            self._room.clear()
        self._runner.hand_over(group)

    def give_up(self, job: Job) -> None:
        """Let ``job``, which has just been called off, take no place in the inbox any more."""
        if any(job in group for group in islice(self._handed_over, 1, None)):
            self._capacity.waiting -= 1

    def group_done(self) -> None:
        """Note that the thread has finished the group it was at and begun the next one."""
        self._handed_over.popleft()
        if self._handed_over:
            begun = self._handed_over[0]
            self._capacity.waiting -= sum(job.called_off is None for job in begun)
        self._room.set()

    def _group(self, job: Job) -> list[Job]:
        group = [job]
        left = GROUP_TIME - _duration(job)
        while left > 0 and not self._jobs.empty():
            job = self._jobs.get_nowait()
            group.append(job)
            left -= _duration(job)
        return group


def _duration(job: Job) -> float:
    """Return the seconds that ``job`` is expected to take: long, until one was measured.

    Where some are short and most are long, it may be a long one.
    """
    floor, mean = job.operation.service_time.floor, job.operation.service_time.mean
    return GROUP_TIME if floor is None or mean is None else mean if mean >= GROUP_TIME else floor
