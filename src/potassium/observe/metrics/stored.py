"""Shows background jobs and webhooks, which a store is asked for."""

from collections.abc import Iterator
from dataclasses import dataclass

from prometheus_client.metrics_core import Metric

from potassium.jobs.model import Census, Status
from potassium.observe.held import Held
from potassium.observe.metrics.shown import Shown
from potassium.observe.metrics.source import Running

__all__ = ["Stored"]


@dataclass(frozen=True, kw_only=True)
class Stored:
    """What the stores of a running app hold.

    Attributes:
        running: the app.
        census: its jobs; None if it has none, or if their store does not answer.
        now: the time by the clock of that store.
        undelivered: how many deliveries wait; None if their store does not answer.

    """

    running: Running
    census: Census | None
    now: float
    undelivered: int | None

    @classmethod
    async def of(cls, running: Running) -> "Stored":
        """Ask the stores, see ``Held``."""
        jobs = running.jobs
        held = await Held.by(jobs, running.webhooks)
        now = 0.0 if jobs is None else jobs.store.clock()
        return cls(running=running, census=held.census, now=now, undelivered=held.undelivered)

    def families(self, shown: Shown) -> Iterator[Metric]:
        """Yield what there is to show."""
        if self.running.jobs is not None:
            yield from self._of_jobs(shown)
        webhooks = self.running.webhooks
        outcomes = {**dict.fromkeys(("delivered", "failed", "given_up"), 0), **webhooks.attempts}
        yield shown.counter(
            "potassium_webhook_attempts_total",
            "Attempts to deliver a webhook: delivered, failed (another follows) or given_up.",
            {(outcome,): count for outcome, count in outcomes.items()},
            "outcome",
        )
        yield shown.counter(
            "potassium_webhook_dropped_total",
            "Webhooks that were dropped, as there was no room or they could not be stored.",
            {(): webhooks.dropped},
        )
        yield shown.gauge(
            "potassium_webhook_backlog",
            "Webhooks that have neither arrived nor been given up.",
            {} if self.undelivered is None else {(): self.undelivered},
        )

    def _of_jobs(self, shown: Shown) -> Iterator[Metric]:
        jobs, census = self.running.jobs, self.census
        assert jobs is not None  # noqa: S101 - otherwise there is nothing to show
        is_up = census is not None and jobs.store.fault is None
        yield shown.gauge(
            "potassium_job_store_up",
            "1 if background jobs can be stored and read; otherwise 0.",
            {(): is_up},
        )
        yield shown.gauge(
            "potassium_jobs",
            "Background jobs in the store, by state.",
            {}
            if census is None
            else {(one, status.value): n for (one, status), n in census.jobs.items()},
            *("handler", "state"),
        )
        oldest = {} if census is None else census.oldest
        ages = {status: max(self.now - at, 0.0) for status, at in oldest.items()}
        unfinished = () if census is None else (Status.QUEUED, Status.RUNNING)
        yield shown.gauge(
            "potassium_job_oldest_age_seconds",
            "Seconds since the oldest background job in a state was submitted; 0 if there is none.",
            {(status.value,): ages.get(status, 0.0) for status in unfinished},
            "state",
        )
        yield shown.counter(
            "potassium_job_attempts_total",
            "Attempts at background jobs that have ended, by what came of them.",
            jobs.attempts,
            *("handler", "outcome"),
        )
