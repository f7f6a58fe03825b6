"""The fields of forms (RFC 7578; WHATWG URL, section 5) and of queries."""

from collections.abc import Iterable, Mapping, Sequence
from typing import BinaryIO, cast
from urllib.parse import parse_qsl

from potassium.errors import BodyTooLarge, MalformedForm
from potassium.http.file import File
from potassium.http.message import MULTIPART, Message
from potassium.http.multipart import MOST_PARTS, Part, parts_of
from potassium.http.window import Shared, Window

__all__ = ["MOST_TEXT", "Form", "form_of", "query_of"]

MOST_TEXT = 1024 * 1024  # bytes, of all fields that are not files together
CHUNK = 1024 * 1024  # bytes


class Form:
    """The fields of a form or a query, by name, in the order in which they were sent.

    Attributes:
        kind: what it is, in messages for clients: ``form`` or ``query``.
        fields: one value for each time that a field was sent: text, or a part of the body.

    """

    def __init__(
        self,
        kind: str,
        pairs: Iterable[tuple[str, str | Part]],
        body: Shared | None = None,
    ) -> None:
        """Take ``body``, which the parts are in."""
        self.kind = kind
        self._body = body
        self._left = MOST_TEXT
        fields: dict[str, list[str | Part]] = {}
        for name, value in pairs:
            fields.setdefault(name, []).append(value)
        self.fields: Mapping[str, Sequence[str | Part]] = fields

    def file(self, part: Part) -> File:
        """Return a part as a file."""
        assert self._body is not None  # noqa: S101 - it has parts
        return File(
            cast("BinaryIO", Window(self._body, part.offset, part.size)),
            size=part.size,
            name=part.filename or "",
            content_type=part.content_type,
        )

    def text(self, value: str | Part) -> str:
        """Return a value as text.

        Raises:
            BodyTooLarge: it is too long, together with the texts before it.
            MalformedForm: it is not UTF-8.

        """
        if isinstance(value, str):
            return value
        self._left -= value.size
        if self._left < 0:
            raise _too_much_text()
        try:
            return self.file(value).read().decode()
        except UnicodeDecodeError:
            raise MalformedForm("A field of the form is not UTF-8.") from None


def form_of(message: Message) -> Form:
    """Return the form that the body is, by its ``Content-Type``.

    File inputs of browsers in which no file was selected are left out.

    Raises:
        MalformedForm: it is not such a form.
        BodyTooLarge: it has more than ``MOST_PARTS`` fields, or too much text.

    """
    if message.media_type != MULTIPART:
        if message.size > MOST_TEXT:
            raise _too_much_text()
        return _urlencoded("form", message.body)
    reader = message.open()
    parts = parts_of(iter(lambda: reader.read(CHUNK), b""), message.content_type)
    given = [(part.name, part) for part in parts if part.filename != "" or part.size]
    return Form("form", given, Shared(reader))


def query_of(message: Message) -> Form:
    """Return the fields of the query.

    Raises:
        MalformedForm: it is not UTF-8.
        BodyTooLarge: it has more than ``MOST_PARTS`` fields.

    """
    return _urlencoded("query", message.scope.get("query_string", b""))


def _urlencoded(kind: str, text: bytes) -> Form:
    if text.count(b"&") >= MOST_PARTS:
        raise BodyTooLarge(f"The {kind} has too many fields: it may have {MOST_PARTS}.")
    try:
        pairs = parse_qsl(text.decode(), keep_blank_values=True, errors="strict")
    except UnicodeDecodeError:
        raise MalformedForm(f"The {kind} is not UTF-8.") from None
    return Form(kind, pairs)


def _too_much_text() -> BodyTooLarge:
    return BodyTooLarge(
        f"The form has too much text: all fields that are not files may have {MOST_TEXT} bytes."
    )
