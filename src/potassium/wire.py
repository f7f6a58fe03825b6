"""How the chunks of a stream go over the wire: as events, as lines of JSON, or as they are."""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any

from potassium.codec import encode
from potassium.errors import UnserializableOutput

__all__ = ["Events", "JsonChunks", "JsonLines", "Raw", "Wire", "wire_of"]

Headers = list[tuple[bytes, bytes]]

EVENTS = b"text/event-stream"
JSON_LINES = b"application/x-ndjson"

BUFFERS = (bytes, bytearray, memoryview)
LINE_BREAK = re.compile(r"\r\n|\r|\n")


class Wire(ABC):
    """Encodes one stream's chunks, one after the other, and knows its status and headers.

    Attributes:
        status: the HTTP status.
        headers: what the app set itself.
        defaults: headers that are sent where the app has not set its own.

    """

    media_type: bytes
    defaults: tuple[tuple[bytes, bytes], ...] = (
        (b"x-accel-buffering", b"no"),  # proxies would collect an answer before they pass it on
    )

    def __init__(self) -> None:
        """Begin with status 200 and no headers of the app's."""
        self.status = 200
        self.headers: Headers = []

    @abstractmethod
    def encode(self, chunk: Any) -> bytes:
        """Return the bytes that stand for ``chunk``.

        Raises:
            UnserializableOutput: there are none.

        """

    def set_by_app(self, status: int, headers: Headers) -> "Wire":
        """Return the form for an answer whose status and headers the app has given.

        With a content type of its own it sends its chunks as they are.
        """
        wire = Raw() if any(name == b"content-type" for name, _ in headers) else self
        wire.status = status
        wire.headers = headers
        return wire

    def head(self) -> Headers:
        """Return the headers to send; complete once the first chunk was encoded."""
        own = {name for name, _ in self.headers}
        defaults = [*self.defaults, (b"content-type", self.media_type)]
        return self.headers + [header for header in defaults if header[0] not in own]


class Raw(Wire):
    """``str`` in UTF-8, ``bytes`` as they are, anything else as a line of JSON.

    The first chunk decides on the content type, where the app has not.
    """

    media_type = b""

    def encode(self, chunk: Any) -> bytes:
        """Return the bytes that stand for ``chunk``."""
        if isinstance(chunk, str):
            data, media_type = _utf8(chunk), b"text/plain; charset=utf-8"
        elif isinstance(chunk, BUFFERS):
            data, media_type = bytes(chunk), b"application/octet-stream"
        else:
            data, media_type = encode(chunk) + b"\n", JSON_LINES
        self.media_type = self.media_type or media_type
        return data

    def head(self) -> Headers:
        """Return the headers to send."""
        self.media_type = self.media_type or b"application/octet-stream"
        return super().head()


class JsonLines(Wire):
    """A JSON value in each line (ndjson); ``bytes`` have to be text in UTF-8."""

    media_type = JSON_LINES

    def encode(self, chunk: Any) -> bytes:
        """Return the line that stands for ``chunk``."""
        return encode(_text(chunk) if isinstance(chunk, BUFFERS) else chunk) + b"\n"


class JsonChunks(JsonLines):
    """A JSON value for each chunk, whatever the app says: how a background job keeps them."""

    def encode(self, chunk: Any) -> bytes:
        """Return the value that stands for ``chunk``."""
        return super().encode(chunk)[:-1]

    def set_by_app(self, status: int, headers: Headers) -> Wire:  # noqa: ARG002
        """Return this form: nobody sees the status and the headers of a job's answer."""
        return self


class Events(Wire):
    """Server-sent events (WHATWG HTML, section 9.2): ``str`` as it is, anything else as JSON.

    Each chunk is an event with an ``id`` that counts up from 1. The last event is ``end``, or
    ``error`` with the problem document.
    """

    media_type = EVENTS
    defaults = (*Wire.defaults, (b"cache-control", b"no-cache"))
    KEEP_ALIVE = b": keep-alive\n\n"
    END = b"event: end\ndata:\n\n"

    def __init__(self) -> None:
        """Begin to count."""
        super().__init__()
        self._count = 0

    def encode(self, chunk: Any) -> bytes:
        """Return the event that stands for ``chunk``."""
        if isinstance(chunk, BUFFERS):
            chunk = _text(chunk)
        data = _lines(chunk) if isinstance(chunk, str) else b"data: %b\n" % encode(chunk)
        self._count += 1
        return b"id: %d\n%b\n" % (self._count, data)

    @staticmethod
    def error(problem: bytes) -> bytes:
        """Return the event that ends a stream which failed."""
        return b"event: error\ndata: %b\n\n" % problem


def wire_of(headers: Iterable[tuple[bytes, bytes]]) -> Wire:
    """Return the form that a request's ``Accept`` asks for (RFC 9110, section 12.5.1).

    Of the two that have a name the preferred one; raw where it names neither.
    """
    best: tuple[float, type[Wire]] = (0.0, Raw)
    for name, value in headers:
        if name == b"accept":
            for media_range in value.lower().split(b","):
                media_type, *parameters = media_range.split(b";")
                kind = FORMS.get(media_type.strip())
                quality = _quality(parameters)
                if kind is not None and quality > best[0]:
                    best = (quality, kind)
    return best[1]()


FORMS: Mapping[bytes, type[Wire]] = {EVENTS: Events, JSON_LINES: JsonLines}


def _quality(parameters: Iterable[bytes]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition(b"=")
        if name.strip() == b"q":
            try:
                return float(value)
            except ValueError:
                return 0
    return 1


def _lines(text: str) -> bytes:
    if "\n" not in text and "\r" not in text:
        return b"data: %b\n" % _utf8(text)
    return b"".join(b"data: %b\n" % _utf8(line) for line in LINE_BREAK.split(text))


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise UnserializableOutput("A chunk has half of a surrogate pair in it.") from None


def _text(chunk: bytes | bytearray | memoryview) -> str:
    try:
        return str(chunk, "utf-8")
    except UnicodeDecodeError:
        raise UnserializableOutput(
            "A chunk of bytes is not text in UTF-8, which this form of stream needs; ask for the "
            "raw form, with Accept: */*."
        ) from None
