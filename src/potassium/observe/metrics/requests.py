"""Requests and responses, counted for metrics."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator

from prometheus_client.metrics_core import Metric

from potassium.errors import ClientLeft, PotassiumError
from potassium.http.exchange import Exchange
from potassium.http.request_id import SCOPE_KEY
from potassium.observe.metrics.histogram import SECONDS, Histogram
from potassium.observe.metrics.labels import OTHER, Codes, status_label
from potassium.observe.metrics.shown import Shown

__all__ = ["RequestMetrics"]

OK = 200
NO_REFUSALS = (500, ClientLeft.status)  # something went wrong, or nobody was answered


class HandlerRequests:
    """The requests for one handler.

    Attributes:
        succeeded: how many ended with status 200 and without an error.
        others: how many did not, by status and code.
        seconds: how long they took.

    """

    __slots__ = ("others", "seconds", "succeeded")

    def __init__(self) -> None:
        self.succeeded = 0
        self.others: Counter[tuple[str, str]] = Counter()
        self.seconds = Histogram()


class RequestMetrics:
    """Counts requests. Belongs to the event loop."""

    def __init__(self) -> None:
        self._in_flight = 0
        self._handlers: dict[str, HandlerRequests] = {"": HandlerRequests()}
        self._refusals: Counter[tuple[str, str]] = Counter()
        self._codes = Codes()

    def begin(self, handler: str) -> None:
        """Show the figures of ``handler`` from now on, which are 0 so far."""
        self._handlers.setdefault(handler, HandlerRequests())

    def began(self, _: Exchange) -> None:
        """Count a request that has arrived."""
        self._in_flight += 1

    def ended(self, exchange: Exchange) -> None:
        """Count a request that is over."""
        self._in_flight -= 1
        figures = self._handlers.get(exchange.handler)
        if figures is None:
            figures = self._handlers[exchange.handler] = HandlerRequests()
        if exchange.status == OK and not exchange.code:
            figures.succeeded += 1
        else:
            self._note(figures, exchange)
        # As Histogram.add does: for what is done for every request, a call costs as much again.
        took, seconds = figures.seconds, exchange.ended_at - exchange.began_at
        bucket = bisect_left(SECONDS, seconds)
        took.counts[bucket] += 1
        took.sum += seconds
        if took.wanted[bucket]:
            took.wanted[bucket] = False
            request_id = exchange.scope.get(SCOPE_KEY, "")
            took.examples[bucket] = (seconds, exchange.ended_at, request_id, exchange.trace_id)

    def refused(self, error: PotassiumError) -> None:
        """Count what a connection has answered by itself, without the app."""
        self._refusals["", error.code] += 1

    def families(self, shown: Shown) -> Iterator[Metric]:
        """Yield what there is to show; may be called on any thread."""
        yield shown.gauge(
            "potassium_requests_in_flight",
            "HTTP requests that have no complete response yet, the scrape itself included.",
            {(): self._in_flight},
        )
        handlers, refusals = dict(self._handlers), dict(self._refusals)
        answers: dict[tuple[str, ...], float] = {}
        for handler, figures in handlers.items():
            answers[handler or OTHER, str(OK), ""] = figures.succeeded
            for (status, code), count in dict(figures.others).items():
                answers[handler or OTHER, status, code] = count
        yield shown.counter(
            "potassium_requests_total",
            "HTTP requests by handler, status, and the code of the error if there was one.",
            answers,
            *("handler", "status", "code"),
        )
        yield shown.counter(
            "potassium_refusals_total",
            "HTTP requests that were answered with an error before any handler ran, by its code.",
            {(handler or OTHER, code): count for (handler, code), count in refusals.items()},
            *("handler", "reason"),
        )
        yield shown.histogram(
            "potassium_request_duration_seconds",
            "Seconds from a request's arrival to the end of its response.",
            {(name or OTHER,): figures.seconds for name, figures in handlers.items()},
            "handler",
        )

    def _note(self, figures: HandlerRequests, exchange: Exchange) -> None:
        code = self._codes.label(exchange.code)
        figures.others[status_label(exchange.status), code] += 1
        has_begun = exchange.call is not None or exchange.job_id
        if code and not has_begun and exchange.status not in NO_REFUSALS:
            self._refusals[exchange.handler, code] += 1
