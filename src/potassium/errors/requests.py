"""Errors that the client can correct, or has caused by cancelling or disconnecting."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from potassium.errors.base import PotassiumError

__all__ = [
    "BodyTimeout",
    "BodyTooLarge",
    "ClientLeft",
    "HeadTooLarge",
    "IdempotencyKeyReused",
    "InvalidInput",
    "JobCancelled",
    "JobHasEnded",
    "JobNotFound",
    "MalformedEncoding",
    "MalformedForm",
    "MalformedJSON",
    "MalformedRequest",
    "NotAcceptable",
    "RangeNotSatisfiable",
    "Unauthorized",
    "UnsupportedEncoding",
    "UnsupportedMediaType",
    "WebhookUrlRefused",
]


class MalformedRequest(PotassiumError):
    """The request is not valid HTTP/1.1 (RFC 9112)."""

    status = 400
    code = "malformed_request"
    default_detail = "This is not an HTTP/1.1 request."


class MalformedJSON(PotassiumError):
    """The body is not UTF-8 encoded JSON (RFC 8259), or exceeds a limit of the parser."""

    status = 400
    code = "malformed_json"


class MalformedForm(PotassiumError):
    """The body is not the form that its ``Content-Type`` says (RFC 7578), or is not UTF-8."""

    status = 400
    code = "malformed_form"


class MalformedEncoding(PotassiumError):
    """The body is not what its ``Content-Encoding`` says: it is damaged, or it ends too early."""

    status = 400
    code = "malformed_encoding"


class Unauthorized(PotassiumError):
    """API keys are configured, and the request has none or a wrong one."""

    status = 401
    code = "unauthorized"
    extra_headers = MappingProxyType({"WWW-Authenticate": "Bearer"})  # RFC 9110, section 11.6.1


class JobNotFound(PotassiumError):
    """No background job has this id, or the job has ended and has been deleted since."""

    status = 404
    code = "not_found"


class NotAcceptable(PotassiumError):
    """The result has no form that the request's ``Accept`` allows (RFC 9110, section 15.5.7)."""

    status = 406
    code = "not_acceptable"


class JobHasEnded(PotassiumError):
    """The current state of the background job does not allow the requested action."""

    status = 409
    code = "job_has_ended"


class BodyTimeout(PotassiumError):
    """The body arrives too slowly, see ``Limits.body_timeout``."""

    status = 408
    code = "body_timeout"
    closes = True  # the rest of this body may still arrive on the connection


class BodyTooLarge(PotassiumError):
    """The body exceeds the handler's ``body_size``, or ``Limits.json_values``."""

    status = 413
    code = "body_too_large"


class UnsupportedMediaType(PotassiumError):
    """The body has a media type that the handler does not take."""

    status = 415
    code = "unsupported_media_type"

    def __init__(self, detail: str, media_types: Sequence[str] = ("application/json",)) -> None:
        """Take ``media_types``, those that the handler takes."""
        super().__init__(detail)
        self._media_types = media_types

    @property
    def headers(self) -> Mapping[str, str]:
        """What the handler takes (RFC 9110, section 15.5.16)."""
        return {**super().headers, "Accept": ", ".join(self._media_types)}


class UnsupportedEncoding(PotassiumError):
    """The body has a content coding that cannot be undone (RFC 9110, section 15.5.16)."""

    status = 415
    code = "unsupported_encoding"

    def __init__(self, detail: str, accepted: Sequence[str] = ("identity",)) -> None:
        """Take the content codings that are ``accepted``, for ``Accept-Encoding`` (RFC 7694)."""
        super().__init__(detail)
        self.accepted = accepted

    @property
    def headers(self) -> Mapping[str, str]:
        """``Accept-Encoding``: what to send instead."""
        return {**super().headers, "Accept-Encoding": ", ".join(self.accepted)}


class RangeNotSatisfiable(PotassiumError):
    """The range is not within the content (RFC 9110, section 15.5.17)."""

    status = 416
    code = "range_not_satisfiable"

    def __init__(self, size: int) -> None:
        """Take the ``size`` of the content, in bytes."""
        super().__init__(f"The content has {size} bytes.")
        self.size = size

    @property
    def headers(self) -> Mapping[str, str]:
        """``Content-Range``, with the size."""
        return {**super().headers, "Content-Range": f"bytes */{self.size}"}


class HeadTooLarge(PotassiumError):
    """The request head, or the trailers, exceed ``Limits.head_size``."""

    status = 431
    code = "head_too_large"
    default_detail = "The head of the request is too large."


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
    default_detail = "The job was cancelled."


class ClientLeft(PotassiumError):
    """The client closed its connection before it got its response."""

    status = 499
    code = "client_left"
