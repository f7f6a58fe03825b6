"""One registered function: where it is called, how its argument binds, what runs it."""

import inspect
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from potassium.accelerator import free_memory, is_out_of_memory
from potassium.binding import Bind, binding_of
from potassium.config import check_count, check_seconds
from potassium.engine import Operation
from potassium.errors import OutOfMemory, UsageError
from potassium.http import CURRENT, Request
from potassium.reply import Reply, reply_to

__all__ = ["Handler", "name_of", "normal_path"]

RESERVED_PATHS = ("/healthz", "/readyz", "/_k/status", "/__status__", "/_k/warmup")

Cache = dict[str, Any]
Call = tuple[Request, Any]  # what an operation gets: the request, and the argument made of it


@dataclass(slots=True, kw_only=True)
class Handler:
    """A function of the user's that answers ``POST path``.

    Attributes:
        path: in its normal form, see ``normal_path``.
        function: as the user wrote it.
        bind: turns a request into the function's second argument, on the event loop.
        operation: what the engine runs; it returns the encoded ``Reply``.
        timeout: seconds for queueing and running together, or None for no limit.
        webhook_url: where the returned JSON is posted to as well, or None.

    """

    path: str
    function: Callable[..., Any]
    bind: Bind
    operation: Operation
    timeout: float | None
    webhook_url: str | None = None

    @classmethod
    def of(
        cls,
        function: Callable[..., Any],
        path: str,
        *,
        concurrency: int | None,
        timeout: float | None,
        cache: Callable[[], Cache],
    ) -> "Handler":
        """Register ``function`` under ``path``; ``cache`` returns its first argument.

        Raises:
            UsageError: the path, the signature or an option cannot be.

        """
        path = normal_path(path)
        bind = binding_of(function)
        is_async = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
            getattr(function, "__call__", None)  # noqa: B004 - its kind is asked for
        )
        if timeout is not None:
            check_seconds("timeout", timeout)
        if concurrency is not None:
            check_count("concurrency", concurrency)
        if concurrency is not None and not is_async:
            raise UsageError(
                f"concurrency={concurrency} is for async def handlers: there is one GPU thread, "
                "and it runs one call at a time."
            )
        if is_async:
            operation = Operation(path, _run_async(function, cache), concurrency=concurrency or 1)
        else:
            operation = Operation(path, _run(function, cache))
        return cls(path=path, function=function, bind=bind, operation=operation, timeout=timeout)


def name_of(function: Callable[..., Any]) -> str:
    """Return what messages call a function; partials and instances have no name of their own."""
    return str(getattr(function, "__qualname__", type(function).__qualname__))


def normal_path(path: str) -> str:
    """Return ``path`` with one slash in front and none behind: ``"foo"`` becomes ``"/foo"``.

    Raises:
        UsageError: it cannot be a handler's path.

    """
    normal = "/" + path.strip("/")
    if normal in RESERVED_PATHS:
        raise UsageError(f"{normal} is one of the server's own pages; take another path.")
    if "{" in normal or "?" in normal or "#" in normal:
        raise UsageError(
            f"{normal} has parameters in it; a handler has a fixed path, and what varies goes "
            "into the JSON body."
        )
    return normal


def _run(function: Callable[..., Any], cache: Callable[[], Cache]) -> Callable[[Call], Reply]:
    def run(call: Call) -> Reply:
        request, argument = call
        token = CURRENT.set(request)
        try:
            try:
                return reply_to(function(cache(), argument))
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                traceback.clear_frames(error.__traceback__)  # they hold on to tensors
            free_memory()
            try:
                return reply_to(function(cache(), argument))
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                raise OutOfMemory("The accelerator is out of memory.", retry_after=1) from error
        finally:
            CURRENT.reset(token)

    return run


def _run_async(function: Callable[..., Any], cache: Callable[[], Cache]) -> Callable[[Call], Any]:
    async def run(call: Call) -> Reply:
        request, argument = call
        CURRENT.set(request)  # each call has a task, and so a context, of its own
        return reply_to(await function(cache(), argument))

    return run
