"""Claims queued jobs and runs them as there is room for them."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Collection
from contextlib import suppress

from potassium.errors import PotassiumError, StoreFailed
from potassium.http.problem import problem_document
from potassium.jobs.attempt import Attempt
from potassium.jobs.model import StoredJob
from potassium.jobs.outcome import (
    AttemptObserver,
    Crashed,
    Done,
    Failed,
    Lane,
    NotDone,
    Outcome,
    Work,
    status_after,
)
from potassium.jobs.quarantine import Quarantine
from potassium.jobs.settlement import RETRY_STORE, Settlement
from potassium.jobs.store import JobStore
from potassium.jobs.watch import Watch

__all__ = ["Runner"]

ALL = ""  # in place of a handler

PAUSE = 0.01  # seconds; prevents a busy loop while a due job that has expired awaits the sweeper
MOST_HELD = 32 * 1024 * 1024  # bytes of input that claimed jobs hold in memory, unless one has more
LONGEST_PAUSE = 60.0  # seconds; timers of the loop stand still while the machine is suspended

logger = logging.getLogger("potassium.jobs")


class Runner:
    """Claims jobs, lets ``Work`` run them, and owns their tasks. Belongs to the event loop.

    Suspects go first, one at a time: each is claimed once no other job runs and the outcomes of all
    are stored, and no other is claimed before its own outcome is. For those that can only take
    down their worker process, other jobs need not wait.

    Attributes:
        is_draining: whether it has stopped claiming jobs.

    """

    def __init__(  # noqa: PLR0913 - what a job goes through
        self,
        store: JobStore,
        work: Work,
        settlement: Settlement,
        watch: Watch,
        *,
        clock: Callable[[], float],
        observer: AttemptObserver | None = None,
    ) -> None:
        self._observer = observer
        self._store = store
        self._work = work
        self._settlement = settlement
        self._watch = watch
        self._clock = clock
        self._attempts: dict[str, Attempt] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiting: Counter[Lane] = Counter()
        self._claimed: Counter[Lane] = Counter()
        self._moved_at: dict[Lane, float] = {}  # when a job last began or ended, monotonic
        self._quarantine = Quarantine(store, work, clock=clock)
        self._held = 0  # bytes of input
        self._losses = 0  # how often all claims were lost
        self._again = asyncio.Event()
        self._woken = {ALL}  # the handlers whose jobs are to be looked for
        self._due: dict[Lane, float | None] = {}  # when the next jobs of lanes with room are due
        self.is_draining = False
        self._loop: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Requeue the jobs that a process that died left running, and begin to claim.

        Raises:
            StoreFailed: the store cannot be read.

        """
        await self.take_up()
        self._loop = asyncio.create_task(self._claim_on(), name="potassium-jobs")

    async def take_up(self) -> None:
        """Requeue the jobs that processes that died left running.

        Raises:
            StoreFailed: the store cannot be read or written.

        """
        for left in await self._store.left_behind():
            await self._settlement.take_up(left)
            self.wake(for_suspect=True)

    def wake(self, handler: str = ALL, *, for_suspect: bool = False) -> None:
        """Look for jobs of a handler to run: there may be a new one, or a suspect, or room."""
        if for_suspect:
            self._quarantine.expect()
        self._woken.add(handler)
        self._again.set()

    def expect_no_suspects(self) -> None:
        """Do not wait for suspects any longer: a moment ago, none was queued."""
        if self._quarantine.expect_none():
            self.wake()

    def drain(self) -> None:
        """Claim no more jobs, and put off the claimed ones that have not begun."""
        self.is_draining = True
        self._settlement.is_patient = False
        for attempt in self._attempts.values():
            attempt.put_off()
        self.wake()
        self._watch.tell_all()

    async def close(self) -> None:
        """Wait until the outcomes of all claimed jobs are stored.

        Call this once ``Work`` has finished the jobs or given up on them.
        """
        self.drain()
        if self._loop is not None:
            await self._loop
        if self._tasks:
            await asyncio.wait(self._tasks)

    def cancel(self, job_id: str) -> bool:
        """Ask a running job to end; return whether it runs here and has not ended."""
        attempt = self._attempts.get(job_id)
        if attempt is None or attempt.is_over:
            return False
        attempt.cancel()
        return True

    def lose_claims(self) -> None:
        """End all running jobs, as others may have taken them up; only results are stored."""
        self._losses += 1
        for attempt in list(self._attempts.values()):
            if not attempt.is_over:
                attempt.lose()

    @property
    def running(self) -> Collection[str]:
        """The ids of the claimed jobs, until their outcomes are stored."""
        return self._attempts.keys()

    async def _claim_on(self) -> None:
        has_failed = False
        while not self.is_draining:
            self._again.clear()
            try:
                next_due = await self._claim_all()
                has_failed = False
            except StoreFailed as error:
                self._woken.add(ALL)
                if not has_failed:  # the store may fail for hours
                    logger.error("background jobs cannot be claimed: %s", error.detail)  # noqa: TRY400
                has_failed = True
                next_due = self._clock() + RETRY_STORE
            except Exception:  # whatever it is, there are other jobs to run
                self._woken.add(ALL)
                logger.exception("background jobs cannot be claimed")
                next_due = self._clock() + RETRY_STORE
            pause = LONGEST_PAUSE if next_due is None else max(PAUSE, next_due - self._clock())
            with suppress(TimeoutError):
                async with asyncio.timeout(min(pause, LONGEST_PAUSE)):
                    await self._again.wait()

    async def _claim_all(self) -> float | None:
        """Start all jobs that may run now; return when the next is due, if room is left."""
        suspect = await self._quarantine.claim(is_idle=not self._tasks)
        if suspect is not None:
            self._start(*suspect)
        if self._quarantine.holds_others:
            return None  # the last job to end wakes the loop
        woken, self._woken = self._woken, set()
        for lane in self._work.lanes:
            due = self._due.get(lane)
            is_due = due is not None and due <= self._clock()
            if is_due or ALL in woken or not woken.isdisjoint(lane.handlers):
                self._due[lane] = await self._claim(lane)
        return min((due for due in self._due.values() if due is not None), default=None)

    async def _claim(self, lane: Lane) -> float | None:
        """Start as many jobs as there is room for; return when the next is due, if room is left."""
        while (room := self._room(lane)) > 0:
            now = self._clock()
            jobs = await self._store.claim(handlers=lane.handlers, limit=room, now=now)
            for job in jobs:
                self._start(job, lane)
            if len(jobs) < room:
                return await self._store.next_job(lane.handlers)
        return None

    def _room(self, lane: Lane) -> int:
        if self._held > MOST_HELD and self._claimed[lane]:
            return 0
        quiet = time.monotonic() - self._moved_at.get(lane, 0.0)
        return lane.room(self._waiting[lane], self._claimed[lane], quiet)

    def _start(self, job: StoredJob, lane: Lane) -> None:
        task = asyncio.create_task(
            self._run(job, lane, self._losses), name=f"potassium-job-{job.id}"
        )
        self._waiting[lane] += 1
        self._claimed[lane] += 1
        self._held += lane.memory(job)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if self._quarantine.may_claim(is_idle=not self._tasks):
            self.wake()

    async def _run(self, job: StoredJob, lane: Lane, losses: int) -> None:
        waits = runs = True

        def begin() -> None:
            nonlocal waits
            if waits:
                waits = False
                self._waiting[lane] -= 1
                self._moved(lane)

        def leave() -> None:
            nonlocal runs
            if runs:
                runs = False
                begin()
                self._claimed[lane] -= 1
                self._held -= lane.memory(job)
                self._moved(lane)

        try:
            last = await self._settlement.last_event(job)
            attempt = Attempt(job, self._store, self._watch, last)
            attempt.on_begin.append(begin)
            self._attempts[job.id] = attempt
            if losses != self._losses:
                attempt.lose()
            try:
                outcome = await self._outcome(attempt)
                leave()  # the next job need not wait until this one is stored
                if isinstance(outcome, NotDone) and not (self.is_draining or attempt.is_cancelled):
                    self.drain()  # Work has failed for good, and would refuse every job
                if attempt.is_lost and not isinstance(outcome, Done):
                    attempt.is_over = True  # whoever took the job up stores its outcome
                    return
                is_queued = await self._settlement.settle(attempt, outcome)
                if is_queued:
                    self._is_back(job, lane, outcome)
                self._tell(attempt, outcome, is_queued=is_queued)
            finally:
                del self._attempts[job.id]
        except StoreFailed as error:
            logger.error(  # noqa: TRY400 - the store has logged what failed
                "the outcome of job %s was not stored; the job will run again: %s",
                job.id,
                error.detail,
            )
        finally:
            leave()
            self._quarantine.left(job)
            self._watch.tell_end(job.id)

    def _is_back(self, job: StoredJob, lane: Lane, outcome: Outcome) -> None:
        if isinstance(outcome, Crashed):
            self._quarantine.crashed(job, lane, was_alone=outcome.was_alone)
        self.wake()

    def _tell(self, attempt: Attempt, outcome: Outcome, *, is_queued: bool) -> None:
        if self._observer is not None:
            is_cancelled = attempt.is_cancelled
            status = status_after(outcome, is_cancelled=is_cancelled, is_queued=is_queued)
            self._observer.attempted(attempt, status, getattr(outcome, "error", None))

    def _moved(self, lane: Lane) -> None:
        self._moved_at[lane] = time.monotonic()
        self.wake()

    async def _outcome(self, attempt: Attempt) -> Outcome:
        try:
            return await self._work.run(attempt)
        except Exception:  # a job that nobody ends would stay running for ever
            logger.exception("job %s failed because of an error in the server", attempt.job.id)
            error = PotassiumError("The server failed to process the request.")
            return Failed(problem_document(error, attempt.job.request_id), may_retry=True)
