"""How the chunks of a stream go over the wire: as lines of JSON, or as they are."""

from abc import ABC, abstractmethod
from typing import Any

from potassium.errors import UnserializableOutput
from potassium.http.codec import encode

__all__ = [
    "BUFFERS",
    "JSON_LINES",
    "JsonChunks",
    "JsonLines",
    "RawChunks",
    "StreamFormat",
    "WireHeaders",
    "as_text",
    "utf8",
]

WireHeaders = list[tuple[bytes, bytes]]

JSON_LINES = b"application/x-ndjson"

BUFFERS = (bytes, bytearray, memoryview)


class StreamFormat(ABC):
    """Encodes one stream's chunks, one after the other, and knows its status and headers.

    Attributes:
        status: the HTTP status.
        headers: what the app set itself.
        media_type: the content type, where the app has not set its own.
        defaults: other headers that are sent where the app has not set its own.
        end: what is sent after the last chunk.
        keep_alive: what may be sent while there is no chunk; None where nothing may.

    """

    media_type: bytes
    end = b""
    keep_alive: bytes | None = None
    defaults: tuple[tuple[bytes, bytes], ...] = (
        (b"x-accel-buffering", b"no"),  # proxies would collect an answer before they pass it on
    )

    def __init__(self) -> None:
        self.status = 200
        self.headers: WireHeaders = []

    @abstractmethod
    def encode(self, chunk: Any) -> bytes:
        """Return the bytes that stand for ``chunk``.

        Raises:
            UnserializableOutput: there are none.

        """

    def set_by_app(self, status: int, headers: WireHeaders) -> "StreamFormat":
        """Return the form for an answer whose status and headers the app has given.

        With a content type of its own it sends its chunks as they are.
        """
        form = RawChunks() if any(name == b"content-type" for name, _ in headers) else self
        form.status = status
        form.headers = headers
        return form

    def error(self, problem: bytes) -> bytes | None:  # noqa: ARG002 - for those that can tell
        """Return what tells of a failure in mid-stream; None where the form has no way to."""
        return None

    def head(self) -> WireHeaders:
        """Return the headers to send; complete once the first chunk was encoded."""
        own = {name for name, _ in self.headers}
        defaults = [*self.defaults, (b"content-type", self.media_type)]
        return self.headers + [header for header in defaults if header[0] not in own]


class RawChunks(StreamFormat):
    """``str`` in UTF-8, ``bytes`` as they are, anything else as a line of JSON.

    The first chunk decides on the content type, where the app has not.
    """

    media_type = b""

    def encode(self, chunk: Any) -> bytes:
        """Return the bytes that stand for ``chunk``."""
        if isinstance(chunk, str):
            data, media_type = utf8(chunk), b"text/plain; charset=utf-8"
        elif isinstance(chunk, BUFFERS):
            data, media_type = bytes(chunk), b"application/octet-stream"
        else:
            data, media_type = encode(chunk) + b"\n", JSON_LINES
        self.media_type = self.media_type or media_type
        return data

    def head(self) -> WireHeaders:
        """Return the headers to send."""
        self.media_type = self.media_type or b"application/octet-stream"
        return super().head()


class JsonLines(StreamFormat):
    """A JSON value in each line (ndjson); ``bytes`` must be text in UTF-8."""

    media_type = JSON_LINES

    def encode(self, chunk: Any) -> bytes:
        """Return the line that stands for ``chunk``."""
        return encode(as_text(chunk) if isinstance(chunk, BUFFERS) else chunk) + b"\n"


class JsonChunks(JsonLines):
    """A JSON value for each chunk, whatever the app says: how a background job keeps them."""

    def encode(self, chunk: Any) -> bytes:
        """Return the value that stands for ``chunk``."""
        return super().encode(chunk)[:-1]

    def set_by_app(self, status: int, headers: WireHeaders) -> StreamFormat:  # noqa: ARG002
        """Return this form: nobody sees the status and the headers of a job's answer."""
        return self


def utf8(text: str) -> bytes:
    """Return ``text`` in UTF-8.

    Raises:
        UnserializableOutput: there is half of a surrogate pair in it.

    """
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise UnserializableOutput("A chunk contains half of a surrogate pair.") from None


def as_text(chunk: bytes | bytearray | memoryview) -> str:
    """Return ``chunk`` as the text in UTF-8 that it holds.

    Raises:
        UnserializableOutput: it is no such text.

    """
    try:
        return str(chunk, "utf-8")
    except UnicodeDecodeError:
        raise UnserializableOutput(
            "A chunk of bytes is not text in UTF-8, which this form of stream needs; ask for the "
            "raw form, with Accept: */*."
        ) from None
