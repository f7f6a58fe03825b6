"""Chooses what an app measures."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from starlette.routing import Route
from starlette.types import Scope

from potassium.config import Metrics, switch
from potassium.engine import End, Job, Observer, Operation
from potassium.errors import PotassiumError
from potassium.http.path import path_below_mount

if TYPE_CHECKING:
    from potassium.http.exchange import ExchangeObserver
    from potassium.observe.metrics import Figures, Source

__all__ = ["Observation"]


class Observation:
    """What an app measures: nothing by default.

    Attributes:
        exchanges: who is told of each request.
        server_timing: whether every response says how long its call took.

    """

    def __init__(
        self, metrics: "Metrics | bool | None" = None, *, server_timing: bool = False
    ) -> None:
        """Measure what the options say, or the environment where they are None.

        Raises:
            UsageError: a library is missing.

        """
        self.server_timing = server_timing
        self._metrics: Metrics | None = None
        self._figures: Figures | None = None
        self.exchanges: list[ExchangeObserver] = []
        self._jobs: list[Observer] = []
        if metrics is None:
            metrics = switch("POTASSIUM_METRICS", default=False)
        if metrics:
            from potassium.observe import metrics as its  # noqa: PLC0415 - needs an extra

            self._metrics = Metrics() if metrics is True else metrics
            self._figures = its.Figures()
            self.exchanges.append(self._figures.requests)
            self._jobs.append(self._figures.calls)

    def routes(self, source: "Source") -> list[Route]:
        """Return the routes that show what is measured of an app."""
        if self._metrics is None or self._figures is None:
            return []
        from potassium.observe.metrics import Page  # noqa: PLC0415 - as above

        page = Page(source, self._figures)
        return [Route(self._metrics.path, page.show, methods=["GET"], name="metrics")]

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

    def end(self) -> None:
        """Note that the app stops."""
        if self._figures is not None:
            self._figures.end()

    def refused(self, error: PotassiumError) -> None:
        """Note what a connection has answered by itself, without the app."""
        if self._figures is not None:
            self._figures.requests.refused(error)

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
