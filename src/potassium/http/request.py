"""What a handler sees of a request, and full control over the response."""

import time
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

from potassium.errors import DeadlineExceeded, UnsupportedMediaType, UsageError
from potassium.http.codec import decode
from potassium.http.negotiation import stream_format
from potassium.http.response import NOT_GIVEN
from potassium.http.stream_formats import StreamFormat

if TYPE_CHECKING:
    from starlette.datastructures import Headers

    from potassium.engine import Job, Stream

__all__ = ["CURRENT", "Request", "current_request"]


class BackgroundRun(Protocol):
    """What a request needs of the background job that it belongs to."""

    def began(self) -> None:
        """Note that the handler has begun; any thread may call it."""

    def progress(self, share: float | None, message: str | None) -> None:
        """Note how far the handler is: ``share`` of 1, and in words; any thread may call it."""


CURRENT: ContextVar["Request"] = ContextVar("current_request")


NOT_RUNNING = "request.send() is for plain handlers, while they run."
JSON_WANTED = "Send the body as JSON, with the header Content-Type: application/json."


class Request:
    """One call of a handler.

    Attributes:
        id: the request's id: the client's ``X-Request-Id`` or a UUID; not unique where clients
            choose it.
        body: the raw body.
        job: the admitted job that it became; the server's own.
        background: the run of the background job that it belongs to; the server's own.

    """

    __slots__ = ("__weakref__", "_headers", "_json", "_wire", "background", "body", "id", "job")

    def __init__(self, request_id: str, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        """Describe a request; ``headers`` is the ASGI list, names in lower case."""
        self.id = request_id
        self.body = body
        self._headers = headers
        self._json: Any = NOT_GIVEN
        self._wire: StreamFormat | None = None
        self.job: Job | None = None
        self.background: BackgroundRun | None = None

    @property
    def headers(self) -> "Headers":
        """The headers: a mapping whose keys are case-insensitive."""
        from starlette.datastructures import Headers  # noqa: PLC0415 - the hot path needs none

        return Headers(raw=self._headers)

    @property
    def json(self) -> Any:
        """The body's JSON value.

        Raises:
            UnsupportedMediaType: the request says that it is something else.
            MalformedJSON: it is none.

        """
        if self._json is NOT_GIVEN:
            if not self._is_json():
                raise UnsupportedMediaType(JSON_WANTED)
            self._json = decode(self.body)
        return self._json

    @property
    def deadline(self) -> float | None:
        """When the caller stops waiting, in seconds of ``time.monotonic()``; None for never."""
        return None if self.job is None else self.job.deadline

    @property
    def cancelled(self) -> bool:
        """Whether nobody waits for the result any more; cheap enough to ask at every token.

        It turns true when the client has left, the deadline has passed, or the server's time to
        stop is over.
        """
        return self.job is not None and self.job.is_unwanted(time.monotonic())

    def raise_if_cancelled(self) -> None:
        """Leave the handler where nobody waits for its result any more.

        Raises:
            ClientLeft: the client has left.
            DeadlineExceeded: the deadline has passed.
            Draining: the server's time to stop is over.

        """
        if self.cancelled and self.job is not None:
            raise self.job.called_off or DeadlineExceeded()

    def send(self, chunk: Any) -> None:
        """Send ``chunk`` to the caller now, from inside of a plain handler that goes on.

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
        stream.push(self.wire.encode(chunk))
        stream.wait_for_room()
        self.raise_if_cancelled()

    def progress(self, share: float, message: str | None = None) -> None:
        """Tell how far the call is: ``share`` from 0 to 1, and in words where given.

        Shown by the page of a background job, and in its stream of events; a direct call's caller
        is not told. Never blocks, and may be called on any thread, and at every step.

        Raises:
            UsageError: the share is not from 0 to 1, or the message is no text.

        """
        try:
            share = float(share)
        except (TypeError, ValueError):
            share = -1.0
        if not 0 <= share <= 1 or not _is_text(message):
            raise UsageError('request.progress(0.4, "epoch 2"): a number from 0 to 1, and a text.')
        if self.background is not None:
            self.background.progress(share, message)

    @property
    def was_sent_to(self) -> bool:
        """Whether the caller was sent anything by ``send``."""
        return self.job is not None and self.job.stream is not None

    @property
    def wire(self) -> StreamFormat:
        """The form in which chunks go out; the server's own."""
        if self._wire is None:
            self._wire = stream_format(self._headers)
        return self._wire

    @wire.setter
    def wire(self, wire: StreamFormat) -> None:
        self._wire = wire

    def _stream(self) -> "Stream":
        job = self.job
        if job is None or job.operation.open_stream is None:
            raise UsageError(NOT_RUNNING)
        if job.operation.finish is not None:
            raise UsageError(
                "request.send() is for plain handlers without finish=, which makes the answer of "
                "what they return."
            )
        return job.stream or job.operation.open_stream(job)

    def _is_json(self) -> bool:
        for name, value in self._headers:
            if name == b"content-type":
                return value == b"application/json" or _is_json_type(value)
        return False


def current_request() -> Request:
    """Return the request that the calling handler serves.

    For handlers that do not take a ``Request`` themselves, and for what they call.

    Raises:
        UsageError: it was called outside of a handler.

    """
    try:
        return CURRENT.get()
    except LookupError:
        raise UsageError("current_request() was called outside of a handler.") from None


def _is_json_type(content_type: bytes) -> bool:
    """Return whether a media type is JSON: ``application/json`` or any ``+json`` (RFC 6839)."""
    media_type = content_type.partition(b";")[0].strip().lower()
    return media_type == b"application/json" or media_type.endswith(b"+json")


def _is_text(message: object) -> bool:
    """Return whether a message can be stored and sent: half of a surrogate pair cannot."""
    if not isinstance(message, str):
        return message is None
    try:
        message.encode()
    except UnicodeEncodeError:
        return False
    return True
