"""How the chunks of a stream are encoded: as lines of JSON, or raw."""

import codecs
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
    "TextFormat",
    "WireHeaders",
    "utf8",
]

WireHeaders = list[tuple[bytes, bytes]]

JSON_LINES = b"application/x-ndjson"

BUFFERS = (bytes, bytearray, memoryview)


class StreamFormat(ABC):
    """Encodes one stream's chunks in order, and holds its status and headers.

    Attributes:
        status: the HTTP status.
        headers: the headers that the app has set.
        media_type: the content type, unless the app has set its own.
        defaults: other headers to send, unless the app has set its own.
        end: the bytes to send after the last chunk.
        keep_alive: bytes that may be sent while there is no chunk; None if the format has none.

    """

    media_type: bytes
    end = b""
    keep_alive: bytes | None = None
    defaults: tuple[tuple[bytes, bytes], ...] = (
        (b"x-accel-buffering", b"no"),  # otherwise proxies buffer the response and pass it on late
    )

    def __init__(self) -> None:
        self.status = 200
        self.headers: WireHeaders = []

    @abstractmethod
    def encode(self, chunk: Any) -> bytes:
        """Return ``chunk`` encoded.

        Raises:
            UnserializableOutput: the chunk cannot be encoded.

        """

    def check_complete(self) -> None:  # noqa: B027 - most are complete after any chunk
        """Check that nothing is missing after the last chunk.

        Raises:
            UnserializableOutput: half of a character is.

        """

    def set_by_app(self, status: int, headers: WireHeaders) -> "StreamFormat":
        """Return the format for a response whose status and headers the app has set.

        If the headers set a content type, the chunks are sent raw.
        """
        form = RawChunks() if any(name == b"content-type" for name, _ in headers) else self
        form.status = status
        form.headers = headers
        return form

    def error(self, problem: bytes) -> bytes | None:  # noqa: ARG002 - for those that can tell
        """Return the bytes that report a failure mid-stream; None if the format cannot."""
        return None

    def head(self) -> WireHeaders:
        """Return the headers to send; complete once the first chunk is encoded."""
        own = {name for name, _ in self.headers}
        defaults = [*self.defaults, (b"content-type", self.media_type)]
        return self.headers + [header for header in defaults if header[0] not in own]


class RawChunks(StreamFormat):
    """Sends ``str`` in UTF-8, ``bytes`` unchanged, anything else as a line of JSON.

    The first chunk determines the content type, unless the app has set one.
    """

    media_type = b""

    def encode(self, chunk: Any) -> bytes:
        """Return ``chunk`` encoded."""
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


class TextFormat(StreamFormat):
    """Sends ``bytes`` as text, which they must be, in UTF-8.

    A model's tokens may end in the middle of a character. Its first bytes are then sent together
    with the rest of it, in the next chunk.
    """

    def __init__(self) -> None:
        super().__init__()
        self._decoder = codecs.getincrementaldecoder("utf-8")()

    def check_complete(self) -> None:
        """Check that the last character is complete."""
        if self._decoder.getstate()[0]:
            raise UnserializableOutput("The stream of bytes ends in the middle of a character.")

    def as_text(self, chunk: Any) -> Any:
        """Return the text of a chunk of bytes, and any other chunk as it is."""
        if not isinstance(chunk, BUFFERS):
            self.check_complete()
            return chunk
        try:
            return self._decoder.decode(bytes(chunk))
        except UnicodeDecodeError:
            raise UnserializableOutput(
                "A chunk of bytes is not UTF-8 text, which this stream format requires; request "
                "the raw format with Accept: */*."
            ) from None


class JsonLines(TextFormat):
    """Sends one JSON value per line (ndjson)."""

    media_type = JSON_LINES

    def encode(self, chunk: Any) -> bytes:
        """Return ``chunk`` as a line of JSON."""
        return encode(self.as_text(chunk)) + b"\n"


class JsonChunks(JsonLines):
    """One JSON value per chunk, whatever the app sets: how a background job stores its stream."""

    def encode(self, chunk: Any) -> bytes:
        """Return ``chunk`` as a JSON value."""
        return super().encode(chunk)[:-1]

    def set_by_app(self, status: int, headers: WireHeaders) -> StreamFormat:  # noqa: ARG002
        """Return this format: nobody sees the status and headers of a job's response."""
        return self


def utf8(text: str) -> bytes:
    """Return ``text`` in UTF-8.

    Raises:
        UnserializableOutput: ``text`` contains half of a surrogate pair.

    """
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise UnserializableOutput("A chunk contains half of a surrogate pair.") from None
