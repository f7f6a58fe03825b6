"""Shows the figures of worker processes; imported only for apps that have them."""

from collections.abc import Iterator, Mapping, Sequence

from prometheus_client.metrics_core import Metric

from potassium.engine import WorkerReport
from potassium.observe.metrics.shown import Shown

__all__ = ["worker_families"]


def worker_families(workers: Sequence[WorkerReport], shown: Shown) -> Iterator[Metric]:
    """Yield what there is to show of each worker, by its name; on any thread."""
    yield from _processes(workers, shown)
    yield from _work({(one.name,): one for one in workers}, shown)


def _processes(workers: Sequence[WorkerReport], shown: Shown) -> Iterator[Metric]:
    yield shown.gauge(
        "potassium_worker_state",
        "1 for the state that a device and its worker process are in, 0 for all others.",
        {(one.name, state): state == one.state for one in workers for state in one.states},
        *("worker", "state"),
    )
    yield shown.counter(
        "potassium_worker_ends_total",
        "Worker processes that have ended and were not to, by why.",
        {(one.name, why): count for one in workers for why, count in one.ends.items()},
        *("worker", "reason"),
    )
    yield shown.gauge(
        "potassium_worker_load_seconds",
        "Seconds that the last worker process of a device took to load.",
        {(one.name,): one.load_seconds for one in workers if one.load_seconds is not None},
        "worker",
    )
    yield shown.gauge(
        "potassium_worker_resident_memory_bytes",
        "Resident memory of a worker process, with what it shares.",
        {(one.name,): one.memory for one in workers if one.memory is not None},
        "worker",
    )


def _work(of: Mapping[tuple[str], WorkerReport], shown: Shown) -> Iterator[Metric]:
    yield shown.counter(
        "potassium_worker_busy_seconds_total",
        "Seconds that the model of a worker was in use; its rate is the busy share.",
        {key: one.busy_seconds for key, one in of.items()},
        "worker",
    )
    yield shown.counter(
        "potassium_worker_calls_total",
        "Calls that have ended in a worker; those that it took along when it died do not count.",
        {key: one.finished for key, one in of.items()},
        "worker",
    )
    yield shown.gauge(
        "potassium_worker_streams_open",
        "Streams that are open in a worker.",
        {key: one.open_streams for key, one in of.items()},
        "worker",
    )
    yield shown.gauge(
        "potassium_worker_last_progress_seconds",
        "Seconds for which what a worker runs has made no progress; 0 while nothing is due.",
        {key: one.last_progress_seconds for key, one in of.items()},
        "worker",
    )
