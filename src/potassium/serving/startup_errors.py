"""Logs a failed start with only the user's own lines, without ours and the server's."""

import traceback
from types import TracebackType

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from potassium.errors import UsageError
from potassium.handlers.init import Init

__all__ = ["StartupErrors", "trace_below"]


def trace_below(error: BaseException) -> TracebackType | None:
    """Return the traceback of ``error`` from the app's own ``init`` onwards.

    For an error from elsewhere, it is the whole traceback, or None for a ``UsageError``, whose
    message says what to do.
    """
    trace = error.__traceback__
    while trace is not None:
        code, trace = trace.tb_frame.f_code, trace.tb_next
        if code is Init.run_own.__code__:
            return trace
    return None if isinstance(error, UsageError) else error.__traceback__


class StartupErrors:
    """ASGI middleware that makes the server log a failed start with ``trace_below``."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection, or the app's lifespan."""
        if scope["type"] != "lifespan":
            await self._app(scope, receive, send)
            return
        failed: Message | None = None

        async def hold_back(message: Message) -> None:
            nonlocal failed
            if message["type"] == "lifespan.startup.failed":
                failed = message  # Starlette puts the whole traceback into it, and then raises
            else:
                await send(message)

        try:
            await self._app(scope, receive, hold_back)
        except BaseException as error:
            if failed is not None:
                trace = trace_below(error)
                # The exception that revealed a mistake says nothing beyond its message.
                lines = traceback.format_exception(
                    type(error), error, trace, chain=trace is not None
                )
                failed["message"] = "".join(lines).rstrip()
            raise
        finally:
            if failed is not None:
                await send(failed)
