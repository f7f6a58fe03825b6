"""Finds the parts of a ``multipart/form-data`` body (RFC 7578)."""

import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from potassium.errors import BodyTooLarge, MalformedForm

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

__all__ = ["MOST_PARTS", "Part", "boundary_of", "can_parse", "parts_of"]

MOST_PARTS = 1000
MOST_FIELDS = 8  # of a part's head
HEAD_FIELD = 4 * 1024  # bytes of one of them

QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"?')  # or up to the end, so that it is read only once
EXTENDED = re.compile(r";\s*filename\*\s*=\s*([\w-]+)'[\w-]*'([^;\s]*)", re.IGNORECASE)
PLAIN = (b"", b"7bit", b"8bit", b"binary")

# The parser warns of every mistake of a client, who is told anyway.
SILENT = logging.Logger("silent", logging.CRITICAL + 1)  # noqa: LOG001 - no configuration knows it


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a form: where in the body its content is, and what its head says of it.

    Attributes:
        name: that of the field.
        offset: where the content begins.
        size: how many bytes it has.
        filename: None if it has none, as fields of text have; empty if no file was selected.
        content_type: empty if it is not given.

    """

    name: str
    offset: int
    size: int
    filename: str | None = None
    content_type: str = ""


@cache
def can_parse() -> bool:
    """Return whether the parser is installed, which comes with ``potassium[files]``."""
    return find_spec("python_multipart") is not None


def boundary_of(content_type: bytes) -> bytes:
    """Return the boundary that a ``Content-Type`` gives; empty if it gives none, or is too long."""
    from python_multipart.multipart import parse_options_header  # noqa: PLC0415 - an extra

    if len(content_type) > HEAD_FIELD:  # the time that it takes grows with the square
        return b""
    return parse_options_header(content_type)[1].get(b"boundary", b"")


def parts_of(chunks: Iterable[bytes], content_type: bytes) -> list[Part]:
    """Return the parts of a form whose body is cut into ``chunks``, in any way.

    Raises:
        MalformedForm: it is not a form, or cut off, or ``content_type`` gives no boundary.
        BodyTooLarge: it has more than ``MOST_PARTS``.

    """
    from python_multipart.exceptions import FormParserError  # noqa: PLC0415 - an extra
    from python_multipart.multipart import MultipartParser  # noqa: PLC0415

    boundary, finder = boundary_of(content_type), _Finder()
    if not boundary:
        raise MalformedForm(
            f"The Content-Type of the form has no boundary, or more than {HEAD_FIELD} bytes."
        )
    try:
        parser = MultipartParser(
            boundary,
            finder.callbacks(),
            max_header_count=MOST_FIELDS,
            max_header_size=HEAD_FIELD,
        )
        parser.logger = SILENT
        boundaries = 0
        for chunk in chunks:
            boundaries += chunk.count(b"\r\n--" + boundary)
            if boundaries > MOST_PARTS:  # to look at what follows each takes as long as a part does
                raise BodyTooLarge(f"The form has too many parts: it may have {MOST_PARTS}.")
            finder.chunk = chunk
            parser.write(chunk)
            finder.before += len(chunk)
    except FormParserError as error:
        raise MalformedForm(f"The form is malformed: {error}.") from None
    if not finder.is_complete:
        raise MalformedForm("The form is cut off: its last boundary is missing.")
    return finder.parts


class _Finder:
    """Notes where the contents of the parts are, as the parser reports them.

    Attributes:
        parts: those that are complete.
        is_complete: whether the form is.
        chunk: what is being parsed.
        before: how many bytes came before that.

    """

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self.is_complete = False
        self.chunk = b""
        self.before = 0
        self._size = self._end = 0
        self._head: dict[bytes, bytes] = {}
        self._field = self._value = b""

    def callbacks(self) -> "MultipartCallbacks":
        """Return what the parser calls."""
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._on_field,
            "on_header_value": self._on_value,
            "on_header_end": self._on_header_end,
            "on_part_data": self._on_data,
            "on_part_end": self._on_end,
            "on_end": self._complete,
        }

    def _begin(self) -> None:
        self._size = self._end = 0
        self._head = {}
        self._field = self._value = b""

    def _on_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _on_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        self._head[self._field.lower()] = self._value
        self._field = self._value = b""

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        # Other data is what ended the chunk before, and turned out not to be a boundary.
        self._end = self.before + (end if data is self.chunk else 0)
        self._size += end - start

    def _on_end(self) -> None:
        self.parts.append(_part(self._head, self._end - self._size, self._size))

    def _complete(self) -> None:
        self.is_complete = True


def _part(head: dict[bytes, bytes], offset: int, size: int) -> Part:
    from python_multipart.multipart import parse_options_header  # noqa: PLC0415 - an extra

    disposition = head.get(b"content-disposition", b"")
    kind, options = parse_options_header(disposition)
    name = options.get(b"name")
    if kind != b"form-data" or name is None:
        raise MalformedForm("A part of the form has no name.")
    if head.get(b"content-transfer-encoding", b"").strip().lower() not in PLAIN:
        raise MalformedForm("Send the parts of a form without Content-Transfer-Encoding.")
    given = options.get(b"filename")
    return Part(
        name=_text(name),
        offset=offset,
        size=size,
        filename=_extended(disposition) if given is None else _text(given),
        content_type=head.get(b"content-type", b"").decode("latin-1").strip(),
    )


def _text(name: bytes) -> str:
    """Return a name as browsers, curl and httpx send it (HTML, "Multipart form data")."""
    try:
        return name.decode().replace("%22", '"')
    except UnicodeDecodeError:
        raise MalformedForm("A name in the form is not UTF-8.") from None


def _extended(disposition: bytes) -> str | None:
    """Return ``filename*``, which some clients send for names outside ASCII (RFC 8187)."""
    found = EXTENDED.search(QUOTED.sub("", disposition.decode("latin-1")))
    if found is None:
        return None
    try:
        return unquote_to_bytes(found[2]).decode(
            "latin-1" if found[1].lower() != "utf-8" else "utf-8"
        )
    except UnicodeDecodeError:
        raise MalformedForm("A name in the form is not UTF-8.") from None
