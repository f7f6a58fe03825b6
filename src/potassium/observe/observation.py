"""Chooses what an app measures."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Literal

from starlette.routing import Route
from starlette.types import Scope

from potassium.config import LOG_FORMATS, LogFormat, Metrics, Traces, default_log, switch
from potassium.engine import End, Job, Observer, Operation
from potassium.errors import PotassiumError, UsageError
from potassium.handlers.handler import normal_path
from potassium.http.path import path_below_mount
from potassium.http.trace_headers import NO_TRACE, TraceHeaders

if TYPE_CHECKING:
    from potassium.http.exchange import ExchangeObserver
    from potassium.jobs.outcome import AttemptObserver, Work
    from potassium.observe.logs.access import AccessLog
    from potassium.observe.metrics import Figures, Source
    from potassium.observe.tracing import AppTraces
    from potassium.webhooks.deliverer import Posting

__all__ = ["Observation"]


class Observation:
    """What an app measures: nothing by default.

    Attributes:
        traces: the traces of the app; None if it has none.
        exchanges: who is told of each request.
        server_timing: whether every response says how long its call took.
        of_attempts: who is told of attempts at background jobs; None for nobody.

    """

    def __init__(
        self,
        metrics: "Metrics | bool | None" = None,
        traces: "Traces | bool | None" = None,
        *,
        server_timing: bool = False,
    ) -> None:
        """Measure what the options say, or the environment where they are None.

        Raises:
            ModuleNotFoundError: a library is missing.
            UsageError: the environment says something that does not exist, or the path of metrics
                is that of another page.

        """
        self.server_timing = server_timing
        self._metrics: Metrics | None = None
        self._figures: Figures | None = None
        self.exchanges: list[ExchangeObserver] = []
        self.of_attempts: AttemptObserver | None = None
        self._access: AccessLog | None = None
        self._log = default_log()
        self._jobs: list[Observer] = []
        if metrics is None:
            metrics = switch("POTASSIUM_METRICS", default=False)
        if metrics:
            from potassium.observe import metrics as its  # noqa: PLC0415 - needs an extra

            self._metrics = Metrics() if metrics is True else metrics
            normal_path(self._metrics.path)  # which must not be that of another page
            self._figures = its.Figures()
            self.exchanges.append(self._figures.requests)
            self._jobs.append(self._figures.calls)
        self.traces: AppTraces | None = None
        if traces is None:
            traces = switch("POTASSIUM_TRACES", default=False)
        if traces:
            from potassium.observe import tracing  # noqa: PLC0415 - needs an extra

            self.traces = tracing.AppTraces(Traces() if traces is True else traces)
            self.exchanges.append(self.traces.requests)
            self._jobs.append(self.traces.jobs)
        if self._log is not None:
            self._log_calls(of_all_paths=False)

    def log(
        self, how: LogFormat | None, *, access: bool | Literal["all"] | None
    ) -> LogFormat | None:
        """Log as ``app.serve`` says; return the format of the process's log, None for plain lines.

        Raises:
            UsageError: there is no such format, or no such access log.

        """
        if how not in (None, *LOG_FORMATS):
            raise UsageError(f'serve(log={how!r}): write "json" or "text".')
        if access not in (None, True, False, "all"):
            raise UsageError(f'serve(access_log={access!r}): write True, False or "all".')
        how = how or self._log
        if access is None:
            access = how is not None
        if self._access is not None:
            self.exchanges.remove(self._access)
            self._access = self.of_attempts = None
        if access:
            self._log_calls(of_all_paths=access == "all")
        return how or ("text" if access else None)

    def _log_calls(self, *, of_all_paths: bool) -> None:
        from potassium.observe.logs.access import AccessLog  # noqa: PLC0415 - only where it is on

        self._access = AccessLog(of_all_paths=of_all_paths)
        self.exchanges.insert(0, self._access)  # is told of the end last, when all is known
        self.of_attempts = self._access

    @property
    def shows_metrics(self) -> bool:
        """Whether the app has a page for Prometheus."""
        return self._metrics is not None

    @property
    def metrics_path(self) -> str | None:
        """Where that page is; None if there is none."""
        return None if self._metrics is None else self._metrics.path

    def routes(self, source: "Source") -> list[Route]:
        """Return the routes that show what is measured of an app."""
        if self._metrics is None or self._figures is None:
            return []
        from potassium.observe.metrics import Page  # noqa: PLC0415 - as above

        page = Page(source, self._figures)
        return [Route(self._metrics.path, page.show, name="metrics", include_in_schema=False)]

    def is_public(self, scope: Scope) -> bool:
        """Return whether a request is for what is shown to anybody."""
        return (
            self._metrics is not None
            and not self._metrics.needs_key
            and scope["method"] in ("GET", "HEAD")
            and path_below_mount(scope) == self._metrics.path
        )

    def begin(self, operations: Sequence[Operation]) -> None:
        """Note that the app starts, with the operations of its handlers."""
        if self._figures is not None:
            self._figures.begin(operations)

    def ready(self) -> None:
        """Note that the app has started; say what it measures for nobody."""
        if self.traces is not None:
            self.traces.ready()
        if self._access is not None:
            self._access.ready()

    def end(self) -> None:
        """Note that the app stops."""
        if self._figures is not None:
            self._figures.end()
        if self._access is not None:
            self._access.end()

    def refused(self, error: PotassiumError, scope: Scope) -> None:
        """Note what a connection, with its part of a scope, has answered without the app."""
        if self._figures is not None:
            self._figures.requests.refused(error)
        if self._access is not None:
            self._access.refused(error, scope)

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

    def of_posting(self, post: "Posting") -> "Posting":
        """Return what posts webhooks, and is traced if the app is."""
        return post if self.traces is None else self.traces.posting(post)

    @property
    def of_jobs(self) -> Observer | None:
        """What is notified of the engine's jobs; None if nothing is."""
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
