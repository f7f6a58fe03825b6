"""Shows the figures of handlers' calls."""

from collections.abc import Iterator, Mapping
from itertools import chain

from prometheus_client.metrics_core import Metric

from potassium.observe.metrics.handler import HandlerMetrics
from potassium.observe.metrics.histogram import Histogram
from potassium.observe.metrics.shown import Shown

__all__ = ["handler_families"]


def handler_families(handlers: Mapping[str, HandlerMetrics], shown: Shown) -> Iterator[Metric]:
    """Yield what there is to show of calls, phases, streams and batches; on any thread."""
    of = {(name,): figures for name, figures in dict(handlers).items()}
    outcomes: dict[tuple[str, ...], float] = {}
    for (name,), figures in of.items():
        outcomes[name, "succeeded"] = figures.succeeded
        outcomes |= {(name, outcome): count for outcome, count in dict(figures.outcomes).items()}
    yield shown.counter(
        "potassium_calls_total",
        "Calls of handlers, over HTTP or from the same process, by what became of them.",
        outcomes,
        *("handler", "outcome"),
    )
    yield shown.histogram(
        "potassium_queue_duration_seconds",
        "Seconds that calls waited for the GPU thread, or for a place in their lane.",
        {key: figures.queue for key, figures in of.items()},
        "handler",
    )
    yield shown.histogram(
        "potassium_run_duration_seconds",
        "Seconds that calls ran, without the turns of others; in a batch, those of the batch.",
        {key: figures.run for key, figures in of.items()},
        "handler",
    )
    yield shown.histogram(
        "potassium_prepare_duration_seconds",
        "Seconds that calls were prepared, off the GPU thread.",
        _used({key: figures.prepare for key, figures in of.items()}),
        "handler",
    )
    yield shown.histogram(
        "potassium_finish_duration_seconds",
        "Seconds that results were finished and encoded, off the GPU thread.",
        _used({key: figures.finish for key, figures in of.items()}),
        "handler",
    )
    yield shown.counter(
        "potassium_wasted_gpu_seconds_total",
        "Seconds of the GPU thread spent on results that nobody took.",
        {key: figures.wasted for key, figures in of.items()},
        "handler",
    )
    yield from chain(_streams(of, shown), _batches(of, shown))


def _streams(of: Mapping[tuple[str], HandlerMetrics], shown: Shown) -> Iterator[Metric]:
    yield shown.gauge(
        "potassium_streams_open",
        "Streams that have begun and have not ended.",
        {key: len(figures.streams) for key, figures in of.items()},
        "handler",
    )
    yield shown.histogram(
        "potassium_stream_first_chunk_seconds",
        "Seconds from the admission of a call that streams to its first chunk.",
        _used({key: figures.first_chunk for key, figures in of.items()}),
        "handler",
    )
    yield shown.counter(
        "potassium_stream_chunks_total",
        "Chunks that the readers of streams have taken.",
        {key: figures.chunks for key, figures in of.items()},
        "handler",
    )
    yield shown.counter(
        "potassium_stream_stalls_total",
        "Times that a stream gave up its turns on the GPU thread, as its client did not read.",
        {key: figures.stalls for key, figures in of.items()},
        "handler",
    )


def _batches(of: Mapping[tuple[str], HandlerMetrics], shown: Shown) -> Iterator[Metric]:
    batches = {key: one.batches for key, one in of.items() if one.batches is not None}
    yield shown.histogram(
        "potassium_batch_size",
        "Items in a batch.",
        {key: one.size for key, one in batches.items()},
        "handler",
    )
    yield shown.histogram(
        "potassium_batch_cost",
        "Sum of the costs of a batch's items, in the unit of Batch(cost=).",
        {key: one.cost for key, one in batches.items() if one.cost is not None},
        "handler",
    )
    yield shown.histogram(
        "potassium_batch_padding_ratio",
        "Share of a batch that is padding, if each item takes as much as the costliest.",
        {key: one.padding for key, one in batches.items() if one.padding is not None},
        "handler",
    )


def _used(histograms: Mapping[tuple[str], Histogram]) -> Mapping[tuple[str, ...], Histogram]:
    """Return those that have counted anything: most handlers have no such phase."""
    return {key: one for key, one in histograms.items() if any(one.counts)}
