"""What becomes of the jobs of the engine, counted for metrics."""

from collections import Counter, defaultdict
from collections.abc import Sequence

from potassium.engine import End, Job, Operation
from potassium.errors import PotassiumError
from potassium.observe.metrics.histogram import Histogram

__all__ = ["CallMetrics"]


class HandlerMetrics:
    """The figures of one handler."""

    __slots__ = ("queue", "run")

    def __init__(self) -> None:
        self.queue = Histogram()
        self.run = Histogram()


class CallMetrics:
    """Counts what the engine reports. Belongs to the event loop.

    Attributes:
        refusals: calls that were not admitted, by handler and code.
        ended: calls by handler and how they ended.
        handlers: the figures of each handler, by name.

    """

    def __init__(self) -> None:
        self.refusals: Counter[tuple[str, str]] = Counter()
        self.ended: Counter[tuple[str, End]] = Counter()
        self.handlers: defaultdict[str, HandlerMetrics] = defaultdict(HandlerMetrics)

    def refused(self, operation: Operation, error: PotassiumError) -> None:
        """Count a call that is not admitted."""
        self.refusals[operation.name, error.code] += 1

    def streams(self, job: Job) -> None:
        """Count a stream that begins."""

    def ran(self, jobs: Sequence[Job]) -> None:
        """Count jobs that have run."""
        for job in jobs:
            began = job.began_at
            if began is not None and job.ended_at is not None:
                figures = self.handlers[job.operation.name]
                figures.queue.add(began - job.queued_at)
                figures.run.add(job.ended_at - began)

    def closed(self, job: Job, end: End) -> None:
        """Count a call that has ended."""
        self.ended[job.operation.name, end] += 1

    def begin_batch(self, jobs: Sequence[Job]) -> None:
        """Do nothing: a batch is counted when it has run."""
