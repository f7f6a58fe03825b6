"""What jobs of one kind do."""

from collections.abc import Callable
from typing import Any, Final

from potassium.engine.batching import Batching
from potassium.engine.service_time import ServiceTime
from potassium.engine.shared_step import SharedStep

__all__ = ["UNBOUND", "Operation", "Unfinished"]

# Stands for the argument of a job whose runner makes it of the job's origin, before it is queued.
UNBOUND: Final = object()

# A stream whose reader does not keep up leaves its turns to another one, but keeps its memory. So
# it may be replaced, but the one that replaces it may not.
MOST_OPEN = 2  # times ``Operation.streams``


class Unfinished:
    """What ``Operation.run`` returns for a job whose outcome is to be made in the side pool.

    Attributes:
        finish: returns the outcome; called on a thread of the side pool.

    """

    __slots__ = ("finish",)

    def __init__(self, finish: Callable[[], Any]) -> None:
        self.finish = finish


class Operation:
    """What jobs of one kind do: the function that runs them, and how long it takes.

    Attributes:
        name: its name in log lines and on the status page.
        run: called with the job; returns the job's outcome, ``Unfinished`` to have that made in
            the side pool, or ``Steps`` to open a stream. A coroutine function if ``concurrency`` is
            given, a plain function otherwise. If the operation is batched, it is called with a list
            of jobs and yields pairs of a job's index and its outcome.
        concurrency: None for work of the GPU thread; otherwise how many of its jobs run on the
            event loop at a time.
        streams: how many of its streams may take turns on the GPU thread; twice as many may be
            open, if some have stalled.
        may_stream: whether its jobs are known to open streams.
        open_streams: how many of its streams are open on the GPU thread, which counts them.
        stalled_streams: how many of those take no turns, as their readers do not keep up.
        shared_step: what its streams do together; None if each makes its steps alone.
        parked_jobs: how many of its jobs wait on the GPU thread until they may open a stream.
        batching: how its jobs are batched; None if they run one by one.
        prepare: called with the job on a thread of the side pool, before the job is queued;
            returns the job's new argument. None to skip that step.
        cost: called with the job after ``prepare``, on the same thread; returns what the job adds
            to the cost of its batch. None to skip that step.
        finish: called with the job and what ``run`` returned, on a thread of the side pool;
            returns the outcome. None to skip that step.
        service_time: how long its jobs take, as measured.

    """

    __slots__ = (
        "batching",
        "concurrency",
        "cost",
        "finish",
        "may_stream",
        "name",
        "open_streams",
        "parked_jobs",
        "prepare",
        "run",
        "service_time",
        "shared_step",
        "stalled_streams",
        "streams",
    )

    def __init__(  # noqa: PLR0913 - a record of a handler's options
        self,
        name: str,
        run: Callable[[Any], Any],
        *,
        concurrency: int | None = None,
        streams: int = 1,
        may_stream: bool = False,
        shared_step: SharedStep | None = None,
        batching: Batching | None = None,
        prepare: Callable[[Any], Any] | None = None,
        cost: Callable[[Any], float] | None = None,
        finish: Callable[[Any, Any], Any] | None = None,
    ) -> None:
        self.name = name
        self.run = run
        self.concurrency = concurrency
        self.streams = streams
        self.may_stream = may_stream
        self.shared_step = shared_step
        self.forget_streams()
        self.batching = batching
        self.prepare = prepare
        self.cost = cost
        self.finish = finish
        self.service_time = ServiceTime()

    def forget_streams(self) -> None:
        """Begin to count streams, as none is open."""
        self.open_streams = self.stalled_streams = self.parked_jobs = 0

    @property
    def free_streams(self) -> int:
        """How many more of its streams may open now."""
        turns = self.open_streams - self.stalled_streams
        return min(self.streams - turns, MOST_OPEN * self.streams - self.open_streams)

    @property
    def is_prepared(self) -> bool:
        """Whether its jobs go through the side pool before they are queued."""
        return self.prepare is not None or self.cost is not None

    @property
    def uses_pool(self) -> bool:
        """Whether its jobs go through the side pool, before they are queued or after they run."""
        return self.is_prepared or self.finish is not None
