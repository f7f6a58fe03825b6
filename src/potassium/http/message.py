"""A request as it has arrived."""

from typing import TYPE_CHECKING, Any, Protocol

from potassium.errors import UnsupportedMediaType
from potassium.http.codec import decode
from potassium.http.negotiation import stream_format
from potassium.http.response import NOT_GIVEN
from potassium.http.stream_formats import StreamFormat, WireHeaders

if TYPE_CHECKING:
    from starlette.datastructures import Headers

__all__ = ["BackgroundRun", "Message"]

JSON_WANTED = "Send the body as JSON, with the header Content-Type: application/json."


class BackgroundRun(Protocol):
    """What a call needs of the background job that it is an attempt at."""

    def began(self) -> None:
        """Note that the handler has begun; any thread may call it, more than once too."""

    def progress(self, share: float | None, message: str | None) -> None:
        """Note how far the handler is: ``share`` of 1, and in words; any thread may call it."""


class Message:
    """One request, read to its end, and the form in which it wants its chunks.

    A job is admitted for a message; what its handler sees of both together is a ``Request``.

    Attributes:
        id: the request's id.
        raw_headers: the ASGI list, names in lower case.
        body: as it came.
        background: the background job that it is an attempt at; None for a direct call.

    """

    __slots__ = ("_form", "_json", "background", "body", "id", "raw_headers")

    def __init__(
        self,
        request_id: str,
        headers: list[tuple[bytes, bytes]],
        body: bytes,
        *,
        background: BackgroundRun | None = None,
        form: StreamFormat | None = None,
    ) -> None:
        """Describe a request; where no ``form`` is given, its ``Accept`` decides."""
        self.id = request_id
        self.raw_headers = headers
        self.body = body
        self.background = background
        self._form = form
        self._json: Any = NOT_GIVEN

    @property
    def headers(self) -> "Headers":
        """The headers: a mapping whose keys are case-insensitive."""
        from starlette.datastructures import Headers  # noqa: PLC0415 - the hot path needs none

        return Headers(raw=self.raw_headers)

    @property
    def json(self) -> Any:
        """The body's JSON value, decoded once.

        Raises:
            UnsupportedMediaType: the request says that it is something else.
            MalformedJSON: it is none.

        """
        if self._json is NOT_GIVEN:
            if not self._is_json():
                raise UnsupportedMediaType(JSON_WANTED)
            self._json = decode(self.body)
        return self._json

    @property
    def form(self) -> StreamFormat:
        """The form in which chunks go out."""
        if self._form is None:
            self._form = stream_format(self.raw_headers)
        return self._form

    def answer_with(self, status: int, headers: WireHeaders) -> StreamFormat:
        """Return the form for a stream whose status and headers the app has given."""
        self._form = self.form.set_by_app(status, headers)
        return self._form

    def _is_json(self) -> bool:
        for name, value in self.raw_headers:
            if name == b"content-type":
                return value == b"application/json" or _is_json_type(value)
        return False


def _is_json_type(content_type: bytes) -> bool:
    """Return whether a media type is JSON: ``application/json`` or any ``+json`` (RFC 6839)."""
    media_type = content_type.partition(b";")[0].strip().lower()
    return media_type == b"application/json" or media_type.endswith(b"+json")
