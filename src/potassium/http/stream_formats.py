"""How the chunks of a stream are encoded: as lines of JSON, or raw."""

import codecs
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any

from potassium.errors import UnserializableOutput
from potassium.http.codec import encode
from potassium.http.representations.choice import file_form

__all__ = [
    "BUFFERS",
    "JSON_LINES",
    "JsonChunks",
    "JsonLines",
    "MixedReplace",
    "RawChunks",
    "StreamFormat",
    "TextFormat",
    "WireHeaders",
    "utf8",
]

WireHeaders = list[tuple[bytes, bytes]]

JSON_LINES = b"application/x-ndjson"

MIXED_REPLACE = b"multipart/x-mixed-replace; boundary=frame"
JPEG_AT_LAST = (b"accept", b"image/jpeg;q=0.001")  # rather than PNG, which takes longer

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

        If the headers set a content type, the chunks are sent raw, and pictures in that type.
        """
        content_type = dict(headers).get(b"content-type")
        form = self if content_type is None else _raw(content_type)
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
    """Sends ``str`` in UTF-8, ``bytes`` unchanged, pictures and sound as files.

    Anything else is sent as a line of JSON. The first chunk determines the content type, unless the
    app has set one.

    Args:
        asked: the headers of the request, whose ``Accept`` says in which form a picture is sent.

    """

    media_type = b""

    def __init__(self, asked: Iterable[tuple[bytes, bytes]] = ()) -> None:
        super().__init__()
        self._asked = asked

    def encode(self, chunk: Any) -> bytes:
        """Return ``chunk`` encoded."""
        data, media_type = self._encoded(chunk)
        if media_type == JSON_LINES:
            data += b"\n"
        self.media_type = self.media_type or media_type
        return data

    def _encoded(self, chunk: Any) -> tuple[bytes, bytes]:
        """Return the content of a chunk, and its content type."""
        if isinstance(chunk, str):
            return utf8(chunk), b"text/plain; charset=utf-8"
        if isinstance(chunk, BUFFERS):
            return bytes(chunk), b"application/octet-stream"
        form = file_form(chunk, self._asked)
        if form is not None:
            return form.encode(chunk), form.media_type.encode()
        return encode(chunk), JSON_LINES

    def head(self) -> WireHeaders:
        """Return the headers to send."""
        self.media_type = self.media_type or b"application/octet-stream"
        return super().head()


class MixedReplace(RawChunks):
    """Sends each chunk as a part that replaces the one before: pictures that a browser shows.

    See https://html.spec.whatwg.org/multipage/browsing-the-web.html#read-multipart-x-mixed-replace.

    Args:
        content_type: that of the stream, with its boundary.

    """

    def __init__(
        self, asked: Iterable[tuple[bytes, bytes]] = (), content_type: bytes = MIXED_REPLACE
    ) -> None:
        super().__init__([*asked, JPEG_AT_LAST])
        self.media_type = content_type
        self._boundary = _boundary(content_type)
        self.end = b"--%b--\r\n" % self._boundary

    def encode(self, chunk: Any) -> bytes:
        """Return ``chunk`` as a part."""
        data, media_type = self._encoded(chunk)
        media_type = b"application/json" if media_type == JSON_LINES else media_type
        head = (self._boundary, media_type, len(data))
        return b"--%b\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n%b\r\n" % (*head, data)


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


def _raw(content_type: bytes) -> StreamFormat:
    """Return the format for raw chunks whose content type the app has set."""
    media_type = content_type.partition(b";")[0].strip().lower()
    if media_type == MIXED_REPLACE.partition(b";")[0]:
        return MixedReplace(content_type=content_type)
    return RawChunks([(b"accept", media_type)])


def _boundary(content_type: bytes) -> bytes:
    """Return the boundary between the parts (RFC 2046, section 5.1.1).

    Raises:
        UnserializableOutput: the content type has none.

    """
    for parameter in content_type.split(b";")[1:]:
        name, _, value = parameter.partition(b"=")
        if name.strip().lower() == b"boundary" and value.strip(b' "'):
            return value.strip(b' "')
    raise UnserializableOutput("multipart/x-mixed-replace needs a boundary: ; boundary=frame")


def utf8(text: str) -> bytes:
    """Return ``text`` in UTF-8.

    Raises:
        UnserializableOutput: ``text`` contains half of a surrogate pair.

    """
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise UnserializableOutput("A chunk contains half of a surrogate pair.") from None
