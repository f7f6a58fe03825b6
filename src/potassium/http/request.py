"""A handler's view of a request, and of the call that serves it."""

import time
from collections.abc import Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, BinaryIO

from potassium.engine import Job
from potassium.engine.stream import NOT_RUNNING
from potassium.errors import DeadlineExceeded, UsageError
from potassium.http.message import UNKNOWN, Message

if TYPE_CHECKING:
    from starlette.datastructures import Address, Headers, QueryParams, State

    from potassium.engine import Stream

__all__ = ["CURRENT", "Request", "current_request", "ids_of_call", "job_of", "request_of"]

CURRENT: ContextVar["Request"] = ContextVar("current_request")


class Request:
    """One call of a handler: what the client sent, and whether it still waits for the response.

    A ``Request("id", [], b"{}")`` that you construct yourself does not belong to a call: it has no
    deadline, is never cancelled, and cannot send. ``potassium.testing.request`` makes one for unit
    tests.

    Args:
        request_id: the request's id.
        headers: the ASGI list of headers, names in lower case.
        body: the raw body.
        scope: the ASGI scope, or the parts of it that are known.

    """

    __slots__ = ("__weakref__", "_job", "_message")

    def __init__(
        self,
        request_id: str,
        headers: list[tuple[bytes, bytes]],
        body: bytes,
        scope: Mapping[str, Any] = UNKNOWN,
    ) -> None:
        self._message = Message(request_id, headers, body, scope)
        self._job: Job | None = None

    def __eq__(self, other: object) -> bool:
        """Return whether both belong to the same call: each step of it has an object of its own."""
        return isinstance(other, Request) and other._message is self._message

    def __hash__(self) -> int:
        """Return the same for all steps of a call."""
        return hash(self._message)

    @property
    def id(self) -> str:
        """The client's ``X-Request-Id``, or a UUID; not unique if clients choose it."""
        return self._message.id

    @property
    def headers(self) -> "Headers":
        """The headers, a mapping with case-insensitive keys."""
        return self._message.headers

    @property
    def body(self) -> bytes:
        """The raw body."""
        return self._message.body

    def open(self) -> BinaryIO:
        """Return a new reader of the raw body, which may be on disk; valid until the call ends."""
        return self._message.open()

    @property
    def json(self) -> Any:
        """The body's JSON value.

        Raises:
            UnsupportedMediaType: the request's ``Content-Type`` is not JSON.
            MalformedJSON: the body is not valid JSON.

        """
        return self._message.json

    @property
    def path(self) -> str:
        """The path that the client called, with the prefix where the app is mounted.

        Background jobs have the path under which they were submitted.
        """
        return str(self._message.scope.get("path", "/"))

    @property
    def query_params(self) -> "QueryParams":
        """The query, a mapping; of several values of one name, it has the last, see ``getlist``.

        Background jobs have the query with which they were submitted.
        """
        from starlette.datastructures import QueryParams  # noqa: PLC0415 - few handlers need one

        return QueryParams(self._message.scope.get("query_string", b""))

    @property
    def client(self) -> "Address | None":
        """The client's address, as far as the server knows; None in a background job."""
        from starlette.datastructures import Address  # noqa: PLC0415 - few handlers need one

        client = self._message.scope.get("client")
        return None if client is None else Address(*client)

    @property
    def state(self) -> "State":
        """What middleware has kept for this request, as ``scope["state"]``; empty in a job."""
        from starlette.datastructures import State  # noqa: PLC0415 - few handlers need one

        return State(self._message.scope.get("state"))

    @property
    def deadline(self) -> float | None:
        """When the caller stops waiting, in seconds of ``time.monotonic()``; None for never."""
        return None if self._job is None else self._job.deadline

    @property
    def cancelled(self) -> bool:
        """Whether nobody waits for the result any more; cheap enough to check at every token.

        It becomes true when the client disconnects, the deadline passes, or the server's grace
        period ends.
        """
        return self._job is not None and self._job.is_unwanted(time.monotonic())

    def raise_if_cancelled(self) -> None:
        """Raise, to leave the handler, if nobody waits for its result any more.

        Raises:
            ClientLeft: the client has disconnected.
            DeadlineExceeded: the deadline has passed.
            Draining: the server's grace period is over.

        """
        if self.cancelled and self._job is not None:
            raise self._job.called_off or DeadlineExceeded()

    def send(self, chunk: Any) -> None:
        """Send ``chunk`` to the caller now, from inside a plain handler that keeps running.

        The handler's return value is sent as the last chunk, unless it is None. May be called on
        any thread while the handler runs.

        Blocks while the caller has ``Limits.send_buffer`` (16 MiB) or more still to read, as no
        other call can use the GPU thread meanwhile: for at most ``Limits.send_timeout`` in all. A
        caller that reads too slowly for that loses its stream. If you have more to send than that,
        yield it from a generator.

        Raises:
            UsageError: no plain handler is running for this request, or it has ``finish=``.
            UnserializableOutput: the chunk cannot be encoded.
            ClientLeft: the client has disconnected.
            DeadlineExceeded: the deadline has passed.
            Draining: the server's grace period is over.
            StreamBroken: the client reads too slowly.

        """
        stream = self._stream()
        self.raise_if_cancelled()
        if stream.has_ended:
            raise UsageError(NOT_RUNNING)
        stream.send(self._encoded(chunk))
        self.raise_if_cancelled()

    def progress(self, share: float, message: str | None = None) -> None:
        """Report the call's progress: ``share`` from 0 to 1, and optionally a ``message``.

        It appears in the background job's document and event stream; the caller of a direct call
        does not see it. Never blocks. May be called on any thread, and at every step.

        Raises:
            UsageError: ``share`` is not a number from 0 to 1, or ``message`` is not valid text.

        """
        try:
            share = float(share)
        except (TypeError, ValueError):
            share = -1.0
        if not 0 <= share <= 1 or not _is_text(message):
            raise UsageError(
                'request.progress(0.4, "epoch 2") takes a number from 0 to 1, and a text.'
            )
        if self._message.background is not None:
            self._message.background.progress(share, message)

    def _encoded(self, chunk: Any) -> bytes:
        """Encode a chunk; on a thread of the handler's own, in a copy of the call's context."""
        encode, job = self._message.form.encode, self._job
        if job is None or CURRENT.get(None) == self:
            return encode(chunk)
        return job.context.copy().run(encode, chunk)

    def _stream(self) -> "Stream[Job]":
        job = self._job
        if job is None or job.open_stream is None:
            raise UsageError(NOT_RUNNING)
        if job.operation.finish is not None:
            raise UsageError(
                "request.send() works only in a plain handler without finish=, which makes the "
                "answer from what it returns."
            )
        stream = job.stream
        return job.open_stream(job) if stream is None or stream.share is None else stream


def request_of(job: Job) -> Request:
    """Return the request that ``job`` serves; the ``origin`` of the job is a ``Message``."""
    request = Request.__new__(Request)
    request._message, request._job = job.origin, job  # noqa: SLF001 - it is being built
    return request


def job_of(request: Request) -> Job | None:
    """Return the job that serves ``request``; None for one that the app's author constructed."""
    return request._job  # noqa: SLF001 - not for handlers


def ids_of_call() -> tuple[str, str]:
    """Return the ids of the request and of the background job that the running handler serves.

    Each is empty if there is none.
    """
    request = CURRENT.get(None)
    if request is None:
        return "", ""
    message = request._message  # noqa: SLF001 - not for handlers
    return message.id, "" if message.background is None else message.background.id


def current_request() -> Request:
    """Return the request that the running handler serves.

    For handlers that do not take a ``Request`` themselves, and for functions that they call.

    Raises:
        UsageError: it is called outside a handler, or in a batched one, which serves several.

    """
    try:
        return CURRENT.get()
    except LookupError:
        raise UsageError(
            "current_request() was called outside a handler, or in a batched one, which serves "
            "several requests: there, take them as the input, with requests: list[Request]."
        ) from None


def _is_text(message: object) -> bool:
    """Return whether a message can be stored and sent; half of a surrogate pair cannot."""
    if not isinstance(message, str):
        return message is None
    try:
        message.encode()
    except UnicodeEncodeError:
        return False
    return True
