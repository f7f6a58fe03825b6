"""The service of background jobs: get, wait, cancel and retry."""

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

from potassium.config import Jobs
from potassium.errors import (
    Draining,
    JobCancelled,
    JobHasEnded,
    JobNotFound,
    StoreFailed,
)
from potassium.handlers.handler import Handler
from potassium.http.problem import problem_document
from potassium.jobs.attempt import status_event
from potassium.jobs.document import document
from potassium.jobs.follower import Follower
from potassium.jobs.intake import Intake
from potassium.jobs.model import Event, Status, StoredJob
from potassium.jobs.outcome import AttemptObserver, Work
from potassium.jobs.outputs import Outputs
from potassium.jobs.runner import Runner
from potassium.jobs.settlement import Settlement
from potassium.jobs.store import JobStore
from potassium.jobs.sweeper import Sweeper
from potassium.jobs.terms import Terms
from potassium.jobs.watch import Watch
from potassium.webhooks.model import DeliveryAttempt
from potassium.webhooks.service import WebhookService

__all__ = ["JobService"]

LONGEST_WAIT = 300.0  # seconds that a client may wait for a job
BETWEEN = 2.0  # seconds that a job may be between two states before cancel() gives up

logger = logging.getLogger("potassium.jobs")


class JobService:
    """Owns the runner and the sweeper of background jobs, and the watch over jobs.

    The caller owns the store, and must open it before and close it after. Belongs to the event
    loop.

    Args:
        handlers: the handlers of the jobs, by path.
        work: runs the jobs.
        webhooks: posts about jobs that have ended.
        observer: is told of each attempt; None if nobody measures them.

    Attributes:
        store: keeps the jobs.
        watch: wakes whoever waits for a job.
        outputs: reads the outputs of jobs.
        intake: stores new jobs.

    """

    def __init__(  # noqa: PLR0913 - what jobs need
        self,
        store: JobStore,
        options: Jobs,
        handlers: Mapping[str, Handler],
        work: Work,
        webhooks: WebhookService,
        *,
        observer: AttemptObserver | None = None,
    ) -> None:
        self.store = store
        self.watch = Watch(options.max_watchers)
        self.outputs = Outputs(store)
        self._handlers = handlers
        clock = store.clock
        self._terms = Terms(handlers, options, clock, webhooks.trace)
        self._settlement = Settlement(store, self._terms, webhooks, self.watch, clock=clock)
        self._runner = Runner(
            store, work, self._settlement, self.watch, clock=clock, observer=observer
        )
        self._sweeper = Sweeper(
            store, self._runner, self._settlement, keep_for=options.keep_for, clock=clock
        )
        self.intake = Intake(store, self._terms, self._runner.wake, webhooks.trace)
        store.follow(Follower(self._runner, self.watch, webhooks))

    async def start(self) -> None:
        """Requeue the jobs that a process that died left running, and begin to run jobs.

        Raises:
            StoreFailed: the store cannot be read.

        """
        for path in sorted(set(await self.store.waiting()) - self._handlers.keys()):
            logger.warning(
                "%d jobs are queued for POST %s, which has no handler in this app; they stay "
                "queued until it has one again, or until they are cancelled",
                await self.store.count(Status.QUEUED, path),
                path,
            )
        await self._runner.start()
        self._sweeper.start()

    def drain(self) -> None:
        """Begin no more jobs; ``wait`` returns early for those that have not begun."""
        self._runner.drain()

    @property
    def attempts(self) -> Mapping[tuple[str, str], int]:
        """How many attempts have ended, by handler and outcome, see ``Settlement``."""
        return self._settlement.attempts

    @property
    def is_draining(self) -> bool:
        """Whether this server begins no more jobs."""
        return self._runner.is_draining

    async def is_at_rest(self, job_id: str) -> bool:
        """Return whether nothing more will happen to a job before this server stops.

        Raises:
            StoreFailed: the store cannot be read.

        """
        try:
            return self._has_rest(await self._watched(job_id))
        except JobNotFound:
            return True  # it has ended, and was deleted

    async def close(self) -> None:
        """Wait until the outcomes of the jobs that ran are stored; stop the engine first.

        If the store does not answer, the next server runs these jobs again.
        """
        self.store.hurry()
        await self._sweeper.close()
        await self._runner.close()

    async def get(self, job_id: str, owner: str | None = None) -> StoredJob:
        """Return a job without its input and output.

        Raises:
            JobNotFound: no job has this id.
            StoreFailed: the store cannot be read.

        """
        job = await self.store.get(job_id)
        if job is None or owner not in (None, job.owner):
            raise JobNotFound(f"There is no job {job_id}." if job_id.isalnum() else "No such job.")
        return job

    async def wait(self, job_id: str, seconds: float) -> StoredJob:
        """Return a job once it has ended, or as it is after ``seconds`` or when the server drains.

        Its input and output are left out.

        Raises:
            TooManyWatchers: as many clients follow jobs as may.
            JobNotFound: no job has this id.
            StoreFailed: the store cannot be read.

        """
        end = time.monotonic() + seconds
        with self.watch.over(job_id, until_end=True) as change:
            while True:
                job = await self._watched(job_id)
                left = end - time.monotonic()
                if self._has_rest(job) or not await change.wait(max(0.0, left)):
                    return job

    async def document(self, job: StoredJob, root_path: str) -> dict[str, Any]:
        """Return the job document, without the output, but with the job's position in the queue."""
        position = await self.position(job)
        return document(job, self.store.clock, position=position, root_path=root_path)

    async def cancel(self, job_id: str) -> StoredJob:
        """End a queued job, or ask a running one to end.

        Raises:
            JobHasEnded: the job has already ended.
            JobNotFound: no job has this id.
            Draining: the next server will run the job, as this one could not store its outcome.
            StoreFailed: the store cannot be written.

        """
        give_up_at = time.monotonic() + BETWEEN
        while True:
            job = await self.get(job_id)
            if job.status.is_final:
                raise JobHasEnded(f"The job has already ended ({job.status}).")
            if job.status is Status.RUNNING:
                if await self._ask_to_end(job):
                    return job
                if self._runner.is_draining:
                    raise Draining("The server is stopping.")
                if time.monotonic() > give_up_at:
                    raise StoreFailed("The outcome of the job cannot be stored at the moment.")
                await asyncio.sleep(0.001)  # it is about to begin, or has just ended
                continue
            error = problem_document(JobCancelled(), job.request_id)
            if await self._settlement.end(job, Status.CANCELLED, error=error):
                return await self.get(job_id)

    async def _ask_to_end(self, job: StoredJob) -> bool:
        """Ask a running job to end; return False if it does not run any more.

        A store that others share keeps the request: they may have taken the job up, although it
        seems to run here.
        """
        is_shared = self.store.is_shared
        if is_shared and not await self.store.ask_to_end(job):
            return False
        return self._runner.cancel(job.id) or is_shared

    async def retry(self, job_id: str) -> StoredJob:
        """Queue a failed job again.

        Raises:
            JobHasEnded: the job has not failed.
            JobNotFound: no job has this id.
            StoreFailed: the store cannot be written.

        """
        job = await self.get(job_id)
        limit = job.attempts + self._terms.attempts(job.handler)
        last = max(1, await self.store.last_event(job_id))
        queued = Event(id=last + 1, kind="status", data=status_event("queued", job.attempts))
        did = job.status is Status.FAILED and await self.store.retry(
            job, attempts_limit=limit, now=self.store.clock(), events=[queued]
        )
        if not did:
            raise JobHasEnded(f"Only a failed job can be retried; this one is {job.status}.")
        self._runner.wake(for_suspect=job.is_suspect)
        self.watch.tell(job_id)
        return await self.get(job_id)

    async def purge(
        self, status: Status, *, older_than: float, owner: str | None, limit: int
    ) -> int:
        """Delete up to ``limit`` jobs that ended as ``status``; return how many.

        A job whose webhooks have not been delivered is kept. None is left if this returns 0.

        Args:
            status: a final one.
            older_than: seconds that have passed since their end.
            owner: whose they are; None for everybody's.
            limit: the maximum number of jobs.

        Raises:
            StoreFailed: the store cannot be written.

        """
        return await self.store.delete_ended(
            before=self.store.clock() - older_than, limit=limit, status=status, owner=owner
        )

    async def deliveries(self, job_id: str) -> Sequence[DeliveryAttempt]:
        """Return every attempt to deliver a webhook about a job.

        Raises:
            JobNotFound: no job has this id.
            StoreFailed: the store cannot be read.

        """
        await self.get(job_id)
        return await self.store.attempts_of(job_id)

    async def position(self, job: StoredJob) -> int | None:
        """Return the position of a job in its handler's queue, from 1; None if it is not queued.

        Raises:
            StoreFailed: the store cannot be read.

        """
        return await self.store.position(job) if job.status is Status.QUEUED else None

    def _has_rest(self, job: StoredJob) -> bool:
        if job.status.is_final or not self.is_draining:
            return job.status.is_final
        runs_elsewhere = self.store.is_shared and job.id not in self._runner.running
        return job.status is Status.QUEUED or runs_elsewhere

    async def _watched(self, job_id: str) -> StoredJob:
        """Return a job, which all who watch it read together."""
        return await self.watch.read(job_id, "job", lambda: self.get(job_id))
