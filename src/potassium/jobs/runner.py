"""Runs queued jobs as there is room for them, and stores what comes of each."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TypeVar

import orjson

from potassium.errors import Interrupted, JobCancelled, PotassiumError, StoreFailed
from potassium.jobs.attempt import Attempt, status_event
from potassium.jobs.model import Event, Status, StoredJob
from potassium.jobs.outcome import Cancelled, Done, Failed, Lane, NotDone, Outcome, Work
from potassium.jobs.store import JobStore
from potassium.jobs.watch import Watch
from potassium.webhooks.model import Delivery

__all__ = ["CRASHES", "Runner"]

# A job that was running when its server died is run again, but not for ever: it may be why.
CRASHES = 3

PAUSE = 0.01  # seconds; what is due but has expired is nobody's to claim until it is swept
RETRY_STORE = 1.0  # seconds until a store that has failed is asked again

T = TypeVar("T")

logger = logging.getLogger("potassium.jobs")


class Runner:
    """Claims jobs, lets ``Work`` run them, and owns their tasks. Belongs to the event loop.

    Attributes:
        is_draining: whether it claims none any more.

    """

    def __init__(  # noqa: PLR0913 - what it stands between
        self,
        store: JobStore,
        work: Work,
        watch: Watch,
        *,
        deliveries: Callable[[StoredJob], Sequence[Delivery]],
        delivered: Callable[[], object],
        problem: Callable[[PotassiumError, str], bytes],
        backoff: Callable[[StoredJob], float],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Prepare to run what is in ``store``.

        ``deliveries`` makes what is to be posted about a job that has ended, and ``delivered`` is
        called when it is stored; ``problem`` makes the document of an error of a request;
        ``backoff`` returns the seconds until a job that has failed is tried again.
        """
        self._store = store
        self._work = work
        self._watch = watch
        self._deliveries = deliveries
        self._delivered = delivered
        self._problem = problem
        self._backoff = backoff
        self._clock = clock
        self._runs: dict[str, Attempt] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiting: Counter[Lane] = Counter()
        self._claimed: Counter[Lane] = Counter()
        self._moved_at: dict[Lane, float] = {}  # when a job last began or ended, monotonic
        self._again = asyncio.Event()
        self.is_draining = False
        self._loop: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Take up what a process that died has left, and begin to claim.

        Raises:
            StoreFailed: the store cannot be read.

        """
        for job in await self._store.left_behind():
            await self._take_up(job)
        self._loop = asyncio.create_task(self._claim_on(), name="potassium-jobs")

    def wake(self) -> None:
        """Look for jobs to run: there may be one, or room for one."""
        self._again.set()

    def drain(self) -> None:
        """Claim no more, and put off what is claimed and has not begun."""
        self.is_draining = True
        for run in self._runs.values():
            run.put_off()
        self.wake()
        self._watch.tell_all()

    async def close(self) -> None:
        """Wait until all that ran is stored; what ran it has ended, or has given up on it."""
        self.drain()
        if self._loop is not None:
            await self._loop
        if self._tasks:
            await asyncio.wait(self._tasks)

    def cancel(self, job_id: str) -> bool:
        """Ask a running job to end; return whether it runs here, and has not ended."""
        run = self._runs.get(job_id)
        if run is None or run.is_over:
            return False
        run.cancel()
        return True

    @property
    def running(self) -> Sequence[str]:
        """The ids of the jobs that are claimed."""
        return list(self._runs)

    async def _claim_on(self) -> None:
        while not self.is_draining:
            self._again.clear()
            try:
                due = [await self._claim(lane) for lane in self._work.lanes]
                next_due = min((one for one in due if one is not None), default=None)
            except StoreFailed as error:
                logger.error("background jobs cannot be claimed: %s", error.detail)  # noqa: TRY400
                next_due = self._clock() + RETRY_STORE
            except Exception:  # whatever it is, there are others to run
                logger.exception("background jobs cannot be claimed")
                next_due = self._clock() + RETRY_STORE
            try:
                async with asyncio.timeout(
                    None if next_due is None else max(PAUSE, next_due - self._clock())
                ):
                    await self._again.wait()
            except TimeoutError:
                pass

    async def _claim(self, lane: Lane) -> float | None:
        """Start what there is room for; return when the next is due, where there is room yet."""
        while (room := self._room(lane)) > 0:
            now = self._clock()
            jobs = await self._store.claim(handlers=lane.handlers, limit=room, now=now)
            for job in jobs:
                self._start(job, lane)
            if len(jobs) < room:
                return await self._store.next_job(lane.handlers)
        return None

    def _room(self, lane: Lane) -> int:
        quiet = time.monotonic() - self._moved_at.get(lane, 0.0)
        return lane.room(self._waiting[lane], self._claimed[lane], quiet)

    def _start(self, job: StoredJob, lane: Lane) -> None:
        task = asyncio.create_task(self._run(job, lane), name=f"potassium-job-{job.id}")
        self._waiting[lane] += 1
        self._claimed[lane] += 1
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

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
                self._moved(lane)

        try:
            # The first event of all is that it was queued; nothing else is told of before it ran.
            last = 1
            if job.attempts > 1:
                last = await self._insist(lambda: self._last_event(job))
            run = Attempt(job, self._store, self._watch, last)
            run.on_begin.append(begin)
            self._runs[job.id] = run
            try:
                outcome = await self._outcome(run)
                leave()  # the next one need not wait until this one is stored
                await self._settle(run, outcome)
            finally:
                del self._runs[job.id]
        except StoreFailed as error:
            logger.error(  # noqa: TRY400 - the store has told what failed
                "job %s is not stored, and will run again: %s", job.id, error.detail
            )
        finally:
            leave()
            self._watch.tell(job.id)

    def _moved(self, lane: Lane) -> None:
        self._moved_at[lane] = time.monotonic()
        self.wake()

    async def _outcome(self, run: Attempt) -> Outcome:
        try:
            return await self._work.run(run)
        except Exception:  # a job that nobody ends would be running for ever
            logger.exception("job %s failed for a mistake of the server's", run.job.id)
            error = PotassiumError("The server made a mistake.")
            return Failed(self._problem(error, run.job.request_id), may_retry=True)

    async def _settle(self, run: Attempt, outcome: Outcome) -> None:
        """Store what came of a run, as often as it takes."""
        job = run.job
        if isinstance(outcome, Done):
            await self._end(run, Status.SUCCEEDED, output=outcome.output)
        elif isinstance(outcome, Cancelled):
            await self._end(run, Status.CANCELLED, error=outcome.error)
        elif run.is_cancelled:
            error = self._problem(JobCancelled(), job.request_id)
            await self._end(run, Status.CANCELLED, error=error)
        elif isinstance(outcome, NotDone):
            if not self.is_draining:
                self.drain()  # what runs jobs has failed for good, and would refuse them all
            await self._put_back(run, due_at=self._clock(), error=None, counts=False)
        elif outcome.may_retry and job.attempts < job.attempts_limit:
            due_at = self._clock() + self._backoff(job)
            await self._put_back(run, due_at=due_at, error=outcome.error)
        else:
            await self._end(run, Status.FAILED, error=outcome.error)

    async def _end(
        self,
        run: Attempt,
        status: Status,
        *,
        output: bytes | None = None,
        error: bytes | None = None,
    ) -> None:
        told = orjson.loads(status_event(status.value, run.job.attempts))
        events = await run.finish(told)
        await self._insist(lambda: self.end(run.told, status, output, error, events))

    async def _put_back(
        self, run: Attempt, *, due_at: float, error: bytes | None, counts: bool = True
    ) -> None:
        events = await run.finish({"status": "queued", "attempts": run.job.attempts})
        await self._insist(
            lambda: self._store.put_back(
                run.job, due_at=due_at, error=error, events=events, counts=counts
            )
        )
        self.wake()

    async def end(
        self,
        job: StoredJob,
        status: Status,
        output: bytes | None,
        error: bytes | None,
        events: Sequence[Event] | None = None,
    ) -> bool:
        """Bring a job to its end, with what is to be posted about it.

        Returns False where it is not in the state of ``job`` any more.

        Raises:
            StoreFailed: that cannot be stored.

        """
        now = self._clock()
        if events is None:
            last = await self._last_event(job)
            data = status_event(status.value, job.attempts)
            events = [Event(id=last + 1, kind="status", data=data)]
        ended = replace(job, status=status, finished_at=now, output=output, error=error)
        deliveries = self._deliveries(ended)
        did = await self._store.end(
            job,
            status,
            now=now,
            output=output,
            error=error,
            events=events,
            deliveries=deliveries,
        )
        if did:
            self._watch.tell(job.id)
            if deliveries:
                self._delivered()
        return did

    async def _insist(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask the store until it works, or the server stops: then the job is run again."""
        while True:
            try:
                return await ask()
            except StoreFailed:
                if self.is_draining:
                    raise
                logger.exception("the store of background jobs fails, and is asked again")
                await asyncio.sleep(RETRY_STORE)

    async def _take_up(self, job: StoredJob) -> None:
        """Queue a job again whose server has died, unless that has happened too often."""
        if job.crashes + 1 < max(job.attempts_limit, CRASHES):
            last = await self._last_event(job)
            data = status_event("queued", job.attempts)
            queued = Event(id=last + 1, kind="status", data=data)
            await self._store.put_back(
                job, due_at=self._clock(), error=None, events=[queued], crashed=True
            )
            return
        error = Interrupted(f"The server died in {job.crashes + 1} attempts.")
        await self.end(job, Status.FAILED, None, self._problem(error, job.request_id))

    async def _last_event(self, job: StoredJob) -> int:
        return max(1, await self._store.last_event(job.id))
