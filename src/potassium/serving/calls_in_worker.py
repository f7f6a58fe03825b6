"""Calls of handlers by handlers in a worker process: the front makes them."""

from collections.abc import Callable, Collection
from typing import Any

from potassium.engine import Job
from potassium.errors import UsageError
from potassium.handlers.in_process import caller_of
from potassium.handlers.items import as_body
from potassium.serving.call_options import CallOptions
from potassium.serving.calls import Calls
from potassium.serving.chunks import Chunks
from potassium.serving.deadlocks import check_no_deadlock, check_not_init
from potassium.serving.plan import Plan
from potassium.serving.runtime import Runtime
from potassium.workers.arrivals import WorkerJob
from potassium.workers.asking import Asking

__all__ = ["CallsInWorker"]


class CallsInWorker(Calls):
    """Checks what only this process knows, and passes the call on.

    Args:
        asking: asks the front.
        is_running: returns whether the GPU thread of this process is running a job.
        in_pool: the paths of handlers that have a step before or after it.

    """

    def __init__(
        self,
        plan: Plan,
        runtime: Runtime,
        asking: Asking,
        is_running: Callable[[Job], bool],
        in_pool: Collection[str],
    ) -> None:
        super().__init__(plan, runtime)
        self._asking = asking
        self._is_running = is_running
        self._in_pool = in_pool

    async def call(
        self,
        path: str,
        item: Any,
        *,
        timeout: float | None,  # noqa: ASYNC109 - the time in the queue counts, too
        priority: str,
    ) -> Any:
        """Run the handler at ``path``; see ``Calls.call``."""
        handler = self.direct(path)
        CallOptions.of(timeout, priority)
        caller = caller_of()
        check_not_init(self._plan.init, caller)
        uses_pool = handler.path in self._in_pool
        check_no_deadlock(handler.operation, caller, self._is_running, uses_pool=uses_pool)
        return await self._ask("call", path, item, timeout=timeout, priority=priority)

    def stream(self, path: str, *_: Any, **__: Any) -> Chunks:
        """Raise UsageError: chunks do not come to a worker one by one."""
        raise UsageError(
            "app.stream() works in the front only, as in async handlers and routes; in a worker, "
            f"anyio.from_thread.run(app.call, {path!r}, item) returns the list of all chunks."
        )

    async def submit(
        self, path: str, item: Any, *, priority: str, idempotency_key: str | None
    ) -> dict[str, Any]:
        """Store a call of the handler at ``path`` as a background job; see ``Calls.submit``."""
        self.handler(path)
        check_not_init(self._plan.init, caller_of())
        document: dict[str, Any] = await self._ask(
            "submit", path, item, priority=priority, idempotency_key=idempotency_key
        )
        return document

    async def _ask(self, name: str, path: str, item: Any, **options: Any) -> Any:
        body, headers = as_body(item)
        caller = caller_of()
        return await self._asking.ask(
            name,
            path,
            body,
            caller=caller.number if isinstance(caller, WorkerJob) else None,
            is_json=headers[0][1] == b"application/json",
            options=options,
        )
