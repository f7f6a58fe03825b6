"""Refuses calls from inside handlers that would wait for themselves."""

from potassium.engine import Engine, Job, Operation
from potassium.errors import UsageError
from potassium.handlers.in_process import InProcess

__all__ = ["check_no_deadlock"]


def check_no_deadlock(target: Operation, caller: Job | None, engine: Engine) -> None:
    """Check that a call of ``target`` does not wait for what its callers occupy.

    These are ``caller``, the job that the call comes from, the job that called that one, and so on.

    Raises:
        UsageError: the GPU thread, all places of an ``async def`` handler, or a thread of the pool
            would wait for the call, and the call for them.

    """
    taken = 0
    while caller is not None:
        operation = caller.operation
        if caller.in_pool and (target.is_prepared or target.finish is not None):
            raise UsageError(
                f"{target.name} was called from a prepare= or finish= step, which waits on a "
                "thread of the pool that the call needs; call it from an async def handler."
            )
        if target.concurrency is None and engine.worker.current is caller:
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
