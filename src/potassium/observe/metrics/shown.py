"""Puts figures into the terms of Prometheus."""

import time
from collections.abc import Mapping
from typing import TypeVar

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Exemplar

from potassium.observe.metrics.histogram import Example, Histogram

__all__ = ["Shown"]

Key = TypeVar("Key", bound=tuple[str, ...])

LONGEST_EXEMPLAR = 128  # characters of its names and values (OpenMetrics 1.0, "Exemplars")


class Shown:
    """Makes families of metrics. Each sample has the name of the app as its label ``app``.

    Values are given by the values of the labels, in the order of their names.
    """

    def __init__(self, app: str) -> None:
        self._app = app
        self._now = time.time() - time.monotonic()

    def counter(self, name: str, what: str, values: Mapping[Key, float], *labels: str) -> Metric:
        """Return a counter, whose ``name`` ends in ``_total``."""
        family = CounterMetricFamily(name, what, labels=["app", *labels])
        for given, value in values.items():
            family.add_metric([self._app, *given], value)
        return family

    def gauge(self, name: str, what: str, values: Mapping[Key, float], *labels: str) -> Metric:
        """Return a gauge."""
        family = GaugeMetricFamily(name, what, labels=["app", *labels])
        for given, value in values.items():
            family.add_metric([self._app, *given], value)
        return family

    def histogram(
        self, name: str, what: str, values: Mapping[Key, Histogram], *labels: str
    ) -> Metric:
        """Return a histogram, with its examples as exemplars."""
        family = HistogramMetricFamily(name, what, labels=["app", *labels])
        for given, histogram in values.items():
            below, examples = 0, histogram.look()
            buckets: list[tuple[str, float] | tuple[str, float, Exemplar]] = []
            bounds = [*map(str, histogram.bounds), "+Inf"]
            for number, count in enumerate(list(histogram.counts)):
                below += count
                example = examples.get(number)
                exemplar = None if example is None else self._exemplar(example)
                bucket = (bounds[number], below)
                buckets.append(bucket if exemplar is None else (*bucket, exemplar))
            family.add_metric([self._app, *given], buckets, histogram.sum)
        return family

    def _exemplar(self, example: Example) -> Exemplar | None:
        value, at, request_id, trace_id = example
        labels: dict[str, str] = {}
        for name, given in (("trace_id", trace_id), ("request_id", request_id)):
            taken = sum(len(one) + len(other) for one, other in labels.items())
            if given and taken + len(name) + len(given) <= LONGEST_EXEMPLAR:
                labels[name] = given
        return Exemplar(labels, value, round(self._now + at, 3)) if labels else None
