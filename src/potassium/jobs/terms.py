"""The terms for jobs of each handler: attempts, back-off, and webhook deliveries."""

import logging
from collections.abc import Mapping, Sequence

from potassium.config import Jobs
from potassium.handlers.handler import Handler
from potassium.http.codec import encode
from potassium.http.trace_headers import NO_TRACE, TraceHeaders
from potassium.jobs.document import document
from potassium.jobs.model import StoredJob
from potassium.webhooks.model import Delivery
from potassium.webhooks.outbox import new_id
from potassium.webhooks.steady_clock import SteadyClock

__all__ = ["Terms"]

MOST_DOUBLINGS = 20  # of the back-off

logger = logging.getLogger("potassium.jobs")


class Terms:
    """The options of each handler, with the defaults of ``Jobs``.

    Args:
        clock: that of the store.
        trace: what continues in a delivery the trace of the job's run.

    """

    def __init__(
        self,
        handlers: Mapping[str, Handler],
        options: Jobs,
        clock: SteadyClock,
        trace: TraceHeaders = NO_TRACE,
    ) -> None:
        self._trace = trace
        self._clock = clock
        self._handlers = handlers
        self._options = options

    def attempts(self, path: str) -> int:
        """Return the maximum number of attempts at a job of the handler at ``path``."""
        handler = self._handlers.get(path)
        return (handler and handler.options.get("attempts")) or self._options.attempts

    def expires_at(self, created_at: float) -> float | None:
        """Return until when a job that is submitted at ``created_at`` must begin, if it must."""
        expire_after = self._options.expire_after
        return None if expire_after is None else created_at + expire_after

    def backoff(self, job: StoredJob) -> float:
        """Return the seconds until the next attempt at a job that has just failed."""
        handler = self._handlers.get(job.handler)
        first = (handler and handler.options.get("backoff")) or self._options.backoff
        return first * 2.0 ** min(job.attempts - 1, MOST_DOUBLINGS)

    def deliveries(self, job: StoredJob, now: float) -> Sequence[Delivery]:
        """Return the deliveries about a job that has ended, due at ``now``."""
        posts = []
        if job.webhook_url is not None:
            posts.append((job.webhook_url, encode(document(job, self._clock)), True))
        handler = self._handlers.get(job.handler)
        if handler is not None and handler.webhook_url is not None and job.output is not None:
            if job.output_type is None:
                posts.append((handler.webhook_url, job.output, False))
            else:
                logger.warning(
                    "%s did not return JSON: nothing is posted to its webhook (job %s)",
                    job.handler,
                    job.id,
                    extra={"request_id": job.request_id, "handler": job.handler, "job_id": job.id},
                )
        return [
            Delivery(
                id=new_id(),
                url=url,
                body=body,
                request_id=job.request_id,
                job_id=job.id,
                is_guarded=is_guarded,
                trace=self._trace.current(for_stranger=is_guarded),
                created_at=now,
                due_at=now,
            )
            for url, body, is_guarded in posts
        ]
