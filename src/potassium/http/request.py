"""What a handler sees of a request, and of the call that serves it."""

import time
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from potassium.engine import Job
from potassium.errors import DeadlineExceeded, UsageError
from potassium.http.message import Message

if TYPE_CHECKING:
    from starlette.datastructures import Headers

    from potassium.engine import Stream

__all__ = ["CURRENT", "Request", "current_request"]

CURRENT: ContextVar[Job] = ContextVar("current_job")
"""The job that the running code serves; its ``origin`` is a ``Message``."""

NOT_RUNNING = "request.send() is for plain handlers, while they run."


class Request:
    """One call of a handler: what the client sent, and whether it still waits for the answer.

    A ``Request("id", [], b"{}")`` made by hand, as a unit test makes it, belongs to no call: it
    has no deadline, is never cancelled, and cannot send.
    """

    __slots__ = ("__weakref__", "_job", "_message")

    def __init__(self, request_id: str, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        """Make a request by hand; ``headers`` is the ASGI list, names in lower case."""
        self._message = Message(request_id, headers, body)
        self._job: Job | None = None

    @classmethod
    def of(cls, job: Job) -> "Request":
        """Return the request that ``job`` serves."""
        request = cls.__new__(cls)
        request._message = job.origin  # noqa: SLF001 - it is being built
        request._job = job  # noqa: SLF001
        return request

    @property
    def id(self) -> str:
        """The client's ``X-Request-Id``, or a UUID; not unique where clients choose it."""
        return self._message.id

    @property
    def headers(self) -> "Headers":
        """The headers: a mapping whose keys are case-insensitive."""
        return self._message.headers

    @property
    def body(self) -> bytes:
        """The raw body."""
        return self._message.body

    @property
    def json(self) -> Any:
        """The body's JSON value.

        Raises:
            UnsupportedMediaType: the request says that it is something else.
            MalformedJSON: it is none.

        """
        return self._message.json

    @property
    def deadline(self) -> float | None:
        """When the caller stops waiting, in seconds of ``time.monotonic()``; None for never."""
        return None if self._job is None else self._job.deadline

    @property
    def cancelled(self) -> bool:
        """Whether nobody waits for the result any more; cheap enough to ask at every token.

        It turns true when the client has left, the deadline has passed, or the server's time to
        stop is over.
        """
        return self._job is not None and self._job.is_unwanted(time.monotonic())

    def raise_if_cancelled(self) -> None:
        """Leave the handler where nobody waits for its result any more.

        Raises:
            ClientLeft: the client has left.
            DeadlineExceeded: the deadline has passed.
            Draining: the server's time to stop is over.

        """
        if self.cancelled and self._job is not None:
            raise self._job.called_off or DeadlineExceeded()

    def send(self, chunk: Any) -> None:
        """Send ``chunk`` to the caller now, from inside a plain handler that goes on.

        What the handler returns is the last chunk; None is none. Blocks while the caller has not
        taken what was sent before, beyond 16 MiB. May be called on any thread while the
        handler runs.

        Raises:
            UsageError: no plain handler runs for this request.
            UnserializableOutput: it cannot be sent.
            ClientLeft: the client has left.
            DeadlineExceeded: the deadline has passed.
            Draining: the server's time to stop is over.

        """
        stream = self._stream()
        self.raise_if_cancelled()
        if stream.has_ended:
            raise UsageError(NOT_RUNNING)
        stream.push(self._message.form.encode(chunk))
        stream.wait_for_room()
        self.raise_if_cancelled()

    def progress(self, share: float, message: str | None = None) -> None:
        """Report how far the call is: ``share`` from 0 to 1, and optionally in words.

        A background job shows it, and its stream of events tells it; the caller of a direct call
        does not see it. Never blocks, and may be called on any thread, and at every step.

        Raises:
            UsageError: the share is not from 0 to 1, or the message is not text.

        """
        try:
            share = float(share)
        except (TypeError, ValueError):
            share = -1.0
        if not 0 <= share <= 1 or not _is_text(message):
            raise UsageError('request.progress(0.4, "epoch 2"): a number from 0 to 1, and a text.')
        if self._message.background is not None:
            self._message.background.progress(share, message)

    def _stream(self) -> "Stream[Job]":
        job = self._job
        if job is None or job.open_stream is None:
            raise UsageError(NOT_RUNNING)
        if job.operation.finish is not None:
            raise UsageError(
                "request.send() is for plain handlers without finish=, which makes the answer of "
                "what they return."
            )
        return job.stream or job.open_stream(job)


def current_request() -> Request:
    """Return the request that the calling handler serves.

    For handlers that do not take a ``Request`` themselves, and for what they call.

    Raises:
        UsageError: it was called outside a handler.

    """
    try:
        return Request.of(CURRENT.get())
    except LookupError:
        raise UsageError("current_request() was called outside a handler.") from None


def _is_text(message: object) -> bool:
    """Return whether a message can be stored and sent: half of a surrogate pair cannot."""
    if not isinstance(message, str):
        return message is None
    try:
        message.encode()
    except UnicodeEncodeError:
        return False
    return True
