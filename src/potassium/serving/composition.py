"""What an app offers to other code in its process."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, nullcontext
from functools import cached_property
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette

from potassium.handlers.torch_modules import module_of
from potassium.serving.assembly import Assembly
from potassium.serving.signals import before_signals

if TYPE_CHECKING:
    from fastapi import APIRouter

    from potassium.serving.chunks import Chunks

__all__ = ["Composable", "parts_of"]


class Composable(Starlette):
    """The part of an app that routes, other apps and scripts in the same process use."""

    _parts: Assembly
    openapi: Callable[[], dict[str, Any]]

    @cached_property
    def optimized(self) -> list[Any]:
        """The modules given to ``optimize``, in order."""
        return []

    def optimize(self, *models: Any) -> None:
        """Record torch modules as worth optimizing; this has no effect on serving.

        Args:
            models: ``torch.nn.Module``s, or objects with one as ``model`` (transformers pipelines).

        Raises:
            TypeError: one of them is neither; then none is recorded.

        """
        self.optimized += [module_of(model) for model in models]

    def set_cache(self, cache: dict[str, Any]) -> None:
        """Replace the cache of this process; the next call sees the new one.

        Raises:
            TypeError: ``cache`` is not a dict.

        """
        self._parts.cache.replace(cache)

    def get_cache(self) -> dict[str, Any]:
        """Return the cache itself, not a copy."""
        return self._parts.cache.contents

    async def broadcast(self, function: Callable[..., Any], /, **arguments: Any) -> list[Any]:
        """Run ``function(cache, **arguments)`` wherever the model is, between calls.

        It runs on the GPU thread. With workers, it runs in each of them, one after the other, so
        that the others serve meanwhile; a worker that is started later runs it after ``init``. So a
        model is exchanged without downtime::

            def use(cache, path):
                cache["model"] = load(path)

            await app.broadcast(use, path="/models/v2")

        Cancelling this does not end what runs already, and leaves the other workers as they are.

        Args:
            function: with workers, it must be at the top level of a module, where they find it.
            arguments: with workers, they must be JSON.

        Returns:
            what the function returned, for each worker; with workers, as JSON.

        Raises:
            UsageError: workers cannot find the function, or the arguments are not JSON.
            Unavailable: the app is starting or stopping, or the worker that ran it has died.
            HandlerError: the function has raised, in the first worker; the others are left as they
                are. What it raised is the ``__cause__``.

        """
        return await self._parts.calls.broadcast(function, arguments, self.get_cache)

    @asynccontextmanager
    async def lifespan(self, app: object = None) -> AsyncIterator[None]:
        """Start the app on entry and stop it on exit: the lifespan of this app or of a parent app.

        Write ``FastAPI(lifespan=app.lifespan)``, or enter ``app.lifespan()`` in the parent's own.

        Raises:
            UsageError: the app is running already, or its registration is incomplete.
            BaseException: whatever ``init`` raised.

        """
        # Signals are left to a parent app, if there is one.
        runtime = self._parts.runtime
        hearing = before_signals(runtime.drain) if app is self else nullcontext()
        async with runtime.run():
            with hearing:
                yield

    async def call(
        self,
        path: str,
        item: Any,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - the time in the queue counts, too
        priority: str = "normal",
    ) -> Any:
        """Run the handler at ``path`` in this process, and return what it returns.

        The call waits in the same queue as calls over HTTP, is batched with them and refused like
        them, but needs no API key, and nothing is encoded. The result is the handler's own object;
        tensors, also in lists, tuples and dicts, are moved to host memory first. A handler that
        streams gives a list of its chunks; see ``stream``. If nothing has started the app, its
        first call does. To and from a worker process, items and results are sent as over HTTP.

        Cancelling this calls the call off, as a client does that disconnects. From a worker thread,
        write ``anyio.from_thread.run(app.call, path, item)``.

        Args:
            path: the path of the handler.
            item: the handler's input: what its annotation validates, such as a dict or an instance
                of a model; the dict itself for a handler that takes a dict; ``bytes`` for one that
                takes those. A handler that takes the ``Request`` gets the item as its JSON, or as
                its body if it is ``bytes``.
            timeout: maximum seconds for waiting in the queue and running; defaults to the
                handler's.
            priority: ``"low"``, ``"normal"`` or ``"high"``; see ``Limits(priorities=True)``.

        Raises:
            UsageError: there is no such handler, it runs in the background, or waiting for it from
                here would never end, as on the GPU thread for another handler of it.
            InvalidInput: the item is not what the handler takes.
            Unavailable: the call was refused: ``QueueFull``, ``Draining`` and so on.
            DeadlineExceeded: the call did not finish in time.
            HandlerError: the handler raised the exception that is the ``__cause__``.
            HTTPException: the handler raised it.

        """
        return await self._parts.calls.call(path, item, timeout=timeout, priority=priority)

    def stream(
        self, path: str, item: Any, *, timeout: float | None = None, priority: str = "normal"
    ) -> "Chunks":
        """Run the handler at ``path`` in this process, and return the chunks that it streams.

        ::

            async for chunk in app.stream("/chat", item): ...

        The call is made when the first chunk is asked for. To learn earlier that it is refused,
        ``chunks = await app.stream("/chat", item)`` waits for the first chunk. The call is called
        off when an iteration is cancelled, when the chunks are closed (``async with`` does it), or
        when nothing refers to them any more, as after a ``break``.

        Args:
            path: as for ``call``.
            item: as for ``call``.
            timeout: as for ``call``, for the stream as a whole.
            priority: as for ``call``.

        Raises:
            UsageError: there is no such handler, or it runs in the background.

        """
        return self._parts.calls.stream(path, item, timeout=timeout, priority=priority)

    async def submit(
        self,
        path: str,
        item: Any,
        *,
        priority: str = "normal",
        idempotency_key: str | None = None,
    ) -> dict[str, Any]:
        """Store a call of the handler at ``path`` as a background job; return the job document.

        Once this returns, the job runs, whatever becomes of the caller. It belongs to nobody:
        where jobs have owners, none of them sees it.

        Args:
            path: the path of any handler.
            item: what a client would send: a value that can be sent as JSON, or ``bytes``.
            priority: as for ``call``.
            idempotency_key: if a job with this key exists, its document is returned instead.

        Raises:
            UsageError: there is no such handler, or the app has no jobs.
            InvalidInput: the item is not what the handler takes.
            StoreFailed: the job cannot be stored.
            Draining: the app is stopping.

        """
        return await self._parts.calls.submit(
            path, item, priority=priority, idempotency_key=idempotency_key
        )

    def router_for_fastapi(self, *, dependencies: Sequence[Any] = ()) -> "APIRouter":
        """Return a router for ``FastAPI.include_router``, with a route for each of this app.

        ::

            parent.include_router(model.router_for_fastapi(dependencies=[Depends(auth)]))

        Unlike a mount, the routes are behind the dependencies of the parent app, of the router that
        includes this one, and of ``include_router``; they are in the parent's documentation, and
        the parent's lifespan starts and stops the app. Once all dependencies have run, the app
        answers as if it were mounted at the prefix, its own middleware and API keys included.
        Mounts, WebSocket routes and paths with ``:path`` are left out.

        Decorate all handlers before.

        Args:
            dependencies: run before each route except health, readiness and warm-up. Dependencies
                that are given to ``include_router`` or to ``FastAPI`` run before those, too.

        Raises:
            UsageError: FastAPI is not installed.

        """
        from potassium.serving.fastapi_router import router_of  # noqa: PLC0415 - only where used

        router = router_of(self, self._parts, dependencies, self.lifespan, self.openapi())
        self._parts.close("app.router_for_fastapi()")
        return router


def parts_of(app: Composable) -> Assembly:
    """Return the parts of ``app``, for what starts and stops it in another way than a server."""
    return app._parts  # noqa: SLF001 - this module's own
