"""Requests and responses, counted for metrics."""

from collections import Counter

from potassium.http.exchange import Exchange
from potassium.observe.metrics.histogram import Histogram

__all__ = ["RequestMetrics"]


class RequestMetrics:
    """Counts requests. Belongs to the event loop.

    Attributes:
        in_flight: requests that have no complete response yet.
        answers: requests by handler, status and code.
        seconds: how long they took, by handler.

    """

    def __init__(self) -> None:
        self.in_flight = 0
        self.answers: Counter[tuple[str, int, str]] = Counter()
        self.seconds: dict[str, Histogram] = {}

    def began(self, _: Exchange) -> None:
        """Count a request that has arrived."""
        self.in_flight += 1

    def ended(self, exchange: Exchange) -> None:
        """Count a request that is over."""
        self.in_flight -= 1
        handler = exchange.handler
        self.answers[handler, exchange.status, exchange.code] += 1
        seconds = self.seconds.get(handler)
        if seconds is None:
            seconds = self.seconds[handler] = Histogram()
        seconds.add(exchange.ended_at - exchange.began_at)
