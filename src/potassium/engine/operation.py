"""What jobs of one kind do."""

from collections.abc import Callable
from typing import Any

from potassium.engine.batching import Batching
from potassium.engine.service_time import ServiceTime

__all__ = ["Operation"]


class Operation:
    """What jobs of one kind do: a function of the job, and how long it takes.

    Attributes:
        name: what log lines and the status page call it.
        run: called with the job; its result is the job's outcome, ``Steps`` open a stream. A
            coroutine function where ``concurrency`` is given, a plain one otherwise. Of a batched
            operation it is called with a list of jobs, and yields pairs of an index and the
            outcome of that one.
        concurrency: None for work of the GPU thread; otherwise how many of these run on the
            event loop at a time.
        streams: how many streams of it may be open on the GPU thread at a time.
        may_stream: whether calls of it are known to open streams.
        open_streams: those that take turns now, or wait for a turn; the GPU thread counts.
        batching: how its jobs become batches; None where they run one by one.
        prepare: called with the job in a thread of the side pool, before the job is queued;
            returns the job's new argument. None for no such step.
        cost: called likewise, after that; returns what the job adds to the cost of its batch.
        finish: called with the job and what ``run`` returned, in a thread of the side pool;
            returns the outcome.
        service_time: measured while running.

    """

    __slots__ = (
        "batching",
        "concurrency",
        "cost",
        "finish",
        "may_stream",
        "name",
        "open_streams",
        "prepare",
        "run",
        "service_time",
        "streams",
    )

    def __init__(  # noqa: PLR0913 - a record of what a handler's options come to
        self,
        name: str,
        run: Callable[[Any], Any],
        *,
        concurrency: int | None = None,
        streams: int = 1,
        may_stream: bool = False,
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
        self.open_streams = 0
        self.batching = batching
        self.prepare = prepare
        self.cost = cost
        self.finish = finish
        self.service_time = ServiceTime()

    @property
    def is_prepared(self) -> bool:
        """Whether its jobs go through the side pool before they are queued."""
        return self.prepare is not None or self.cost is not None
