"""A request as it was received."""

from collections.abc import Mapping
from io import BytesIO
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

from potassium.errors import BodyTooLarge, UnsupportedMediaType
from potassium.http.codec import decode
from potassium.http.json_cost import PLAIN
from potassium.http.negotiation import STREAM_FORMAT, stream_format
from potassium.http.response import NOT_GIVEN
from potassium.http.spooled import SpooledBody
from potassium.http.stream_formats import StreamFormat, WireHeaders

if TYPE_CHECKING:
    from starlette.datastructures import Headers

__all__ = ["JSON_WANTED", "MULTIPART", "UNKNOWN", "URLENCODED", "BackgroundRun", "Message"]

JSON_WANTED = "Send the body as JSON, with the header Content-Type: application/json."
URLENCODED = b"application/x-www-form-urlencoded"
MULTIPART = b"multipart/form-data"
UNKNOWN: Mapping[str, Any] = MappingProxyType({})


class BackgroundRun(Protocol):
    """What a call reports to its background job; the call is one attempt at the job."""

    @property
    def id(self) -> str:
        """The id of the job."""

    def began(self) -> None:
        """Record that the handler has begun; may be called on any thread, and more than once."""

    def progress(self, share: float | None, message: str | None) -> None:
        """Record the progress: ``share`` from 0 to 1, and a text; may be called on any thread."""


class Message:
    """One request, read completely, and the format in which it wants a stream.

    Its body is in memory or on disk; whoever has made the message closes one that is on disk.

    A job is admitted for a message. Its handler sees both of them as a ``Request``. Without
    ``form``, the scope or the request's ``Accept`` header determines the stream format.

    Attributes:
        id: the request's id.
        raw_headers: the ASGI list, names in lower case.
        content: the body, in memory or on disk.
        background: the background job of which the call is one attempt; None for a direct call.
        json_values: how many values a JSON body may have, see ``Limits``; None for any number.
        scope: the ASGI scope; of a background job, or in a test, what is known of it.

    """

    __slots__ = (
        "_form",
        "_json",
        "background",
        "content",
        "id",
        "json_values",
        "raw_headers",
        "scope",
    )

    def __init__(  # noqa: PLR0913 - a record
        self,
        request_id: str,
        headers: list[tuple[bytes, bytes]],
        content: bytes | SpooledBody,
        scope: Mapping[str, Any] = UNKNOWN,
        *,
        background: BackgroundRun | None = None,
        form: StreamFormat | None = None,
        json_values: int | None = None,
    ) -> None:
        self.id = request_id
        self.raw_headers = headers
        self.content = content
        self.background = background
        self.json_values = json_values
        self.scope = scope
        self._form = form
        self._json: Any = NOT_GIVEN

    @property
    def headers(self) -> "Headers":
        """The headers, a mapping with case-insensitive keys."""
        from starlette.datastructures import Headers  # noqa: PLC0415 - the hot path needs none

        return Headers(raw=self.raw_headers)

    @property
    def body(self) -> bytes:
        """The whole body; it is read anew each time if it is on disk."""
        content = self.content
        return content if isinstance(content, bytes) else content.read()

    @property
    def size(self) -> int:
        """The size of the body in bytes."""
        content = self.content
        return len(content) if isinstance(content, bytes) else content.size

    def open(self) -> BinaryIO:
        """Return a new reader of the body, at position 0."""
        content = self.content
        return BytesIO(content) if isinstance(content, bytes) else content.open()

    @property
    def method(self) -> str:
        """The method, such as ``POST``."""
        return str(self.scope.get("method", "POST"))

    @property
    def content_type(self) -> bytes:
        """The value of ``Content-Type``; empty if there is none."""
        return next((value for name, value in self.raw_headers if name == b"content-type"), b"")

    @property
    def media_type(self) -> bytes:
        """The media type of the body, in lower case; empty if it is not given."""
        return _media_type(self.content_type)

    @property
    def json(self) -> Any:
        """The body's JSON value, decoded only once; see ``parse`` for what it raises."""
        if self._json is NOT_GIVEN:
            self._json = self.parse()
        return self._json

    def parse(self) -> Any:
        """Return the body's JSON value, and keep nothing of it.

        Raises:
            UnsupportedMediaType: the request's ``Content-Type`` is not JSON.
            BodyTooLarge: the body contains more than ``json_values``.
            MalformedJSON: the body is not valid JSON.

        """
        if not self.is_json:
            raise UnsupportedMediaType(self._json_wanted())
        body = self.body
        if self.json_values is not None and PLAIN.exceeds(body, self.json_values):
            raise BodyTooLarge(f"The body may contain at most {self.json_values} JSON values.")
        return decode(body)

    @property
    def form(self) -> StreamFormat:
        """The format in which chunks are sent."""
        if self._form is None:
            self._form = self.scope.get(STREAM_FORMAT) or stream_format(self.raw_headers)
        return self._form

    def answer_as(self, form: StreamFormat) -> None:
        """Let the stream have another format, which holds its status and headers."""
        self._form = form

    def answer_with(self, status: int, headers: WireHeaders) -> StreamFormat:
        """Return the format for a stream whose status and headers the app has set."""
        self._form = self.form.set_by_app(status, headers)
        return self._form

    @property
    def is_json(self) -> bool:
        """Whether the body is JSON, by its ``Content-Type``."""
        for name, value in self.raw_headers:
            if name == b"content-type":
                return value == b"application/json" or _is_json_type(value)
        return False

    def _json_wanted(self) -> str:
        is_form = self.media_type in (URLENCODED, MULTIPART)
        return f"This handler takes no forms. {JSON_WANTED}" if is_form else JSON_WANTED


def _media_type(content_type: bytes) -> bytes:
    return content_type.partition(b";")[0].strip().lower()


def _is_json_type(content_type: bytes) -> bool:
    """Return whether a media type is ``application/json`` or any ``+json`` type (RFC 6839)."""
    media_type = _media_type(content_type)
    return media_type == b"application/json" or media_type.endswith(b"+json")
