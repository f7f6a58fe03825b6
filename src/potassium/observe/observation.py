"""Chooses what an app measures."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from starlette.routing import Route
from starlette.types import Scope

from potassium.config import LOG_FORMATS, LogFormat, Metrics, default_log, switch
from potassium.engine import End, Job, Observer, Operation
from potassium.errors import PotassiumError, UsageError

if TYPE_CHECKING:
    from potassium.http.exchange import ExchangeObserver
    from potassium.jobs.outcome import AttemptObserver
    from potassium.observe.logs.access import AccessLog
    from potassium.observe.metrics import AppMetrics

__all__ = ["Observation"]

# For probes, scrapes and browsers, which come again and again and say nothing of any call.
QUIET = ("/healthz", "/readyz", "/health", "/ping", "/_k/status", "/__status__", "/_k/warmup")
ASSETS = "/docs/assets/"


class Observation:
    """What an app measures: nothing by default.

    Attributes:
        metrics: the figures of the app; None if it has no metrics.
        exchanges: who is told of each request.
        of_attempts: who is told of attempts at background jobs; None for nobody.

    """

    def __init__(self, metrics: "Metrics | bool | None" = None) -> None:
        """Measure what the options say, or the environment where they are None.

        Raises:
            ModuleNotFoundError: a library is missing.
            UsageError: the environment says something that does not exist.

        """
        self.metrics: AppMetrics | None = None
        self.exchanges: list[ExchangeObserver] = []
        self.of_attempts: AttemptObserver | None = None
        self._access: AccessLog | None = None
        self._log = default_log()
        self._jobs: list[Observer] = []
        if metrics is None:
            metrics = switch("POTASSIUM_METRICS", default=False)
        if metrics:
            from potassium.observe import metrics as its  # noqa: PLC0415 - needs an extra

            self.metrics = its.AppMetrics(Metrics() if metrics is True else metrics)
            self.exchanges.append(self.metrics.requests)
            self._jobs.append(self.metrics.calls)
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

        self._access = AccessLog((lambda _: False) if of_all_paths else self._is_quiet)
        self.exchanges.insert(0, self._access)  # is told of the end last, when all is known
        self.of_attempts = self._access

    def _is_quiet(self, path: str) -> bool:
        is_scrape = self.metrics is not None and path == self.metrics.options.path
        return is_scrape or path in QUIET or path.startswith(ASSETS)

    def routes(self) -> list[Route]:
        """Return the routes that show what is measured."""
        return [] if self.metrics is None else [self.metrics.route()]

    def is_public(self, scope: Scope) -> bool:
        """Return whether a request is for what is shown to anybody."""
        return self.metrics is not None and self.metrics.is_public(scope)

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
