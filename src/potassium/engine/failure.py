"""The outcome of a job that raised."""

import inspect
import traceback
from contextlib import suppress
from dis import opmap
from types import FrameType

from potassium.errors import HandlerError, PotassiumError, UsageError

__all__ = ["Failure"]

SUSPENDABLE = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR


SUSPENDING = {opmap[name] for name in ("YIELD_VALUE", "RETURN_GENERATOR") if name in opmap}


class Failure:
    """The outcome of a job whose operation raised an exception of any class.

    It is passed on as a value: an asyncio future does not accept ``StopIteration``, and
    ``SystemExit`` and ``KeyboardInterrupt`` would tear down the loop.
    """

    __slots__ = ("error",)

    def __init__(self, error: BaseException) -> None:
        """Keep ``error``, but clear its stack frames.

        The locals of a failed handler may be gigabytes of tensors; the traceback keeps its
        lines without them.
        """
        _release(error)
        self.error = error

    def to_raise(self) -> PotassiumError:
        """Return the error as one that may be raised on the event loop.

        Errors of this package, except ``UsageError``, are meant for the caller and are returned
        as they are. Any other error becomes the ``__cause__`` of a ``HandlerError``.
        """
        if isinstance(self.error, PotassiumError) and not isinstance(self.error, UsageError):
            return self.error
        error = HandlerError("The handler raised an exception.")
        error.__cause__ = self.error
        return error


def _release(error: BaseException) -> None:
    """Clear the frames that an error, and the errors that led to it, went through."""
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        for frame, _ in traceback.walk_tb(one.__traceback__):
            if not _may_go_on(frame):
                with suppress(RuntimeError):  # it is still running
                    frame.clear()
        one = one.__cause__ or one.__context__


def _may_go_on(frame: FrameType) -> bool:
    """Return whether ``frame`` is of a generator or coroutine that may be suspended.

    Such a one may go on later; clearing its frame would close it. The instruction that it is at
    tells it from one that the error has ended.
    """
    code = frame.f_code
    return bool(code.co_flags & SUSPENDABLE) and code.co_code[frame.f_lasti] in SUSPENDING
