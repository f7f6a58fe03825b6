"""One unit of work."""

import asyncio
import enum
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from potassium.engine.failure import Failure
from potassium.engine.operation import Operation
from potassium.errors import PotassiumError

if TYPE_CHECKING:
    from potassium.engine.stream import Stream

__all__ = ["Job", "Priority"]


class Priority(enum.IntEnum):
    """How urgent a job is, where the queue goes by that."""

    LOW = 0
    NORMAL = 1
    HIGH = 2


class Job:
    """One call of an operation, from admission to outcome.

    Its way: prepared in the side pool where its operation asks for that, queued, handed to a
    runner, then settled, or streaming until its stream is over. Calling it off ends it anywhere on
    that way. All but ``argument``, ``outcome``, ``cost`` and ``stream`` belongs to the event loop;
    those are written by the thread that is at the job.

    Attributes:
        argument: what its operation works on; once it is prepared, what that has made of it.
        origin: what it was admitted for, as its operation knows it; nothing to the engine.
        open_stream: opens its stream for the code that it runs; None where that cannot stream by
            itself. Raises UsageError where the GPU thread is not at this job.
        deadline: monotonic seconds after which nobody wants the result; None for never.
        called_off: why nobody wants the result any more, from whichever side: the client has
            left, the deadline has passed, the drain is over. None while somebody does.
        has_place: whether it counts as waiting, see ``Capacity``.
        is_queued: whether it waits in the queue.
        in_pool: whether it is being prepared or finished, or waits for that.
        rank: its place in the order of the queue; the lower, the earlier.
        arrived_at: when it was queued, in monotonic seconds; of a batched operation.
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
    is_queued = False
    in_pool = False
    rank: float = 0
    arrived_at = 0.0
    cost: float = 1
    stream: "Stream[Job] | None" = None
    is_background = False
    interrupt: Callable[[], object] | None = None

    def __init__(  # noqa: PLR0913, PLR0917 - a record, built for every call
        self,
        operation: Operation,
        argument: Any,
        future: asyncio.Future[Any],
        deadline: float | None = None,
        priority: Priority = Priority.NORMAL,
        origin: Any = None,
        open_stream: "Callable[[Job], Stream[Job]] | None" = None,
    ) -> None:
        """Describe the job; ``future`` is done when it is settled."""
        self.operation = operation
        self.argument = argument
        self.future = future
        self.deadline = deadline
        self.priority = priority
        self.origin = origin
        self.open_stream = open_stream

    def is_unwanted(self, now: float) -> bool:
        """Return whether there is no use in running the job at ``now``, in monotonic seconds."""
        return self.called_off is not None or (self.deadline is not None and now >= self.deadline)

    @property
    def is_over(self) -> bool:
        """Whether its caller has all that there is to come."""
        return self.future.done() and (self.stream is None or self.stream.is_over)

    def drop_input(self) -> None:
        """Let go of what it was to run with: it never will, and may be kept in line for long."""
        self.argument = self.origin = None

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
