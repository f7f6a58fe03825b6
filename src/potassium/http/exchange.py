"""One request and its response, for whoever measures or logs them."""

from collections.abc import Awaitable
from typing import Protocol

from starlette.types import Message, Scope, Send

__all__ = ["Exchange", "ExchangeObserver", "note_call", "note_error", "note_job"]

SCOPE_KEY = "potassium.exchange"


class Exchange:
    """One request and its response, from the first middleware's point of view.

    Times are in monotonic seconds, sizes in bytes.

    Attributes:
        scope: the ASGI scope.
        began_at: when the app was called.
        ended_at: when the app returned; 0 until then.
        status: the status of the response; 0 until its head is sent.
        code: the stable code of the error that it ended with; empty if there is none.
        handler: the path of the handler that answers; empty if none does.
        call: the job that the handler runs for it, if any.
        job_id: the id of the background job that it was stored as; empty otherwise.
        received: the size of the body, after decompression; None until a handler has read it.
        sent: the size of the response so far, without its head.
        is_quiet: whether it is for health, metrics or the page, and says nothing about calls.
        trace: what traces keep of it; None if it is not traced.
        trace_id: the id of its trace in hexadecimal, for logs; empty if it has none.

    """

    __slots__ = (
        "_send",
        "began_at",
        "call",
        "code",
        "ended_at",
        "handler",
        "is_quiet",
        "job_id",
        "received",
        "scope",
        "sent",
        "status",
        "trace",
        "trace_id",
    )

    def __init__(self, scope: Scope, send: Send, began_at: float) -> None:
        self.scope = scope
        self._send = send
        self.began_at = began_at
        self.ended_at = 0.0
        self.status = self.sent = 0
        self.received: int | None = None
        self.code = self.handler = self.job_id = self.trace_id = ""
        self.call: object = None
        self.trace: object = None
        self.is_quiet = False

    def send(self, message: Message) -> Awaitable[None]:
        """Send a message of the app's, and note what it says."""
        if "status" in message:  # it is the start of the response
            self.status = message["status"]
        elif "body" in message:
            self.sent += len(message["body"])
        return self._send(message)  # not a coroutine of its own, which would cost more than this


class Body(Protocol):
    """What is known of a body that was read."""

    @property
    def size(self) -> int:
        """Its size in bytes."""


class ExchangeObserver(Protocol):
    """Is told of each exchange. Its methods must not block and must not raise."""

    def began(self, exchange: Exchange, /) -> None:
        """Note that a request has arrived; called in the task that serves it."""

    def ended(self, exchange: Exchange, /) -> None:
        """Note that the app has returned; called in the same task."""


def note_call(scope: Scope, handler: str, call: object, body: Body) -> None:
    """Note that the handler at a path runs ``call`` for a request with this body."""
    exchange: Exchange | None = scope.get(SCOPE_KEY)
    if exchange is not None:
        exchange.handler, exchange.call = handler, call
        exchange.received = body.size


def note_job(scope: Scope, handler: str, job_id: str, body: Body) -> None:
    """Note that a request with this body was stored as a background job of a handler."""
    exchange: Exchange | None = scope.get(SCOPE_KEY)
    if exchange is not None:
        exchange.handler, exchange.job_id = handler, job_id
        exchange.received = body.size


def note_body(scope: Scope, size: int) -> None:
    """Note that a request whose body was read, with ``size`` bytes, is answered with an error."""
    exchange: Exchange | None = scope.get(SCOPE_KEY)
    if exchange is not None and exchange.received is None:
        exchange.received = size


def note_error(scope: Scope, code: str) -> None:
    """Note the code of the error that a request ends with, for whoever measures it."""
    exchange: Exchange | None = scope.get(SCOPE_KEY)
    if exchange is not None:
        exchange.code = code
