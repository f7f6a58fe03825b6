"""Refuses calls that have killed one worker after another."""

import logging
from collections.abc import Sequence
from math import ceil

from potassium.engine import Job
from potassium.errors import PotassiumError, WorkerFailed
from potassium.http.message import Message
from potassium.workers.poison import REFUSED_FOR, PoisonRegister, call_fingerprint, refusal_line

__all__ = ["Culprits"]

logger = logging.getLogger("potassium")

REFUSED = (
    "This call is refused for some minutes: each worker process that ran one with the same content "
    "has died."
)


class Culprits:
    """Applies a ``PoisonRegister`` to jobs: to those that come, run and end.

    Jobs whose body is on disk are left out, as it would take long to read. Background jobs are not
    refused: they are counted by their ids, and end as ``interrupted``.

    Args:
        register: remembers which calls have killed workers.

    """

    def __init__(self, register: PoisonRegister) -> None:
        self._register = register

    def refusal(self, job: Job) -> PotassiumError | None:
        """Return the error that refuses a job that is about to be admitted, or None."""
        if not self._register or job.is_background:
            return None
        call = _fingerprint(job)
        if call is None or not self._register.is_refused(call):
            return None
        return WorkerFailed(REFUSED, retry_after=ceil(REFUSED_FOR))

    def died(self, begun: Sequence[Job]) -> bool:
        """Note that a worker has died that had begun to run or to prepare these.

        Return whether that explains it.
        """
        calls = {call: job for job in begun if (call := _fingerprint(job)) is not None}
        was_refused = {call for call in calls if self._register.is_refused(call)}
        explained = self._register.died(calls)
        for call in explained - was_refused:
            logger.error(refusal_line(calls[call].operation.name, call))
        return bool(explained)

    def ended(self, job: Job) -> None:
        """Note that a job has ended, and its worker lives; unless it was passed over."""
        if self._register and job.began_at is not None and (call := _fingerprint(job)) is not None:
            self._register.ended_well(call)


def _fingerprint(job: Job) -> bytes | None:
    message = job.origin
    if not isinstance(message, Message) or not isinstance(message.content, bytes):
        return None
    query = message.scope.get("query_string", b"")
    return call_fingerprint(job.operation.name, message.content, message.content_type, query)
