"""The requests in the input file of a batch."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from potassium.errors import MalformedJSON
from potassium.http.codec import decode
from potassium.openai.errors import Refused

__all__ = ["Line", "LineRefused", "count_lines", "lines_of", "parsed", "read_lines"]

TOGETHER = 256 * 1024  # bytes that are read at a time, for each hop to a thread
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Line(NamedTuple):
    """One line of the input that is not blank; what is too long is not, whatever it says.

    Attributes:
        number: its number in the file, from 1.
        text: what it says; None if it is too long.

    """

    number: int
    text: bytes | None


class LineRefused(Refused):
    """A line that is no request of its batch.

    Attributes:
        custom_id: that of the line, as far as it has one.

    """

    def __init__(self, detail: str, custom_id: str | None = None, *, code: str) -> None:
        super().__init__(detail, code=code)
        self.custom_id = custom_id


def count_lines(path: Path, longest: int, most: int) -> int:
    """Return how many lines are not blank, up to ``most``; blocks, and raises OSError."""
    return sum(1 for _ in islice(read_lines(path, longest), most))


async def lines_of(path: Path, longest: int) -> AsyncIterator[Line]:
    """Yield the lines of a file that are not blank, which are read on another thread.

    Args:
        path: where the file is.
        longest: maximum bytes of a line.

    Raises:
        OSError: it cannot be read.

    """
    lines = read_lines(path, longest)
    while some := await asyncio.to_thread(_some, lines):
        for line in some:
            yield line


def read_lines(path: Path, longest: int) -> Iterator[Line]:
    """Yield the same lines; blocks, and raises OSError."""
    with path.open("rb") as file:
        number = 0
        while text := file.readline(longest + 1):
            number += 1
            is_too_long = len(text) > longest and not text.endswith(b"\n")
            if is_too_long:
                _skip_line(file)
            text = text.removeprefix(BYTE_ORDER_MARK).strip()
            if text or is_too_long:
                yield Line(number, None if is_too_long else text)


def parsed(line: Line, endpoint: str) -> tuple[str, Any]:
    """Return the ``custom_id`` and the body of a request.

    Args:
        line: what the client wrote.
        endpoint: that of the batch, to which the request must go.

    Raises:
        LineRefused: it is no request, or goes somewhere else.

    """
    if line.text is None:
        raise LineRefused("The line is too long.", code="line_too_long")
    try:
        request = decode(line.text)
    except MalformedJSON:
        raise LineRefused("The line is not valid JSON.", code="invalid_json_line") from None
    custom_id = request.get("custom_id") if isinstance(request, dict) else None
    if not isinstance(custom_id, str) or not custom_id:
        raise LineRefused("The request needs a custom_id.", code="missing_required_parameter")
    if request.get("method", "POST") != "POST":
        raise LineRefused("The method must be POST.", custom_id, code="invalid_method")
    if request.get("url") != endpoint:
        detail = f"The url must be that of the batch, {endpoint}."
        raise LineRefused(detail, custom_id, code="invalid_url")
    return custom_id, request.get("body")


def _skip_line(file: BinaryIO) -> None:
    while (rest := file.readline(TOGETHER)) and not rest.endswith(b"\n"):
        pass


def _some(lines: Iterator[Line]) -> list[Line]:
    some, size = [], 0
    for line in lines:
        some.append(line)
        size += len(line.text or b"")
        if size >= TOGETHER:
            break
    return some
