"""One unit of work, and what it does."""

import asyncio
import enum
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from potassium.config import Batch
from potassium.engine.batching import Batching
from potassium.engine.failure import Failure
from potassium.engine.service_time import ServiceTime
from potassium.errors import PotassiumError

if TYPE_CHECKING:
    from potassium.engine.stream import Stream

__all__ = ["Job", "Operation", "Priority"]


class Priority(enum.IntEnum):
    """How urgent a job is, where the queue goes by that."""

    LOW = 0
    NORMAL = 1
    HIGH = 2


class Operation:
    """What jobs of one kind do: a function of one argument, and how long it takes.

    Attributes:
        name: what log lines and the status page call it.
        run: called with the job's argument; its result is the job's outcome, ``Steps`` open a
            stream. A coroutine function where ``concurrency`` is given, a plain one otherwise.
            Of a batched operation it is called with a list of arguments, and yields pairs of an
            index and the outcome of that one.
        concurrency: None for work of the GPU thread; otherwise how many of these run on the
            event loop at a time.
        streams: how many streams of it may be open on the GPU thread at a time.
        may_stream: whether calls of it are known to open streams.
        open_streams: those that take turns now, or wait for a turn; the GPU thread counts.
        batching: how its jobs become batches; None where they run one by one.
        prepare: makes the argument of ``run`` out of that of the job, in a thread of the pool,
            before the job waits in line; None for no such step.
        is_prepared: whether its jobs go through the pool before they wait in line.
        open_stream: opens the stream of a job that the thread is at; for that job's own code.
        finish: makes the outcome out of what ``run`` returned, in a thread of the pool.
        service_time: measured while running.

    """

    __slots__ = (
        "batching",
        "concurrency",
        "finish",
        "is_prepared",
        "may_stream",
        "name",
        "open_stream",
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
        batch: Batch | None = None,
        prepare: Callable[[Any], Any] | None = None,
        finish: Callable[[Any], Any] | None = None,
    ) -> None:
        """Describe the operation; nothing runs yet."""
        self.name = name
        self.run = run
        self.concurrency = concurrency
        self.streams = streams
        self.may_stream = may_stream
        self.open_streams = 0
        self.batching = None if batch is None else Batching(batch)
        self.prepare = prepare
        self.finish = finish
        self.is_prepared = prepare is not None or (batch is not None and batch.cost is not None)
        self.open_stream: Callable[[Job], Stream] | None = None
        self.service_time = ServiceTime()


class Job:
    """One call of an operation, from admission to outcome.

    Its way: prepared in the pool where its operation asks for that, in line, handed to a runner,
    then settled, or streaming until its stream is over. Calling it off ends it anywhere on that
    way. All but ``argument``, ``outcome``, ``cost`` and ``stream`` belongs to the event loop;
    those are written by the thread that is at the job.

    Attributes:
        deadline: monotonic seconds after which nobody wants the result; None for never.
        called_off: why nobody wants the result any more, from whichever side: the client has
            left, the deadline has passed, the drain is over. None while somebody does.
        has_place: whether it counts as waiting, see ``Capacity``.
        in_line: whether it stands in the queue.
        in_pool: whether it is being prepared or finished, or waits for that.
        rank: its place in the order of the queue; the lower, the earlier.
        arrived_at: when it came to stand in line, in monotonic seconds; of a batched operation.
        cost: what it adds to the cost of a batch, where its operation is batched by cost.
        stream: what it sends piece by piece, from when it first did.
        is_background: whether it can be run again by another process, if this one stops.
        interrupt: makes the runner notice that the job was called off, where it has to be told.

    """

    # Defaults stand here and not in __init__, which runs for every call.
    timer: asyncio.TimerHandle | None = None
    outcome: Any = None
    called_off: PotassiumError | None = None
    has_place = False
    in_line = False
    in_pool = False
    rank: float = 0
    arrived_at = 0.0
    cost: float = 1
    stream: "Stream | None" = None
    is_background = False
    interrupt: Callable[[], object] | None = None

    def __init__(
        self,
        operation: Operation,
        argument: Any,
        future: asyncio.Future[Any],
        deadline: float | None = None,
        priority: Priority = Priority.NORMAL,
    ) -> None:
        """Bind ``operation`` to its ``argument``; ``future`` is done when the job is settled."""
        self.operation = operation
        self.argument = argument
        self.future = future
        self.deadline = deadline
        self.priority = priority

    def is_unwanted(self, now: float) -> bool:
        """Return whether there is no use in running the job at ``now``, in monotonic seconds."""
        return self.called_off is not None or (self.deadline is not None and now >= self.deadline)

    @property
    def is_over(self) -> bool:
        """Whether its caller has all that there is to come."""
        return self.future.done() and (self.stream is None or self.stream.is_over)

    def settle(self) -> None:
        """Give the job its outcome; counts only where it has none yet."""
        outcome, self.outcome = self.outcome, None
        if not self.future.done():
            self.future.set_result(outcome)

    def call_off(self, error: PotassiumError) -> None:
        """Settle the job with ``error`` now; unless it runs already, it never will.

        Counts only where the job has no outcome yet, or its stream goes on.
        """
        if self.called_off is None:
            self.called_off = error
        if not self.future.done():
            self.future.set_result(Failure(error))
        if self.stream is not None:
            self.stream.wake()
        if self.interrupt is not None:
            self.interrupt()
