"""Response heads as they are sent (RFC 9112, sections 4 and 5)."""

from collections.abc import Iterable
from http import HTTPStatus
from typing import NamedTuple

__all__ = ["ResponseHead", "response_head"]

LOWEST, HIGHEST = 200, 999  # an informational status does not end a request
STATUS_LINES = {
    one.value: f"HTTP/1.1 {one.value} {one.phrase}\r\n".encode()
    for one in HTTPStatus
    if one.value >= LOWEST
}
NO_CONTENT = 204
FRAMING = frozenset({b"content-length", b"transfer-encoding"})
WITHOUT_CONTENT = frozenset({NO_CONTENT, 304})  # whatever the head says (RFC 9112, section 6.3)


class ResponseHead(NamedTuple):
    """An encoded response head, and how its content is framed.

    Attributes:
        encoded: the status line and the header fields, with the empty line.
        length: number of bytes of content that the head announces, or None.
        is_chunked: whether the content is sent in chunks (RFC 9112, section 7.1).
        closes: whether the connection is closed after the response.
        is_empty: whether no content follows, regardless of the head.

    """

    encoded: bytes
    length: int | None
    is_chunked: bool
    closes: bool
    is_empty: bool


def response_head(
    status: int,
    headers: Iterable[tuple[bytes, bytes]],
    defaults: bytes,
    *,
    closes: bool,
    may_chunk: bool,
) -> ResponseHead:
    """Encode a response head.

    ``defaults`` are encoded fields that the server adds, such as ``Date``. If ``headers`` give no
    length, the content is sent in chunks. If ``may_chunk`` is false, because HTTP/1.0 has no
    chunks, the content ends when the connection is closed.

    Raises:
        RuntimeError: the status is not that of a final response, the length is not a single number,
            or a header contains a line break, which would end it.

    """
    lines = [STATUS_LINES.get(status) or _status_line(status), defaults]
    is_empty = status in WITHOUT_CONTENT
    length: int | None = None
    asked_to_close = False
    for name, value in headers:
        lowered = name.lower()
        if lowered in FRAMING:
            if lowered == b"content-length":
                length = _checked_length(value, length)
            if lowered == b"transfer-encoding" or status == NO_CONTENT:
                continue  # the app does not decide how content is framed
        elif lowered == b"connection" and b"close" in value.lower():
            closes = asked_to_close = True
        lines.append(b"%b: %b\r\n" % (lowered, value))
    is_chunked = length is None and may_chunk and not is_empty
    if is_chunked:
        lines.append(b"transfer-encoding: chunked\r\n")
    elif is_empty:
        length = 0
    elif length is None:
        closes = True
    if closes and not asked_to_close:
        lines.append(b"connection: close\r\n")
    lines.append(b"\r\n")
    encoded = b"".join(lines)
    _check_breaks(encoded, defaults.count(b"\n") + len(lines) - 1)
    return ResponseHead(encoded, length, is_chunked, closes, is_empty)


def _status_line(status: int) -> bytes:
    if not LOWEST <= status <= HIGHEST:
        raise RuntimeError(f"{status} is not the status of a response.")
    return f"HTTP/1.1 {status:d} \r\n".encode()


def _checked_length(value: bytes, other: int | None) -> int:
    if other is not None or not value.isdigit():
        raise RuntimeError("The Content-Length of the response is not one number.")
    return int(value)


def _check_breaks(encoded: bytes, breaks: int) -> None:
    if encoded.count(b"\n") != breaks or encoded.count(b"\r") != breaks or b"\0" in encoded:
        raise RuntimeError("A response header contains a line break.")
