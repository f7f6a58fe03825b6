"""Reads a server's bytes as strictly as a hostile client would."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

STATUS_LINE = re.compile(rb"HTTP/1\.1 ([1-9][0-9][0-9]) [ -~]*")
FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9a-z-]+): ([^\0\r\n]*)")


@dataclass
class Response:
    """A response as it was received; ``complete`` is false for one that was cut off."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes = b""
    complete: bool = True
    closes: bool = field(default=False)


def responses(data: bytes, methods: Iterable[str] = ()) -> list[Response]:
    """Return all responses in ``data``, interim ones too; raise AssertionError for anything else.

    ``methods`` are those of the requests, in order; GET for all that are not given.
    """
    found, awaited = [], iter(methods)
    method: str | None = None
    while data:
        head, end, rest = data.partition(b"\r\n\r\n")
        if not end:
            found.append(Response(0, {}, head, complete=False))
            break
        one = _head(head)
        method = method or next(awaited, "GET")
        data = rest
        if one.status >= 200:
            data = _content(one, rest, method)
            method = None
        found.append(one)
    return found


def _head(head: bytes) -> Response:
    first, *fields = head.split(b"\r\n")
    line = STATUS_LINE.fullmatch(first)
    assert line, first
    headers: dict[bytes, bytes] = {}
    for one in fields:
        match = FIELD.fullmatch(one)
        assert match, one
        assert match[1] not in headers or match[1] in (b"x-two", b"set-cookie"), one
        headers[match[1]] = match[2]
    assert not {b"content-length", b"transfer-encoding"} <= headers.keys(), headers
    return Response(int(line[1]), headers, closes=headers.get(b"connection") == b"close")


def _content(one: Response, data: bytes, method: str) -> bytes:
    """Take the content of ``one`` from ``data``, and return what follows."""
    if method == "HEAD" or one.status in (204, 304):
        return data
    if b"content-length" in one.headers:
        length = int(one.headers[b"content-length"])
        one.body, one.complete = data[:length], len(data) >= length
        return data[length:]
    if b"transfer-encoding" not in one.headers:
        assert one.closes, "nothing says where this response ends"
        one.body = data
        return b""
    while True:
        line, end, data = data.partition(b"\r\n")
        size = int(line, 16) if end else 0
        if not end or len(data) < size + 2:
            one.complete = False
            return b""
        assert data[size : size + 2] == b"\r\n"
        one.body, data = one.body + data[:size], data[size + 2 :]
        if not size:
            return data
