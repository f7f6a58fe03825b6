"""Response heads as they go over the wire (RFC 9112, sections 4 and 5)."""

from collections.abc import Iterable
from http import HTTPStatus
from typing import NamedTuple

__all__ = ["ResponseHead", "response_head"]

STATUS_LINES = {one.value: f"HTTP/1.1 {one.value} {one.phrase}\r\n".encode() for one in HTTPStatus}
WITHOUT_CONTENT = frozenset({204, 304})  # whatever the head says (RFC 9112, section 6.3)


class ResponseHead(NamedTuple):
    """An encoded response head, and what follows from it.

    Attributes:
        encoded: the status line and the header fields, with the empty line.
        length: how many bytes of content are announced; None if the head does not say.
        is_chunked: whether the content is sent in chunks (RFC 9112, section 7.1).
        closes: whether the connection is closed after the response.

    """

    encoded: bytes
    length: int | None
    is_chunked: bool
    closes: bool


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
    length, the content is sent in chunks, or until the connection is closed if ``may_chunk`` is
    false, as HTTP/1.0 knows no chunks.

    Raises:
        RuntimeError: a header contains a line break, which would end it.

    """
    lines = [STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status, defaults]
    length: int | None = None
    is_chunked = asked_to_close = False
    for name, value in headers:
        lowered = name.lower()
        if lowered == b"content-length":
            length = int(value)
        elif lowered == b"transfer-encoding":
            is_chunked = may_chunk
            continue
        elif lowered == b"connection" and b"close" in value.lower():
            closes = asked_to_close = True
        lines.append(b"%b: %b\r\n" % (lowered, value))
    if status in WITHOUT_CONTENT:
        length, is_chunked = 0, False
    elif is_chunked or length is None:
        length, is_chunked = None, may_chunk
        closes = closes or not may_chunk
        if may_chunk:
            lines.append(b"transfer-encoding: chunked\r\n")
    if closes and not asked_to_close:
        lines.append(b"connection: close\r\n")
    lines.append(b"\r\n")
    encoded = b"".join(lines)
    breaks = defaults.count(b"\n") + len(lines) - 1
    if encoded.count(b"\n") != breaks or encoded.count(b"\r") != breaks or b"\0" in encoded:
        raise RuntimeError("A response header contains a line break.")
    return ResponseHead(encoded, length, is_chunked, closes)
