"""Server-sent events (WHATWG HTML, section 9.2): all of their framing."""

import re
from typing import Any

from potassium.http.codec import encode
from potassium.http.stream_formats import TextFormat, utf8

__all__ = ["EVENTS", "KEEP_ALIVE", "KEEP_ALIVE_INTERVAL", "ServerSentEvents", "event"]

EVENTS = b"text/event-stream"
KEEP_ALIVE = b": keep-alive\n\n"
KEEP_ALIVE_INTERVAL = 15.0  # seconds without an event after which KEEP_ALIVE is sent
LINE_BREAK = re.compile(r"\r\n|\r|\n")


class ServerSentEvents(TextFormat):
    """A stream whose chunks are events: ``str`` is sent unchanged, anything else as JSON.

    Each chunk is an event with an ``id`` that counts up from 1. The last event is ``end``, or
    ``error`` with the problem document.
    """

    media_type = EVENTS
    defaults = (*TextFormat.defaults, (b"cache-control", b"no-cache"))
    end = b"event: end\ndata:\n\n"
    keep_alive = KEEP_ALIVE

    def __init__(self) -> None:
        super().__init__()
        self._count = 0

    def encode(self, chunk: Any) -> bytes:
        """Return ``chunk`` as an event."""
        chunk = self.as_text(chunk)
        data = _lines(chunk) if isinstance(chunk, str) else b"data: %b\n" % encode(chunk)
        self._count += 1
        return b"id: %d\n%b\n" % (self._count, data)

    def error(self, problem: bytes) -> bytes:
        """Return the event that ends a failed stream, with the problem document."""
        return b"event: error\ndata: %b\n\n" % problem


def event(number: int, kind: str, data: bytes) -> bytes:
    """Return an event of type ``kind`` with the id ``number``; ``data`` is a single line."""
    return b"id: %d\nevent: %b\ndata: %b\n\n" % (number, kind.encode(), data)


def _lines(text: str) -> bytes:
    if "\n" not in text and "\r" not in text:
        return b"data: %b\n" % utf8(text)
    return b"".join(b"data: %b\n" % utf8(line) for line in LINE_BREAK.split(text))
