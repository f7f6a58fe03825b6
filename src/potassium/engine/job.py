"""One unit of work."""

import asyncio
import enum
from collections.abc import Callable, Hashable
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any

from potassium.engine.failure import Failure
from potassium.engine.operation import Operation
from potassium.errors import PotassiumError

if TYPE_CHECKING:
    from potassium.engine.stream import Stream

__all__ = ["Job", "Priority"]


class Priority(enum.IntEnum):
    """How urgent a job is, if the queue has priorities.

    Attributes:
        LOW: may be overtaken by normal and high jobs. Background jobs are low in any queue.
        NORMAL: may be overtaken by high jobs; the default.
        HIGH: is never overtaken by later jobs.

    """

    LOW = 0
    NORMAL = 1
    HIGH = 2


class Job:
    """One call of an operation, from admission to outcome.

    It is prepared in the side pool if its operation requires that, queued, handed to a runner,
    then settled, or it streams until its stream is over. Calling it off ends it at any stage. The
    thread that runs a step of the job writes ``argument``, ``outcome``, ``cost``, ``stream`` and
    the times of the step; everything else belongs to the event loop. Times are in monotonic
    seconds.

    Attributes:
        argument: what its operation works on; after preparation, what that returned.
        origin: what it was admitted for; known to its operation, opaque to the engine.
        context: the context variables of whoever admitted it; its operation runs with them, except
            as part of a batch.
        open_stream: opens its stream, for the code that it runs; None if that cannot push chunks
            itself. Raises UsageError unless the GPU thread is running this job.
        client: who sent it, for a fair share of the queue; None if shares do not matter.
        deadline: monotonic seconds after which nobody wants the result; None for never.
        called_off: why nobody wants the result any more, on whichever side: the client has left,
            the deadline has passed, or the drain is over. None while somebody does.
        has_place: whether it counts as waiting, see ``Capacity``.
        is_queued: whether it waits in the queue.
        in_pool: whether it is being prepared or finished, or waits for that.
        rank: its position in the order of the queue; lower ranks go first.
        arrived_at: when it was queued, if its operation is batched.
        admitted_at: when it was admitted.
        preparation: when its preparation began and ended; None if it has none, or none so far.
        began_at: when it began to run; None until then.
        ended_at: when it ended running, or its last step; None until then.
        batch_size: how many jobs ran in the same call, itself included.
        finishing: when finishing its result began and ended; None if that is not needed, or not
            done so far.
        cost: what it adds to the cost of a batch, if its operation is batched by cost.
        stream: the chunks that it sends; None until it begins to stream.
        is_background: whether another process can run it again if this one stops. It is overtaken
            by direct calls, up to a point, and takes none of their places.
        is_rehearsal: whether it is no call: nobody has admitted it, as none are admitted so far.
        deaths: how many worker processes have died while they prepared it.
        interrupt: makes the runner notice that the job was called off; None if not needed.

    """

    # Defaults are set here and not in __init__, which runs for every call.
    client: Hashable | None = None
    timer: asyncio.TimerHandle | None = None
    outcome: Any = None
    called_off: PotassiumError | None = None
    has_place = False
    is_queued = False
    in_pool = False
    rank: float = 0
    arrived_at = 0.0
    admitted_at = 0.0
    preparation: tuple[float, float] | None = None
    began_at: float | None = None
    ended_at: float | None = None
    batch_size = 1
    finishing: tuple[float, float] | None = None
    cost: float = 1
    stream: "Stream[Job] | None" = None
    is_background = False
    is_rehearsal = False
    deaths = 0
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
        context: Context | None = None,
    ) -> None:
        """Describe the job; ``future`` is done once the job is settled."""
        self.operation = operation
        self.argument = argument
        self.future = future
        self.deadline = deadline
        self.priority = priority
        self.origin = origin
        self.open_stream = open_stream
        self.context = copy_context() if context is None else context

    def is_unwanted(self, now: float) -> bool:
        """Return whether running the job is pointless at ``now``, in monotonic seconds."""
        return self.called_off is not None or (self.deadline is not None and now >= self.deadline)

    @property
    def queued_at(self) -> float:
        """When it began to wait for its runner."""
        return self.admitted_at if self.preparation is None else self.preparation[1]

    @property
    def run_time(self) -> float | None:
        """The seconds for which it has run, without waiting for its turns; None until it ends."""
        if self.began_at is None or self.ended_at is None:
            return None
        if self.stream is not None and self.stream.spent:
            return self.stream.spent
        return self.ended_at - self.began_at

    @property
    def is_over(self) -> bool:
        """Whether its caller has everything that it will get."""
        return self.future.done() and (self.stream is None or self.stream.is_over)

    def drop_input(self) -> None:
        """Let go of what the job runs with, which may be large, once nothing will use it."""
        self.argument = self.origin = None

    def settle(self) -> None:
        """Give the job its outcome, unless it has one already. Nothing runs for it any more."""
        outcome, self.outcome = self.outcome, None
        self.drop_input()
        if not self.future.done():
            self.future.set_result(outcome)

    def call_off(self, error: PotassiumError) -> None:
        """Settle the job with ``error`` now; unless it is already running, it never will.

        Has an effect only if the job has no outcome so far, or its stream is not over.
        """
        if self.called_off is None:
            self.called_off = error
        if not self.future.done():
            self.future.set_result(Failure(error))
        if self.stream is not None:
            self.stream.wake()
        if self.interrupt is not None:
            self.interrupt()
