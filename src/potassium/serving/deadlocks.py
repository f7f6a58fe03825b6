"""Refuses calls from inside handlers that would wait for themselves."""

from collections.abc import Callable

from potassium.engine import Job, Operation
from potassium.errors import UsageError
from potassium.handlers.in_process import InProcess

__all__ = ["check_no_deadlock", "check_not_init"]


def check_no_deadlock(
    target: Operation,
    caller: Job | None,
    is_running: Callable[[Job], bool],
    *,
    uses_pool: bool,
) -> None:
    """Check that a call of ``target`` does not wait for what its callers occupy.

    These are ``caller``, the job that the call comes from, the job that called that one, and so on.
    ``is_running`` returns whether a GPU thread is running a job; ``uses_pool`` is whether the
    target has a step before or after it.

    Raises:
        UsageError: the GPU thread, all places of an ``async def`` handler, or a thread of the pool
            would wait for the call, and the call for them.

    """
    taken = 0
    while caller is not None:
        operation = caller.operation
        if caller.in_pool and uses_pool:
            raise UsageError(
                f"{target.name} was called from a prepare= or finish= step, which waits on a "
                "thread of the pool that the call needs; call it from an async def handler."
            )
        if target.concurrency is None and is_running(caller):
            raise UsageError(
                f"{target.name} was called from {operation.name}, which waits on the GPU thread "
                "that the call needs; call the function itself, or call both from an async def "
                "handler."
            )
        taken += operation is target
        if target.concurrency is not None and taken >= target.concurrency:
            raise UsageError(
                f"{target.name} calls itself, and waits in all the places that it has; give it "
                f"concurrency={taken + 1} or more."
            )
        origin = caller.origin
        caller = origin.caller if isinstance(origin, InProcess) else None


def check_not_init(init: Operation, caller: Job | None) -> None:
    """Check that ``caller``, the job that makes a call, is not that of ``init``, or of a warm-up.

    Raises:
        UsageError: it is.

    """
    if caller is not None and caller.is_rehearsal and not caller.is_over:
        raise UsageError(
            f"{caller.operation.name} calls another handler, but no calls are served during its "
            "warm-up: give that handler the warmup=, and leave this one without."
        )
    if caller is not None and caller.operation is init and not caller.is_over:
        raise UsageError("init cannot call a handler, which runs once init is done.")
