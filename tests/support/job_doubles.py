"""Test doubles for the collaborators of a runner and a settlement."""

from collections.abc import Callable, Sequence

from potassium.config import Jobs
from potassium.http.trace_headers import NO_TRACE
from potassium.jobs.model import StoredJob
from potassium.jobs.terms import Terms
from potassium.webhooks.model import Delivery, DeliveryStore
from potassium.webhooks.service import WebhookService
from potassium.webhooks.steady_clock import SteadyClock

__all__ = ["FakeTerms", "FakeWebhooks"]


class FakeTerms(Terms):
    """One back-off for all jobs, and the deliveries that a test chooses."""

    def __init__(
        self, backoff: float, deliveries: Callable[[StoredJob], Sequence[Delivery]]
    ) -> None:
        super().__init__({}, Jobs(path=None), SteadyClock())
        self._backoff = backoff
        self._deliveries = deliveries

    def backoff(self, job: StoredJob) -> float:
        return self._backoff

    def deliveries(self, job: StoredJob, now: float) -> Sequence[Delivery]:
        return self._deliveries(job)


class FakeWebhooks(WebhookService):
    """Counts how often it was woken, and posts nothing."""

    def __init__(self) -> None:
        self.woken = 0
        self.trace = NO_TRACE

    def is_kept_by(self, store: DeliveryStore) -> bool:
        return True

    def wake(self) -> None:
        self.woken += 1
