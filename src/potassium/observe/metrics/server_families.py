"""Shows the state of a server: readiness, queues, the GPU thread."""

from collections.abc import Iterator

from prometheus_client.metrics_core import Metric

from potassium.engine import Activity, Engine, State
from potassium.observe.metrics.shown import Shown
from potassium.observe.metrics.source import Source

__all__ = ["ServerFamilies"]

GPU = "gpu"  # the queue of the GPU thread; others have the path of their handler


class ServerFamilies:
    """Reads the state of an app when it is scraped."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def families(self, shown: Shown) -> Iterator[Metric]:
        """Yield what there is to show; call this on the event loop."""
        source = self._source
        state, beat = source.lifecycle.state, source.heartbeat()
        yield shown.gauge(
            "potassium_ready",
            "1 if a call would be admitted now, as /readyz says; otherwise 0.",
            {(): source.unready() is None},
        )
        yield shown.gauge(
            "potassium_state",
            "1 for the state that the server is in, 0 for all others.",
            {(one.value,): one is state for one in State},
            "state",
        )
        yield shown.gauge(
            "potassium_activity",
            "1 for what the threads that run handlers are doing, 0 for all others.",
            {(one.value,): one is beat.activity for one in Activity},
            "activity",
        )
        yield shown.gauge(
            "potassium_last_progress_seconds",
            "Seconds for which the step under way has made no progress; 0 while nothing is due.",
            {(): beat.last_progress_seconds},
        )
        yield shown.gauge(
            "potassium_startup_seconds",
            "Seconds that each phase of the last start took.",
            {(phase,): seconds for phase, seconds in source.startup_seconds().items()},
            "phase",
        )
        if source.services is not None:
            yield from self._of_engine(source.services.engine, shown)

    def _of_engine(self, engine: Engine, shown: Shown) -> Iterator[Metric]:
        counts = engine.calls.counts
        closed = counts.succeeded + counts.failed + counts.cancelled
        yield shown.gauge(
            "potassium_calls_in_flight",
            "Calls that were admitted and whose callers still wait.",
            {(): counts.admitted - closed},
        )
        yield shown.counter(
            "potassium_gpu_thread_busy_seconds_total",
            "Seconds that the GPU thread was busy; its rate is the busy share.",
            {(): engine.pulse.busy_seconds()},
        )
        queues = {(GPU,): engine.capacity}
        queues |= {(one.name,): lane.jobs.capacity for one, lane in engine.lanes.items()}
        yield shown.gauge(
            "potassium_queue_length",
            "Calls that wait in a queue: that of the GPU thread (gpu), or of an async handler.",
            {key: capacity.waiting for key, capacity in queues.items()},
            "queue",
        )
        yield shown.gauge(
            "potassium_queue_limit",
            "Calls that may wait in a queue; more are refused.",
            {key: capacity.limit for key, capacity in queues.items()},
            "queue",
        )
        yield shown.gauge(
            "potassium_queue_estimated_wait_seconds",
            "Seconds that a new call is expected to wait; Retry-After is made of this.",
            {(one.name,): engine.estimated_wait(one) for one in self._source.operations()},
            "handler",
        )
