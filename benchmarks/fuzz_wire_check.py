"""Check that what a server sends is HTTP/1.1, whatever it was sent."""

import re

from fuzz_wire_input import WireInput

STATUS_LINE = re.compile(rb"HTTP/1\.1 ([1-9][0-9][0-9]) [ -~]*")
FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9a-z-]+): ([^\0\r\n]*)")
CONTINUE, FINAL = 100, 200
WITHOUT_CONTENT = (204, 304)
INTERNAL = 500


class Malformed(Exception):
    """What a server sent is no HTTP."""


def wire_faults(given: WireInput, received: bytes, *, was_closed: bool) -> tuple[list[int], str]:
    """Return the statuses of all responses, and what is wrong with them, if anything."""
    statuses: list[int] = []
    closes = False
    data = received
    try:
        while data:
            method = given.methods[len(statuses)] if len(statuses) < len(given.methods) else "GET"
            status, closes, data = _response(data, method)
            if status >= FINAL:
                statuses.append(status)
            elif status != CONTINUE:
                return statuses, f"an interim response {status}"
            if closes and data:
                return statuses, f"something after the last response: {data[:80]!r}"
    except Malformed as malformed:
        # A client that resets or closes does not care, and no other is cut off.
        return statuses, "" if given.end in ("close", "reset") else str(malformed)
    if not was_closed:
        return statuses, "the server did not close the connection"
    if given.responses is not None and len(statuses) != given.responses and not closes:
        return statuses, f"{len(statuses)} responses to {given.responses} requests"
    return statuses, ""


def _response(data: bytes, method: str) -> tuple[int, bool, bytes]:
    """Return the status of the first response, whether it is the last one, and what follows it."""
    head, end, rest = data.partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    status_line, fields = STATUS_LINE.fullmatch(first), [FIELD.fullmatch(line) for line in lines]
    if not end or not status_line or None in fields:
        raise Malformed(f"not a response: {data[:200]!r}")
    pairs = [(match[1], match[2]) for match in fields if match]
    headers = dict(pairs)
    if len(headers) != len(pairs):
        raise Malformed(f"a field twice: {head!r}")
    status = int(status_line[1])
    closes = headers.get(b"connection") == b"close"
    if status < FINAL:
        return status, False, rest
    if method == "HEAD" or status in WITHOUT_CONTENT:
        return status, closes, rest
    if status == INTERNAL and b"unserializable_output" not in rest:  # too deep, as documented
        raise Malformed(f"an internal error: {rest[:300]!r}")
    if headers.get(b"transfer-encoding") == b"chunked":
        if b"content-length" in headers:
            raise Malformed(f"a length and chunks: {head!r}")
        return status, closes, _after_chunks(rest)
    if b"content-length" not in headers:
        return status, closes, b"" if closes else rest
    length = int(headers[b"content-length"])
    if len(rest) < length:
        raise Malformed(f"{len(rest)} bytes of {length}: {data[:300]!r}")
    return status, closes, rest[length:]


def _after_chunks(data: bytes) -> bytes:
    while True:
        line, _, data = data.partition(b"\r\n")
        size = int(line, 16) if re.fullmatch(rb"[0-9a-f]+", line) else -1
        if size < 0 or data[size : size + 2] != b"\r\n":
            raise Malformed(f"not a chunk: {line[:80]!r}")
        data = data[size + 2 :]
        if not size:
            return data
