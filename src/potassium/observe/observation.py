"""Chooses what an app measures."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from starlette.routing import Route
from starlette.types import Scope

from potassium.config import Metrics, Traces, switch
from potassium.engine import End, Job, Observer, Operation
from potassium.errors import PotassiumError
from potassium.http.trace_headers import NO_TRACE, TraceHeaders

if TYPE_CHECKING:
    from potassium.http.exchange import ExchangeObserver
    from potassium.jobs.outcome import Work
    from potassium.observe.metrics import AppMetrics
    from potassium.observe.tracing import AppTraces

__all__ = ["Observation"]


class Observation:
    """What an app measures: nothing by default.

    Attributes:
        metrics: the figures of the app; None if it has no metrics.
        traces: the traces of the app; None if it has none.
        exchanges: who is told of each request.

    """

    def __init__(
        self,
        metrics: "Metrics | bool | None" = None,
        traces: "Traces | bool | None" = None,
    ) -> None:
        """Measure what the options say, or the environment where they are None.

        Raises:
            UsageError: a library is missing.

        """
        self.metrics: AppMetrics | None = None
        self.exchanges: list[ExchangeObserver] = []
        self._jobs: list[Observer] = []
        if metrics is None:
            metrics = switch("POTASSIUM_METRICS", default=False)
        if metrics:
            from potassium.observe import metrics as its  # noqa: PLC0415 - needs an extra

            self.metrics = its.AppMetrics(Metrics() if metrics is True else metrics)
            self.exchanges.append(self.metrics.requests)
            self._jobs.append(self.metrics.calls)
        self.traces: AppTraces | None = None
        if traces is None:
            traces = switch("POTASSIUM_TRACES", default=False)
        if traces:
            from potassium.observe import tracing  # noqa: PLC0415 - needs an extra

            self.traces = tracing.AppTraces(Traces() if traces is True else traces)
            self.exchanges.append(self.traces.requests)
            self._jobs.append(self.traces.jobs)

    def routes(self) -> list[Route]:
        """Return the routes that show what is measured."""
        return [] if self.metrics is None else [self.metrics.route()]

    def is_public(self, scope: Scope) -> bool:
        """Return whether a request is for what is shown to anybody."""
        return self.metrics is not None and self.metrics.is_public(scope)

    @property
    def trace_headers(self) -> TraceHeaders:
        """What continues the current trace in webhooks and background jobs."""
        return NO_TRACE if self.traces is None else self.traces.headers

    def calling(self, path: str) -> AbstractContextManager[object]:
        """Return a context for calling a handler from code in the process."""
        return nullcontext() if self.traces is None else self.traces.calling(path)

    def submitting(self, path: str) -> AbstractContextManager[object]:
        """Return a context for submitting a background job from code in the process."""
        return nullcontext() if self.traces is None else self.traces.submitting(path)

    def of_work(self, work: "Work") -> "Work":
        """Return what runs background jobs, and is traced if the app is."""
        return work if self.traces is None else self.traces.work(work)

    @property
    def of_jobs(self) -> Observer | None:
        """Who is told what becomes of jobs; None for nobody."""
        if len(self._jobs) > 1:
            return _Observers(self._jobs)
        return self._jobs[0] if self._jobs else None


class _Observers:
    """Tells several observers."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = observers

    def refused(self, operation: Operation, error: PotassiumError) -> None:
        for one in self._observers:
            one.refused(operation, error)

    def streams(self, job: Job) -> None:
        for one in self._observers:
            one.streams(job)

    def ran(self, jobs: Sequence[Job]) -> None:
        for one in self._observers:
            one.ran(jobs)

    def closed(self, job: Job, end: End) -> None:
        for one in self._observers:
            one.closed(job, end)

    def begin_batch(self, jobs: Sequence[Job]) -> None:
        for one in self._observers:
            one.begin_batch(jobs)
