"""Stores the outcomes of attempts at jobs."""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from potassium.errors import DeadlineExceeded, JobCancelled, StoreFailed
from potassium.http.problem import problem_document
from potassium.jobs.attempt import Attempt, status_event
from potassium.jobs.model import Event, Status, StoredJob
from potassium.jobs.outcome import Cancelled, Crashed, Done, NotDone, Outcome
from potassium.jobs.store import JobStore
from potassium.jobs.suspicion import interrupted, is_culprit, warn_of_server, warn_of_worker
from potassium.jobs.terms import Terms
from potassium.jobs.watch import Watch
from potassium.webhooks.model import Delivery
from potassium.webhooks.service import WebhookService

__all__ = ["Settlement"]

RETRY_STORE = 1.0  # seconds until a store that has failed is asked again

T = TypeVar("T")

logger = logging.getLogger("potassium.jobs")


class Settlement:
    """Ends jobs or queues them again, and stores their events and the deliveries about them.

    Belongs to the event loop.

    Attributes:
        is_patient: whether a store that fails is asked until it works; otherwise a job that
            cannot be stored is left as it is, for the next server to run again.
        attempts: how many attempts have ended, by handler and what came of them: ``succeeded``,
            ``failed``, ``cancelled``, ``retried`` or ``put_back``.

    """

    def __init__(
        self,
        store: JobStore,
        terms: Terms,
        webhooks: WebhookService,
        watch: Watch,
        *,
        clock: Callable[[], float],
    ) -> None:
        self.is_patient = True
        self.attempts: Counter[tuple[str, str]] = Counter()
        self._store = store
        self._terms = terms
        self._webhooks = webhooks
        self._watch = watch
        self._clock = clock
        self._has_failed = False

    async def settle(self, attempt: Attempt, outcome: Outcome) -> bool:
        """Store the outcome of an attempt; return whether the job is queued again.

        Raises:
            StoreFailed: the outcome cannot be stored, and the server is stopping.

        """
        job = attempt.job
        if isinstance(outcome, Done):
            output, kind = outcome.output, outcome.media_type
            await self._end(attempt, Status.SUCCEEDED, output=output, output_type=kind)
        elif isinstance(outcome, Cancelled) or attempt.is_cancelled:
            await self._end(attempt, Status.CANCELLED, error=_cancelled(attempt, outcome))
        elif isinstance(outcome, NotDone):
            await self._put_back(attempt, job, due_at=self._clock(), error=None, counts=False)
            self.attempts[job.handler, "put_back"] += 1
            return True
        elif isinstance(outcome, Crashed):
            return await self._crashed(attempt, was_alone=outcome.was_alone)
        elif outcome.may_retry and job.attempts < job.attempts_limit:
            due_at = self._clock() + self._terms.backoff(job)
            await self._put_back(attempt, job.cleared(), due_at=due_at, error=outcome.error)
            self.attempts[job.handler, "retried"] += 1
            return True
        else:
            await self._end(attempt, Status.FAILED, error=outcome.error)
        return False

    async def end(  # noqa: PLR0913 - as in the store
        self,
        job: StoredJob,
        status: Status,
        *,
        output: bytes | None = None,
        output_type: str | None = None,
        error: bytes | None = None,
        events: Sequence[Event] | None = None,
    ) -> bool:
        """End a job; return False if it is no longer in the state of ``job``.

        Raises:
            StoreFailed: the end cannot be stored.

        """
        now = self._clock()
        if events is None:
            events = [await self._status_event(job, status)]
        ended = replace(
            job,
            status=status,
            finished_at=now,
            output=output,
            output_type=output_type,
            output_size=None if output is None else len(output),
            error=error,
        )
        deliveries = self._terms.deliveries(ended, now)
        is_kept_here = self._webhooks.is_kept_by(self._store)
        did = await self._store.end(
            job,
            status,
            now=now,
            output=output,
            output_type=output_type,
            error=error,
            events=events,
            deliveries=deliveries if is_kept_here else (),
        )
        if did:
            self._watch.tell_end(job.id)
            self._post(deliveries, is_kept_here=is_kept_here)
        return did

    def _post(self, deliveries: Sequence[Delivery], *, is_kept_here: bool) -> None:
        """Begin to post what was stored with a job, or what is kept apart from all jobs."""
        if is_kept_here and deliveries:
            self._webhooks.wake()
        elif not is_kept_here:
            post = self._webhooks.outbox.post  # anew, by the clock of the store that keeps it
            for one in deliveries:
                post(one.url, one.body, one.request_id, is_guarded=one.is_guarded)

    async def expire(self, job: StoredJob) -> None:
        """End a job that did not begin in time.

        Raises:
            StoreFailed: the end cannot be stored.

        """
        error = DeadlineExceeded("The job did not begin in time.")
        await self.end(job, Status.EXPIRED, error=problem_document(error, job.request_id))

    async def take_up(self, left: Sequence[StoredJob]) -> None:
        """Queue jobs again that a server ran when it died.

        Raises:
            StoreFailed: the changes cannot be stored.

        """
        warn_of_server(left)
        # All at once, so that they are stored together: a part would look like all that ran.
        await asyncio.gather(*(self._take_up(job, was_alone=len(left) == 1) for job in left))

    async def _take_up(self, job: StoredJob, *, was_alone: bool) -> None:
        """Queue a job again as a suspect after its server died, or fail it if it is the culprit."""
        suspect = job.suspected(was_alone=was_alone)
        if not (was_alone and is_culprit(suspect)):
            queued = await self._status_event(job, Status.QUEUED)
            await self._store.put_back(suspect, due_at=self._clock(), error=None, events=[queued])
            return
        error = interrupted(suspect, died="The server")
        await self.end(suspect, Status.FAILED, error=error)

    async def _crashed(self, attempt: Attempt, *, was_alone: bool) -> bool:
        """Do the same after the worker process died that ran it; return whether it is queued."""
        suspect = attempt.job.suspected(was_alone=was_alone)
        if was_alone and is_culprit(suspect):
            error = interrupted(suspect, died="The worker process")
            await self._end(attempt, Status.FAILED, error=error, is_culprit=True)
            return False
        warn_of_worker(suspect)
        await self._put_back(attempt, suspect, due_at=self._clock(), error=None)
        self.attempts[suspect.handler, "retried"] += 1
        return True

    async def last_event(self, job: StoredJob) -> int:
        """Return the id of a job's last event; ask a store that fails until it works.

        Raises:
            StoreFailed: the id cannot be read, and the server is stopping.

        """
        # The first event says that the job was queued; no other comes before its first attempt.
        return 1 if job.attempts <= 1 else await self._insist(lambda: self._last_event(job))

    async def _end(  # noqa: PLR0913 - as in the store
        self,
        attempt: Attempt,
        status: Status,
        *,
        output: bytes | None = None,
        output_type: str | None = None,
        error: bytes | None = None,
        is_culprit: bool = False,
    ) -> None:
        events = await attempt.finish({"status": status.value, "attempts": attempt.job.attempts})
        told = attempt.told
        job = told.suspected(was_alone=True) if is_culprit else told.cleared()
        if status is Status.SUCCEEDED:
            job = replace(job, progress=1.0)
        did = await self._insist(
            lambda: self.end(
                job, status, output=output, output_type=output_type, error=error, events=events
            )
        )
        if did:
            self.attempts[job.handler, status.value] += 1
        else:
            logger.warning(
                "the outcome of job %s was dropped: another server has taken the job up", job.id
            )

    async def _put_back(
        self,
        attempt: Attempt,
        job: StoredJob,
        *,
        due_at: float,
        error: bytes | None,
        counts: bool = True,
    ) -> None:
        events = await attempt.finish({"status": "queued", "attempts": attempt.job.attempts})
        await self._insist(
            lambda: self._store.put_back(
                job, due_at=due_at, error=error, events=events, counts=counts
            )
        )

    async def _status_event(self, job: StoredJob, status: Status) -> Event:
        last = await self._last_event(job)
        return Event(id=last + 1, kind="status", data=status_event(status.value, job.attempts))

    async def _last_event(self, job: StoredJob) -> int:
        return max(1, await self._store.last_event(job.id))

    async def _insist(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask the store until it works.

        Once the server is stopping, a failure is raised instead: the next server runs the job.
        """
        while True:
            try:
                answer = await ask()
            except StoreFailed as error:
                if not self.is_patient:
                    raise
                if not self._has_failed:  # once for all jobs; the store has logged what failed
                    logger.error("the outcomes of jobs wait for the store: %s", error.detail)  # noqa: TRY400
                self._has_failed = True
                await asyncio.sleep(RETRY_STORE)
            else:
                self._has_failed = False
                return answer


def _cancelled(attempt: Attempt, outcome: Outcome) -> bytes:
    """Return the problem document of a cancelled attempt, whatever its outcome."""
    if isinstance(outcome, Cancelled):
        return outcome.error
    return problem_document(JobCancelled(), attempt.job.request_id)
