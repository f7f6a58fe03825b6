"""One registered function: where it is called, how its argument binds, what runs it."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypedDict

from potassium.config import Batch, check_count, check_seconds
from potassium.engine import Operation
from potassium.errors import UsageError
from potassium.handlers.binding import Bind, binding_of, check_prepared
from potassium.handlers.operation import Cache, operation_of

__all__ = ["Cache", "Handler", "HandlerOptions", "Options", "name_of", "normal_path"]

RESERVED_PATHS = ("/healthz", "/readyz", "/_k/status", "/__status__", "/_k/warmup")


class HandlerOptions(TypedDict, total=False):
    """What ``@app.handler`` and ``@app.background`` take beside the path; see there."""

    timeout: float | None
    concurrency: int | None
    streams: int
    batch: Batch | None
    prepare: Callable[..., Any] | None
    finish: Callable[..., Any] | None
    attempts: int | None
    backoff: float | None


@dataclass(frozen=True, kw_only=True)
class Options:
    """The same, with what holds where one is not given, checked.

    Raises:
        UsageError: a value that cannot be.

    """

    timeout: float | None = None
    concurrency: int | None = None
    streams: int = 1
    batch: Batch | None = None
    prepare: Callable[..., Any] | None = None
    finish: Callable[..., Any] | None = None
    attempts: int | None = None
    backoff: float | None = None

    def __post_init__(self) -> None:
        """Check every value by itself."""
        if self.timeout is not None:
            check_seconds("timeout", self.timeout)
        if self.concurrency is not None:
            check_count("concurrency", self.concurrency)
        check_count("streams", self.streams)
        if self.attempts is not None:
            check_count("attempts", self.attempts)
        if self.backoff is not None:
            check_seconds("backoff", self.backoff)
        if self.batch is not None and not isinstance(self.batch, Batch):
            raise UsageError(f"batch={self.batch!r}: write batch=Batch(max_size=32).")
        for name, step in (("prepare", self.prepare), ("finish", self.finish)):
            if step is not None and not callable(step):
                raise UsageError(f"{name}={step!r}: a function is needed.")

    def check(self, function: Callable[..., Any]) -> None:
        """Check that all of them together suit ``function``.

        Raises:
            UsageError: one does not.

        """
        on_loop = is_async(function)
        if self.concurrency is not None and not on_loop:
            raise UsageError(
                f"concurrency={self.concurrency} is for async def handlers: there is one GPU "
                "thread, and it runs one call at a time."
            )
        if on_loop and (self.streams != 1 or self.batch or self.prepare or self.finish):
            raise UsageError(
                "streams=, batch=, prepare= and finish= are for plain handlers, which run on the "
                "GPU thread; an async def one does it all itself."
            )
        for name, one in (("prepare", self.prepare), ("finish", self.finish)):
            if one is not None and is_async(one):
                raise UsageError(f"{name}= runs in a thread of the pool: write def, not async def.")
        if self.finish is not None and inspect.isgeneratorfunction(function):
            raise UsageError("finish= is for handlers that return; a generator yields as it goes.")
        if self.batch is not None and self.streams != 1:
            raise UsageError("streams= and batch=: a batched handler returns, it does not stream.")


@dataclass(slots=True, kw_only=True)
class Handler:
    """A function of the user's that answers ``POST path``.

    Attributes:
        path: in its normal form, see ``normal_path``.
        function: as the user wrote it.
        bind: turns a request into the argument of the function, or of what prepares that, on the
            event loop.
        operation: what the engine runs; it returns the encoded ``Reply``, or opens a stream.
        yields: whether every answer of it is a stream.
        timeout: seconds for queueing and running together, or None for no limit.
        attempts: how often a background job is tried; None for what ``Jobs`` says.
        backoff: seconds from its first failure to the next attempt; likewise.
        is_background: whether every call of it is run in the background.
        webhook_url: where the returned JSON is posted to as well, or None.

    """

    path: str
    function: Callable[..., Any]
    bind: Bind
    operation: Operation
    yields: bool
    timeout: float | None
    attempts: int | None = None
    backoff: float | None = None
    is_background: bool = False
    webhook_url: str | None = None

    @classmethod
    def of(
        cls, function: Callable[..., Any], path: str, options: Options, cache: Callable[[], Cache]
    ) -> "Handler":
        """Register ``function`` under ``path``; ``cache`` returns its first argument.

        Raises:
            UsageError: the path, the signature or an option cannot be.

        """
        path = normal_path(path)
        options.check(function)
        batched = options.batch is not None
        if options.prepare is None:
            bind = binding_of(function, batched=batched)
        else:
            check_prepared(function, batched=batched)
            bind = binding_of(options.prepare, is_step=True)
        concurrency = (options.concurrency or 1) if is_async(function) else None
        operation = operation_of(
            path,
            function,
            cache,
            concurrency=concurrency,
            streams=options.streams,
            batch=options.batch,
            prepare=options.prepare,
            finish=options.finish,
        )
        return cls(
            path=path,
            function=function,
            bind=bind,
            operation=operation,
            yields=options.batch is None and _yields(function),
            timeout=options.timeout,
            attempts=options.attempts,
            backoff=options.backoff,
        )


def is_async(function: Callable[..., Any]) -> bool:
    """Return whether calls of ``function`` run on the event loop."""
    call = getattr(function, "__call__", None)  # noqa: B004 - its kind is asked for
    return any(
        inspect.iscoroutinefunction(one) or inspect.isasyncgenfunction(one)
        for one in (function, call)
    )


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


def _yields(function: Callable[..., Any]) -> bool:
    return inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)
