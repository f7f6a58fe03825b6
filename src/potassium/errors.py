"""Every error of Potassium, with the HTTP status and the stable code it is answered with.

PotassiumError
├── UsageError             a mistake in the app's own code, raised when it is made
├── MalformedJSON          400 malformed_json
├── Unauthorized           401 unauthorized
├── JobNotFound            404 not_found
├── BodyTimeout            408 body_timeout
├── JobHasEnded            409 job_has_ended
├── BodyTooLarge           413 body_too_large
├── UnsupportedMediaType   415 unsupported_media_type
├── InvalidInput           422 invalid_input
├── IdempotencyKeyReused   422 idempotency_key_reused
├── WebhookUrlRefused      422 webhook_url_refused
├── JobCancelled           499 job_cancelled; the error of a job that was
├── ClientLeft             499 client_left; nobody is there to read it
├── HandlerError           500 handler_error
├── Interrupted            500 interrupted
├── UnserializableOutput   500 unserializable_output
├── StreamBroken           none: the connection is broken in the midst of an answer
├── DeadlineExceeded       504 deadline_exceeded
└── Unavailable            503, with Retry-After where waiting helps
    ├── QueueFull          503 queue_full
    ├── Starting           503 starting
    ├── Draining           503 draining
    ├── WorkerFailed       503 worker_failed
    ├── StoreFailed        503 store_failed
    └── OutOfMemory        503 out_of_memory

The message of an error is sent to the client as the problem document's ``detail`` (RFC 9457),
so it never holds a path, a repr of user data or a traceback.
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
    "PotassiumError",
    "QueueFull",
    "Starting",
    "StoreFailed",
    "StreamBroken",
    "Unauthorized",
    "Unavailable",
    "UnserializableOutput",
    "UnsupportedMediaType",
    "UsageError",
    "WebhookUrlRefused",
    "WorkerFailed",
]


class PotassiumError(Exception):
    """The root of every error that Potassium raises.

    A handler may raise any of the subclasses below to answer its caller with that status.
    """

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"

    def __init__(self, detail: str = "") -> None:
        """Keep ``detail``, one or two sentences that a client may read."""
        super().__init__(detail)
        self.detail = detail

    @property
    def headers(self) -> Mapping[str, str]:
        """Headers that go out with the answer."""
        return {}

    @property
    def members(self) -> Mapping[str, Any]:
        """Members of the problem document beside the standard ones."""
        return {}


class UsageError(PotassiumError):
    """A mistake in the app's own code; the message says what to write instead."""


class MalformedJSON(PotassiumError):
    """The body is not JSON (RFC 8259) in UTF-8, or is beyond what the parser takes."""

    status = 400
    code = "malformed_json"


class Unauthorized(PotassiumError):
    """API keys are configured, and none, or a wrong one, was sent."""

    status = 401
    code = "unauthorized"

    @property
    def headers(self) -> Mapping[str, str]:
        """Return the challenge (RFC 9110, section 11.6.1)."""
        return {"WWW-Authenticate": "Bearer"}


class JobNotFound(PotassiumError):
    """There is no background job of this id, or it was deleted some time after its end."""

    status = 404
    code = "not_found"


class JobHasEnded(PotassiumError):
    """What was asked of a background job is not possible in the state that it is in."""

    status = 409
    code = "job_has_ended"


class BodyTimeout(PotassiumError):
    """The body did not arrive within ``Limits.body_timeout``."""

    status = 408
    code = "body_timeout"

    @property
    def headers(self) -> Mapping[str, str]:
        """Close the connection: what may still come on it is the rest of this body."""
        return {"Connection": "close"}


class BodyTooLarge(PotassiumError):
    """The body is longer than ``Limits.body_size``."""

    status = 413
    code = "body_too_large"


class UnsupportedMediaType(PotassiumError):
    """A handler that takes JSON was sent something else."""

    status = 415
    code = "unsupported_media_type"


class InvalidInput(PotassiumError):
    """The body is JSON, but not what the handler's annotation takes."""

    status = 422
    code = "invalid_input"

    def __init__(self, detail: str, errors: Sequence[Mapping[str, Any]] = ()) -> None:
        """Keep ``errors``: one mapping with ``loc``, ``msg`` and ``type`` for each fault."""
        super().__init__(detail)
        self.errors = list(errors)

    @property
    def members(self) -> Mapping[str, Any]:
        """Return the list of faults as the member ``errors``."""
        return {"errors": self.errors}


class IdempotencyKeyReused(PotassiumError):
    """The idempotency key names a background job that was submitted with other content."""

    status = 422
    code = "idempotency_key_reused"


class WebhookUrlRefused(PotassiumError):
    """A client's webhook URL cannot be, or may lead into a private network."""

    status = 422
    code = "webhook_url_refused"


class JobCancelled(PotassiumError):
    """The background job was cancelled by request."""

    status = 499
    code = "job_cancelled"

    def __init__(self, detail: str = "The job was cancelled.") -> None:
        """Keep ``detail``."""
        super().__init__(detail)


class ClientLeft(PotassiumError):
    """The client closed its connection before it had its answer."""

    status = 499
    code = "client_left"


class HandlerError(PotassiumError):
    """The handler raised; the exception is the cause of this one."""

    status = 500
    code = "handler_error"


class Interrupted(PotassiumError):
    """The server stopped while it ran a background job, as often as that may happen."""

    status = 500
    code = "interrupted"


class UnserializableOutput(PotassiumError):
    """The handler returned something that cannot be sent."""

    status = 500
    code = "unserializable_output"


class StreamBroken(PotassiumError):
    """An answer that has begun cannot be sent to its end.

    Raised into the ASGI server, which then closes the connection: a client sees that it has not
    got all of it.
    """

    code = "stream_broken"


class DeadlineExceeded(PotassiumError):
    """The time that the handler, or the client, gives a call was over."""

    status = 504
    code = "deadline_exceeded"

    def __init__(self, detail: str = "The call did not finish in time.") -> None:
        """Keep ``detail``."""
        super().__init__(detail)


class Unavailable(PotassiumError):
    """The server cannot take this request now."""

    status = 503
    code = "unavailable"

    def __init__(self, detail: str, retry_after: int | None = None) -> None:
        """Keep ``retry_after``, seconds after which asking again may help, or None."""
        super().__init__(detail)
        self.retry_after = retry_after

    @property
    def headers(self) -> Mapping[str, str]:
        """Return ``Retry-After`` (RFC 9110, section 10.2.3) where waiting helps."""
        return {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}


class QueueFull(Unavailable):
    """The queue is at its limit."""

    code = "queue_full"


class Starting(Unavailable):
    """``init`` has not finished yet."""

    code = "starting"


class Draining(Unavailable):
    """The server is stopping and takes no new work."""

    code = "draining"


class WorkerFailed(Unavailable):
    """The GPU thread cannot serve any more; the process must be restarted."""

    code = "worker_failed"

    def __init__(self, detail: str = "The model can no longer be served.") -> None:
        """Keep ``detail``; waiting does not help."""
        super().__init__(detail)


class StoreFailed(Unavailable):
    """Background jobs cannot be stored or read now; the disk may be full, or gone."""

    code = "store_failed"


class OutOfMemory(Unavailable):
    """The accelerator's memory was not enough, also after what could be freed was."""

    code = "out_of_memory"
