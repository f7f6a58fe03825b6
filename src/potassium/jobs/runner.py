"""Claims queued jobs and runs them as there is room for them."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence

from potassium.errors import PotassiumError, StoreFailed
from potassium.http.problem import problem_document
from potassium.jobs.attempt import Attempt
from potassium.jobs.model import StoredJob
from potassium.jobs.outcome import (
    AttemptObserver,
    Failed,
    Lane,
    NotDone,
    Outcome,
    Work,
    status_after,
)
from potassium.jobs.settlement import RETRY_STORE, Settlement
from potassium.jobs.store import JobStore
from potassium.jobs.watch import Watch

__all__ = ["Runner"]

MOST_NAMED = 10  # jobs in a log line

PAUSE = 0.01  # seconds; prevents a busy loop while a due job that has expired awaits the sweeper
MOST_HELD = 32 * 1024 * 1024  # bytes of input that claimed jobs hold in memory, unless one has more
LONGEST_PAUSE = 60.0  # seconds; timers of the loop stand still while the machine is suspended

logger = logging.getLogger("potassium.jobs")


class Runner:
    """Claims jobs, lets ``Work`` run them, and owns their tasks. Belongs to the event loop.

    Suspects go first, one at a time: each is claimed once no other job runs and the outcomes of all
    are stored, and no other is claimed before its own outcome is.

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
        self._may_have_suspects = True  # the store has not been asked since there may be one
        self._held = 0  # bytes of input
        self._again = asyncio.Event()
        self.is_draining = False
        self._loop: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Requeue the jobs that a process that died left running, and begin to claim.

        Raises:
            StoreFailed: the store cannot be read.

        """
        left = await self._store.left_behind()
        if left:
            names = ", ".join(job.id for job in left[:MOST_NAMED])
            logger.warning(
                "the server died while it ran %d background jobs, which now run again one by one, "
                "before all others: %s%s",
                len(left),
                names,
                ", ..." if len(left) > MOST_NAMED else "",
            )
        # All at once, so that they are stored together: a part would look like all that ran.
        take_up, was_alone = self._settlement.take_up, len(left) == 1
        await asyncio.gather(*(take_up(job, was_alone=was_alone) for job in left))
        self._loop = asyncio.create_task(self._claim_on(), name="potassium-jobs")

    def wake(self, *, for_suspect: bool = False) -> None:
        """Look for jobs to run: there may be a new one, or a suspect, or room for one."""
        self._may_have_suspects |= for_suspect
        self._again.set()

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

    @property
    def running(self) -> Sequence[str]:
        """The ids of the claimed jobs."""
        return list(self._attempts)

    async def _claim_on(self) -> None:
        has_failed = False
        while not self.is_draining:
            self._again.clear()
            try:
                next_due = await self._claim_all()
                has_failed = False
            except StoreFailed as error:
                if not has_failed:  # the store may fail for hours
                    logger.error("background jobs cannot be claimed: %s", error.detail)  # noqa: TRY400
                has_failed = True
                next_due = self._clock() + RETRY_STORE
            except Exception:  # whatever it is, there are other jobs to run
                logger.exception("background jobs cannot be claimed")
                next_due = self._clock() + RETRY_STORE
            try:
                async with asyncio.timeout(
                    None
                    if next_due is None
                    else min(max(PAUSE, next_due - self._clock()), LONGEST_PAUSE)
                ):
                    await self._again.wait()
            except TimeoutError:
                pass

    async def _claim_all(self) -> float | None:
        """Start all jobs that may run now; return when the next is due, if room is left."""
        if self._may_have_suspects:
            if self._tasks:
                return None  # the last of them to end wakes the loop
            if await self._claim_suspect():
                return None
        due = [await self._claim(lane) for lane in self._work.lanes]
        return min((one for one in due if one is not None), default=None)

    async def _claim_suspect(self) -> bool:
        """Start the next suspect; return whether there was one."""
        lanes = {handler: lane for lane in self._work.lanes for handler in lane.handlers}
        self._may_have_suspects = False  # before the look: one that comes later is looked for again
        there_may_be_more = True
        try:
            suspect = await self._store.claim_suspect(handlers=lanes, now=self._clock())
            there_may_be_more = suspect is not None
        finally:
            self._may_have_suspects |= there_may_be_more
        if suspect is not None:
            self._start(suspect, lanes[suspect.handler])
        return suspect is not None

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
        task = asyncio.create_task(self._run(job, lane), name=f"potassium-job-{job.id}")
        self._waiting[lane] += 1
        self._claimed[lane] += 1
        self._held += lane.memory(job)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if self._may_have_suspects and not self._tasks:
            self.wake()

    async def _run(self, job: StoredJob, lane: Lane) -> None:
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
            try:
                outcome = await self._outcome(attempt)
                leave()  # the next job need not wait until this one is stored
                if isinstance(outcome, NotDone) and not (self.is_draining or attempt.is_cancelled):
                    self.drain()  # Work has failed for good, and would refuse every job
                is_queued = await self._settlement.settle(attempt, outcome)
                if is_queued:
                    self.wake()
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
            self._watch.tell_end(job.id)

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
