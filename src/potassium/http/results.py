"""The response for what a handler returns."""

import copy
from collections.abc import Iterable
from typing import Any

import starlette.responses

from potassium.errors import UnserializableOutput
from potassium.http.codec import encode
from potassium.http.foreign_reply import foreign_reply
from potassium.http.reply import JSON, DescribedReply, OwnReply, Reply, wire_headers
from potassium.http.representations.choice import ONLY_JSON, chosen, kind_of
from potassium.http.representations.form import Form
from potassium.http.response import NOT_GIVEN, Response

__all__ = ["is_bound", "reply_to", "set_aside", "size_of", "takes_a_while"]

RequestHeaders = Iterable[tuple[bytes, bytes]]

SMALL = 64 * 1024  # bytes of an array that is encoded at once
BYTES = (b"content-type", b"application/octet-stream")
TEXT = (b"content-type", b"text/plain; charset=utf-8")
VARIES = (b"vary", b"Accept")  # RFC 9110, section 12.5.5


def reply_to(result: Any, headers: RequestHeaders = (), *, is_strict: bool = True) -> Reply:
    """Return the response for a handler's ``result``.

    ``bytes`` (and ``bytearray`` and ``memoryview``) are sent unchanged, a ``Response`` as it
    specifies, a picture, a figure, sound, an array or a table in the form that ``headers`` prefer,
    anything else as JSON.

    Args:
        result: what the handler returned.
        headers: those of the request, names in lower case.
        is_strict: whether to refuse a request that accepts no form of the result.

    Raises:
        UnserializableOutput: the result cannot be encoded.
        NotAcceptable: the request accepts no form of the result.

    """
    kind = type(result)
    if kind in ONLY_JSON:
        return Reply(200, encode(result), JSON)
    if kind is Response:
        return _reply_to_response(result, headers, is_strict=is_strict)
    if kind in (bytes, bytearray, memoryview):
        return Reply(200, bytes(result), BYTES)
    if isinstance(result, starlette.responses.Response):
        return foreign_reply(result)
    form = _form_of(result, headers, is_strict=is_strict)
    if form is None:
        return Reply(200, encode(result), JSON)
    return Reply(200, form.encode(result), _content_type(form), VARIES)


def set_aside(result: Any) -> Any:
    """Return what may be encoded in place of ``result`` on another thread, or None.

    The app may change ``result`` meanwhile. None is returned for what is encoded faster than it is
    copied, and for what has to be encoded on its own thread.
    """
    if type(result) is Response:
        body = set_aside(result.body)
        if body is None:
            return None
        response = copy.copy(result)
        response.body = body
        return response
    kind = kind_of(result)
    return None if kind is None or kind.aside is None else kind.aside(result)


def is_bound(result: Any) -> bool:
    """Return whether ``result`` must be encoded on the thread that made it."""
    kind = kind_of(result.body if type(result) is Response else result)
    return kind is not None and kind.is_bound


def takes_a_while(result: Any) -> bool:
    """Return whether another thread than that of the event loop should encode ``result``."""
    if type(result) is Response:
        result = result.body
    kind, size = kind_of(result), size_of(result)
    return kind is not None and not kind.is_bound and (size is None or size >= SMALL)


def size_of(value: Any) -> int | None:
    """Return how many bytes an array or a tensor has; None if that is not known."""
    try:
        size = value.nbytes
    except (AttributeError, RuntimeError):  # RuntimeError of a sparse tensor
        return None
    return size if isinstance(size, int) else None


def _reply_to_response(response: Response, asked: RequestHeaders, *, is_strict: bool) -> Reply:
    headers = wire_headers(response.headers)
    given = dict(headers).get(b"content-type")
    body = response.body
    if response.json is not NOT_GIVEN:
        return _complete(DescribedReply, response, encode(response.json), headers, JSON)
    if isinstance(body, str):
        return _complete(OwnReply, response, body.encode(), headers, TEXT)
    if isinstance(body, bytes | None):
        return _complete(OwnReply, response, body or b"", headers, BYTES)
    form = _form_named(given, body) if given else _form_of(body, asked, is_strict=is_strict)
    assert form is not None  # noqa: S101 - Response has checked it
    if not given:
        headers.append(VARIES)
    return _complete(DescribedReply, response, form.encode(body), headers, _content_type(form))


def _complete(
    kind: type[Reply],
    response: Response,
    body: bytes,
    headers: list[tuple[bytes, bytes]],
    content_type: tuple[bytes, bytes],
) -> Reply:
    if body and not any(name == b"content-type" for name, _ in headers):
        headers.append(content_type)
    return kind(response.status, body, *headers)


def _form_of(value: Any, headers: RequestHeaders, *, is_strict: bool) -> Form | None:
    """Return the form of a value that the request prefers; None if there is only JSON."""
    kind = kind_of(value)
    return None if kind is None else chosen(kind.forms, headers, is_strict=is_strict)


def _form_named(content_type: bytes, value: Any) -> Form:
    """Return the form of a value that has the content type which the app has set."""
    media_type = content_type.partition(b";")[0].strip().lower().decode("latin-1")
    kind = kind_of(value)
    assert kind is not None  # noqa: S101 - as above
    for form in kind.forms:
        if form.media_type == media_type:
            return form
    names = ", ".join(form.media_type for form in kind.forms)
    raise UnserializableOutput(f"{kind.name} can be sent as {names}, not as {media_type}.")


def _content_type(form: Form) -> tuple[bytes, bytes]:
    return b"content-type", form.media_type.encode()
