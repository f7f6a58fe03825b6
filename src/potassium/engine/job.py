"""One unit of work, and what it does."""

import asyncio
import enum
import inspect
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from potassium.engine.service_time import ServiceTime
from potassium.errors import HandlerError, PotassiumError, UsageError

__all__ = ["Failure", "Job", "Operation", "Priority"]


SUSPENDABLE = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR


class Priority(enum.IntEnum):
    """How urgent a job is, where the queue goes by that."""

    LOW = 0
    NORMAL = 1
    HIGH = 2


class Operation:
    """What jobs of one kind do: a function of one argument, and how long it takes.

    Attributes:
        name: what log lines and the status page call it.
        run: called with the job's argument; its result is the job's outcome. A coroutine
            function where ``concurrency`` is given, a plain one otherwise.
        concurrency: None for work of the GPU thread; otherwise how many of these run on the
            event loop at a time.
        service_time: measured while running.

    """

    __slots__ = ("concurrency", "name", "run", "service_time")

    def __init__(
        self, name: str, run: Callable[[Any], Any], *, concurrency: int | None = None
    ) -> None:
        """Describe the operation; nothing runs yet."""
        self.name = name
        self.run = run
        self.concurrency = concurrency
        self.service_time = ServiceTime()


class Failure:
    """The outcome of a job whose operation raised, of whatever class.

    It travels as a value: an asyncio future takes neither ``StopIteration`` nor, without
    tearing down the loop, ``SystemExit`` and ``KeyboardInterrupt``.
    """

    __slots__ = ("error",)

    def __init__(self, error: BaseException) -> None:
        """Keep ``error``, and let go of what its stack frames hold.

        The locals of a failed handler may be gigabytes of tensors; the traceback keeps its
        lines without them.
        """
        _release(error)
        self.error = error

    def to_raise(self) -> PotassiumError:
        """Return the error as one that may be raised on the event loop.

        Errors of this package's are meant for the caller, and stay what they are; anything else
        is the cause of a ``HandlerError``.
        """
        if isinstance(self.error, PotassiumError) and not isinstance(self.error, UsageError):
            return self.error
        error = HandlerError("The handler raised an exception.")
        error.__cause__ = self.error
        return error


def _release(error: BaseException) -> None:
    """Clear the frames that an error, and those behind it, went through."""
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        for frame, _ in traceback.walk_tb(one.__traceback__):
            # A generator may be suspended, to go on later; clearing would close it.
            if not frame.f_code.co_flags & SUSPENDABLE:
                with suppress(RuntimeError):  # it is still running
                    frame.clear()
        one = one.__cause__ or one.__context__


class Job:
    """One call of an operation, from admission to outcome.

    Admitted, handed to a runner, settled: the queue, the runner and ``settle`` own one step
    each. All but ``outcome`` belongs to the event loop; ``outcome`` is written once by the
    runner before it reports the job.

    Attributes:
        deadline: monotonic seconds after which nobody wants the result; None for never.
        called_off: why nobody wants the result any more, from whichever side: the client has
            left, the deadline has passed, the drain is over. None while somebody does.

    """

    __slots__ = (
        "argument",
        "called_off",
        "deadline",
        "future",
        "operation",
        "outcome",
        "priority",
        "timer",
    )

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
        self.timer: asyncio.TimerHandle | None = None
        self.outcome: Any = None
        self.called_off: PotassiumError | None = None

    def is_unwanted(self, now: float) -> bool:
        """Return whether there is no use in running the job at ``now``, in monotonic seconds."""
        return self.called_off is not None or (self.deadline is not None and now >= self.deadline)

    def settle(self) -> None:
        """Give the job its outcome; counts only where it has none yet."""
        outcome, self.outcome = self.outcome, None
        if not self.future.done():
            self.future.set_result(outcome)

    def call_off(self, error: PotassiumError) -> None:
        """Settle the job with ``error`` now; unless it runs already, it never will.

        Counts only where the job has no outcome yet.
        """
        if self.called_off is None:
            self.called_off = error
        if not self.future.done():
            self.future.set_result(Failure(error))
