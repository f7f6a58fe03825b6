"""The errors of Potassium, with the HTTP status that each is answered with.

PotassiumError
├── UsageError: a mistake in the app's own code, raised as soon as it is made
├── 400 MalformedJSON
├── 401 Unauthorized
├── 404 JobNotFound
├── 408 BodyTimeout
├── 409 JobHasEnded
├── 413 BodyTooLarge
├── 415 UnsupportedMediaType, UnsupportedEncoding
├── 422 InvalidInput, IdempotencyKeyReused, WebhookUrlRefused
├── 499 JobCancelled (in the job's document), ClientLeft (sent to nobody)
├── 500 HandlerError, Interrupted, UnserializableOutput
├── 504 DeadlineExceeded
├── StreamBroken: no status; the connection is closed in the middle of the response
└── 503 Unavailable, with Retry-After if waiting may help
    └── QueueFull, Overloaded, Starting, Draining, WorkerFailed, StoreFailed, OutOfMemory

Clients get the message, one or two sentences, as the ``detail`` of a problem document (RFC 9457),
next to a stable ``code``. It never contains a path, a repr of user data or a traceback.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

__all__ = [
    "BodyTimeout",
    "BodyTooLarge",
    "ClientLeft",
    "DeadlineExceeded",
    "Draining",
    "HandlerError",
    "IdempotencyKeyReused",
    "Interrupted",
    "InvalidInput",
    "JobCancelled",
    "JobHasEnded",
    "JobNotFound",
    "MalformedJSON",
    "OutOfMemory",
    "Overloaded",
    "PotassiumError",
    "QueueFull",
    "Starting",
    "StoreFailed",
    "StreamBroken",
    "Unauthorized",
    "Unavailable",
    "UnserializableOutput",
    "UnsupportedEncoding",
    "UnsupportedMediaType",
    "UsageError",
    "WebhookUrlRefused",
    "WorkerFailed",
]


class PotassiumError(Exception):
    """Base class of every error that Potassium raises.

    A handler may raise any subclass to answer its caller with the status of that class.
    """

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    usual: ClassVar[str] = ""  # the detail, if none is given
    closes = False  # whether the connection is closed after the response

    def __init__(self, detail: str = "") -> None:
        self.detail = detail or self.usual
        super().__init__(self.detail)

    @property
    def headers(self) -> Mapping[str, str]:
        """Extra headers of the response."""
        return {"Connection": "close"} if self.closes else {}

    @property
    def members(self) -> Mapping[str, Any]:
        """Extra members of the problem document."""
        return {}


class UsageError(PotassiumError):
    """A mistake in the app's own code; the message says what to write instead."""


class MalformedJSON(PotassiumError):
    """The body is not UTF-8 encoded JSON (RFC 8259), or exceeds a limit of the parser."""

    status = 400
    code = "malformed_json"


class Unauthorized(PotassiumError):
    """API keys are configured, and the request has none or a wrong one."""

    status = 401
    code = "unauthorized"

    @property
    def headers(self) -> Mapping[str, str]:
        """The challenge, ``WWW-Authenticate`` (RFC 9110, section 11.6.1)."""
        return {"WWW-Authenticate": "Bearer"}


class JobNotFound(PotassiumError):
    """No background job has this id, or it has ended and been deleted since."""

    status = 404
    code = "not_found"


class JobHasEnded(PotassiumError):
    """The current state of the background job does not allow the requested action."""

    status = 409
    code = "job_has_ended"


class BodyTimeout(PotassiumError):
    """The body did not arrive within ``Limits.body_timeout``."""

    status = 408
    code = "body_timeout"
    closes = True  # the rest of this body may still arrive on the connection


class BodyTooLarge(PotassiumError):
    """The body is longer than ``Limits.body_size``, or has more than ``Limits.json_values``."""

    status = 413
    code = "body_too_large"


class UnsupportedMediaType(PotassiumError):
    """The handler takes JSON, but the body has another media type."""

    status = 415
    code = "unsupported_media_type"


class UnsupportedEncoding(PotassiumError):
    """The body is compressed, and the handler does not take it so (RFC 9110, section 15.5.16)."""

    status = 415
    code = "unsupported_encoding"

    @property
    def headers(self) -> Mapping[str, str]:
        """``Accept-Encoding``, with what the server takes."""
        return {"Accept-Encoding": "identity"}


class InvalidInput(PotassiumError):
    """The body is JSON, but does not match the handler's annotation."""

    status = 422
    code = "invalid_input"

    def __init__(self, detail: str, errors: Sequence[Mapping[str, Any]] = ()) -> None:
        """Take ``errors``, one mapping with ``loc``, ``msg`` and ``type`` for each fault."""
        super().__init__(detail)
        self.errors = list(errors)

    @property
    def members(self) -> Mapping[str, Any]:
        """The list of faults, as the member ``errors``."""
        return {"errors": self.errors}


class IdempotencyKeyReused(PotassiumError):
    """The idempotency key was used for a background job with different content."""

    status = 422
    code = "idempotency_key_reused"


class WebhookUrlRefused(PotassiumError):
    """A client's webhook URL is not accepted, is invalid, or may lead into a private network."""

    status = 422
    code = "webhook_url_refused"


class JobCancelled(PotassiumError):
    """The background job was cancelled on request."""

    status = 499
    code = "job_cancelled"
    usual = "The job was cancelled."


class ClientLeft(PotassiumError):
    """The client closed its connection before it got its response."""

    status = 499
    code = "client_left"


class HandlerError(PotassiumError):
    """The handler raised an exception, which is the ``__cause__`` of this error."""

    status = 500
    code = "handler_error"


class Interrupted(PotassiumError):
    """The server died while it ran a background job, once too often to run it again."""

    status = 500
    code = "interrupted"


class UnserializableOutput(PotassiumError):
    """The handler returned something that cannot be serialized."""

    status = 500
    code = "unserializable_output"


class StreamBroken(PotassiumError):
    """A response that has begun cannot be completed.

    Raised into the ASGI server, which closes the connection: so the client sees the truncation.
    """

    code = "stream_broken"


class DeadlineExceeded(PotassiumError):
    """The time that the handler or the client allows for a call has run out."""

    status = 504
    code = "deadline_exceeded"
    usual = "The call did not finish in time."


class Unavailable(PotassiumError):
    """The server cannot serve this request now."""

    status = 503
    code = "unavailable"

    def __init__(self, detail: str = "", retry_after: int | None = None) -> None:
        """Take ``retry_after``, seconds after which a retry may help, or None."""
        super().__init__(detail)
        self.retry_after = retry_after

    @property
    def headers(self) -> Mapping[str, str]:
        """``Retry-After`` (RFC 9110, section 10.2.3), if a retry may help."""
        after = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        return {**super().headers, **after}


class QueueFull(Unavailable):
    """The queue is full."""

    code = "queue_full"


class Overloaded(Unavailable):
    """The bodies of other requests take up all the memory that is allowed for them."""

    code = "overloaded"
    usual = "The bodies of other requests take up all the memory that is allowed for them."


class Starting(Unavailable):
    """``init`` has not finished yet."""

    code = "starting"


class Draining(Unavailable):
    """The server is stopping and accepts no new work."""

    code = "draining"


class WorkerFailed(Unavailable):
    """The GPU thread is unusable. A retry does not help: the process must be restarted."""

    code = "worker_failed"
    usual = "The model can no longer be served."


class StoreFailed(Unavailable):
    """Background jobs cannot be stored or read now, for example because the disk is full."""

    code = "store_failed"


class OutOfMemory(Unavailable):
    """The accelerator ran out of memory, even after all that could be freed was freed."""

    code = "out_of_memory"
