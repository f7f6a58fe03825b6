"""Keeps suspects apart from other jobs."""

import enum
from collections.abc import Callable

from potassium.jobs.model import StoredJob
from potassium.jobs.outcome import Lane, Work
from potassium.jobs.store import JobStore

__all__ = ["Quarantine"]


class Beside(enum.Enum):
    """What may run beside a suspect.

    Attributes:
        NOTHING: no other job. The suspect may take the server down, and with it all that runs.
        OTHERS: all jobs but suspects. It takes down no more than its worker, as once before.

    """

    NOTHING = enum.auto()
    OTHERS = enum.auto()


class Quarantine:
    """Claims suspects, one at a time, and says whether other jobs have to wait for them.

    Belongs to the event loop.
    """

    def __init__(self, store: JobStore, work: Work, *, clock: Callable[[], float]) -> None:
        self._store = store
        self._work = work
        self._clock = clock
        self._may_wait = {Beside.NOTHING}  # the store has not been asked since there may be one
        self._running: str | None = None  # the id of the suspect that was claimed
        self._was_told = False  # of more suspects than may run beside others, perhaps

    @property
    def holds_others(self) -> bool:
        """Whether no other job may be claimed."""
        return Beside.NOTHING in self._may_wait

    def expect(self) -> None:
        """Look for suspects that may run beside nothing, as there may be one.

        If some wait that may run beside others, look after these: whoever tells may mean them.
        """
        if Beside.OTHERS in self._may_wait:
            self._was_told = True
        else:
            self._may_wait.add(Beside.NOTHING)

    def expect_none(self) -> bool:
        """Let other jobs wait no longer: a moment ago, the store had no suspect.

        Returns whether they did wait.
        """
        held_others = self.holds_others
        self._may_wait.discard(Beside.NOTHING)
        self._was_told = False
        return held_others

    def crashed(self, job: StoredJob, lane: Lane, *, was_alone: bool) -> None:
        """Look for a job that is now a suspect, as its worker process died.

        Others run on, unless it has run beside others as a suspect and they may have been why: then
        nobody could ever tell.
        """
        is_told_apart = was_alone or not job.is_suspect
        beside = Beside.OTHERS if lane.has_workers and is_told_apart else Beside.NOTHING
        self._may_wait.add(beside)

    def may_claim(self, *, is_idle: bool) -> bool:
        """Return whether a suspect may run now, if there is one; ``is_idle`` if no job runs."""
        return self._next(is_idle=is_idle) is not None

    async def claim(self, *, is_idle: bool) -> tuple[StoredJob, Lane] | None:
        """Claim the next suspect, if it may run now.

        Raises:
            StoreFailed: the store does not answer, or has no room.

        """
        beside = self._next(is_idle=is_idle)
        return None if beside is None else await self._claim(beside)

    def left(self, job: StoredJob) -> None:
        """Note that the outcome of a job is stored."""
        if job.id == self._running:
            self._running = None

    def _next(self, *, is_idle: bool) -> Beside | None:
        if self.holds_others:
            return Beside.NOTHING if is_idle else None
        is_free = Beside.OTHERS in self._may_wait and self._running is None
        return Beside.OTHERS if is_free else None

    async def _claim(self, beside: Beside) -> tuple[StoredJob, Lane] | None:
        lanes = {
            handler: lane
            for lane in self._work.lanes
            if lane.has_workers or beside is Beside.NOTHING
            for handler in lane.handlers
        }
        self._may_wait.discard(beside)  # before the look: one that comes later is looked for again
        there_may_be_more = True
        try:
            suspect = await self._store.claim_suspect(handlers=lanes, now=self._clock())
            there_may_be_more = suspect is not None
        finally:
            if there_may_be_more:
                self._may_wait.add(beside)
        if suspect is None:
            if self._was_told:
                self._was_told = False
                self._may_wait.add(Beside.NOTHING)
            return None
        self._running = suspect.id
        return suspect, lanes[suspect.handler]
