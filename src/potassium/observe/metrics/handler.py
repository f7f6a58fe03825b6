"""The figures of one handler's calls."""

from collections import Counter
from collections.abc import Sequence
from weakref import WeakSet

from potassium.engine import Job
from potassium.observe.metrics.histogram import Histogram

__all__ = ["BatchMetrics", "HandlerMetrics"]

SIZES = tuple(2.0**power for power in range(11))  # items: 1 to 1024
COSTS = tuple(4.0**power for power in range(13))  # in the unit of Batch(cost=): 1 to 16 million
SHARES = (0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0)


class BatchMetrics:
    """The batches of one handler. Belongs to the GPU thread; may be read from any.

    Attributes:
        size: how many items they had.
        cost: the sum of the items' costs; None if the handler's batches are not by cost.
        padding: the share of each that is padding, where all items take as much as the costliest:
            ``1 - sum(costs) / (size * max(costs))``; None as above.

    """

    __slots__ = ("cost", "padding", "size")

    def __init__(self, *, by_cost: bool) -> None:
        self.size = Histogram(SIZES)
        self.cost = Histogram(COSTS) if by_cost else None
        self.padding = Histogram(SHARES) if by_cost else None

    def add(self, costs: Sequence[float]) -> None:
        """Count a batch of items with these costs."""
        self.size.add(len(costs))
        if self.cost is not None and self.padding is not None:
            total, room = sum(costs), len(costs) * max(costs)
            self.cost.add(total)
            self.padding.add(1 - total / room if room else 0.0)


class HandlerMetrics:
    """The calls of one handler, and their phases in seconds.

    Attributes:
        succeeded: calls whose callers have the result.
        outcomes: all others, by what became of them.
        queue: for how long calls waited for their runner.
        run: for how long they ran.
        prepare: for how long they were prepared.
        finish: for how long their results were finished.
        first_chunk: from the admission of a call that streams to its first chunk.
        streams: those that are open.
        wasted: seconds of the GPU thread spent on results that nobody took.
        batches: the batches of its calls; None if they are not batched.

    """

    __slots__ = (
        "_chunks",
        "_in_vain",
        "_most_chunks",
        "_most_stalls",
        "_stalls",
        "batches",
        "finish",
        "first_chunk",
        "outcomes",
        "prepare",
        "queue",
        "run",
        "streams",
        "succeeded",
        "wasted",
    )

    def __init__(self) -> None:
        self.succeeded = 0
        self.outcomes: Counter[str] = Counter()
        self.queue = Histogram()
        self.run = Histogram()
        self.prepare = Histogram()
        self.finish = Histogram()
        self.first_chunk = Histogram()
        self.streams: set[Job] = set()
        self._chunks = self._stalls = 0  # of those that have ended
        # What was shown: on another thread, a look may miss a stream that ends at that moment.
        self._most_chunks = self._most_stalls = 0
        self.wasted = 0.0
        self._in_vain: WeakSet[Job] = WeakSet()  # of which that is the time
        self.batches: BatchMetrics | None = None

    @property
    def chunks(self) -> int:
        """How many chunks of streams their readers have taken."""
        ended = self._chunks  # first: one that ends meanwhile is not in both sums
        open_now = sum(job.stream.chunks for job in list(self.streams) if job.stream)
        self._most_chunks = max(self._most_chunks, ended + open_now)
        return self._most_chunks

    @property
    def stalls(self) -> int:
        """How often a stream gave up its turns, because its reader did not keep up."""
        ended = self._stalls  # first: one that ends meanwhile is not in both sums
        open_now = sum(job.stream.stalls for job in list(self.streams) if job.stream)
        self._most_stalls = max(self._most_stalls, ended + open_now)
        return self._most_stalls

    def end_stream(self, job: Job) -> None:
        """Count a stream that is closed."""
        self.streams.discard(job)
        if job.stream is not None:
            self._chunks += job.stream.chunks
            self._stalls += job.stream.stalls

    def note_waste(self, job: Job) -> None:
        """Count the time of a call that was called off, once, unless some of it was taken."""
        on_thread = job.operation.concurrency is None
        if on_thread and job not in self._in_vain and (job.stream is None or not job.stream.chunks):
            self._in_vain.add(job)
            self.wasted += (job.run_time or 0.0) / job.batch_size
