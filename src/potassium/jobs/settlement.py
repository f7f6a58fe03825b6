"""Stores the outcomes of attempts at jobs."""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from potassium.errors import DeadlineExceeded, Interrupted, JobCancelled, StoreFailed
from potassium.http.problem import problem_document
from potassium.jobs.attempt import Attempt, status_event
from potassium.jobs.model import Event, Status, StoredJob
from potassium.jobs.outcome import Cancelled, Done, NotDone, Outcome
from potassium.jobs.store import JobStore
from potassium.jobs.terms import Terms
from potassium.jobs.watch import Watch
from potassium.webhooks.model import Delivery
from potassium.webhooks.service import WebhookService

__all__ = ["CRASHES", "Settlement"]

CRASHES = 3  # during which a job ran alone; after that it counts as their cause

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

    async def take_up(self, job: StoredJob, *, was_alone: bool) -> None:
        """Queue a job again as a suspect after its server died, or fail it if it is the culprit.

        A crash counts only if the job ``was_alone``. Of several that ran, any may be the culprit.

        Raises:
            StoreFailed: the change cannot be stored.

        """
        suspect = replace(job, crashes=job.crashes + was_alone, is_suspect=True)
        if not was_alone or suspect.crashes < max(job.attempts_limit, CRASHES):
            queued = await self._status_event(job, Status.QUEUED)
            await self._store.put_back(suspect, due_at=self._clock(), error=None, events=[queued])
            return
        error = Interrupted(f"The server died {suspect.crashes} times while it ran only this job.")
        logger.error(
            "job %s failed: %s: %s", job.id, error.code, error.detail, extra={"job_id": job.id}
        )
        await self.end(suspect, Status.FAILED, error=problem_document(error, job.request_id))

    async def last_event(self, job: StoredJob) -> int:
        """Return the id of a job's last event; ask a store that fails until it works.

        Raises:
            StoreFailed: the id cannot be read, and the server is stopping.

        """
        # The first event says that the job was queued; no other comes before its first attempt.
        return 1 if job.attempts <= 1 else await self._insist(lambda: self._last_event(job))

    async def _end(
        self,
        attempt: Attempt,
        status: Status,
        *,
        output: bytes | None = None,
        output_type: str | None = None,
        error: bytes | None = None,
    ) -> None:
        events = await attempt.finish({"status": status.value, "attempts": attempt.job.attempts})
        job = attempt.told.cleared()
        if status is Status.SUCCEEDED:
            job = replace(job, progress=1.0)
        await self._insist(
            lambda: self.end(
                job, status, output=output, output_type=output_type, error=error, events=events
            )
        )
        self.attempts[job.handler, status.value] += 1

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
        has_failed = False
        while True:
            try:
                return await ask()
            except StoreFailed:
                if not self.is_patient:
                    raise
                if not has_failed:
                    logger.exception("the store of background jobs failed and will be retried")
                has_failed = True
                await asyncio.sleep(RETRY_STORE)


def _cancelled(attempt: Attempt, outcome: Outcome) -> bytes:
    """Return the problem document of a cancelled attempt, whatever its outcome."""
    if isinstance(outcome, Cancelled):
        return outcome.error
    return problem_document(JobCancelled(), attempt.job.request_id)
