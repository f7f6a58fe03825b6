"""Shows the figures in Prometheus's terms."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from potassium.observe.metrics.calls import CallMetrics
from potassium.observe.metrics.histogram import Histogram
from potassium.observe.metrics.requests import RequestMetrics

__all__ = ["Families"]


class Families(Collector):
    """Yields the metrics of an app when it is scraped."""

    def __init__(self, requests: RequestMetrics, calls: CallMetrics) -> None:
        self._requests = requests
        self._calls = calls

    def collect(self) -> Iterator[Metric]:
        """Yield each family."""
        requests = self._requests
        yield GaugeMetricFamily(
            "potassium_requests_in_flight",
            "HTTP requests that have no complete response yet.",
            requests.in_flight,
        )
        answers = CounterMetricFamily(
            "potassium_requests",
            "HTTP requests, by handler, status and the code of the error.",
            labels=["handler", "status", "code"],
        )
        for (handler, status, code), count in list(requests.answers.items()):
            answers.add_metric([handler, str(status), code], count)
        yield answers
        yield _histogram(
            "potassium_request_duration_seconds",
            "From a request's arrival to the end of its response.",
            requests.seconds,
        )
        handlers = dict(self._calls.handlers)
        yield _histogram(
            "potassium_queue_duration_seconds",
            "Time that calls waited for their runner.",
            {name: figures.queue for name, figures in handlers.items()},
        )
        yield _histogram(
            "potassium_run_duration_seconds",
            "Time that handlers ran.",
            {name: figures.run for name, figures in handlers.items()},
        )


def _histogram(name: str, what: str, by_handler: dict[str, Histogram]) -> Metric:
    family = HistogramMetricFamily(name, what, labels=["handler"])
    for handler, histogram in by_handler.items():
        total, buckets = 0, []
        bounds = [str(bound) for bound in histogram.bounds]
        for bound, count in zip([*bounds, "+Inf"], histogram.counts, strict=True):
            total += count
            buckets.append((bound, total))
        family.add_metric([handler], buckets, histogram.sum)
    return family
