"""Text for people: times, sizes, tables, colours, and lines that change in place."""

import os
import shutil
import sys
from collections.abc import Sequence
from typing import Any, TextIO

import click

__all__ = [
    "Lines",
    "ago",
    "is_terminal",
    "one_line",
    "seconds_shown",
    "size_shown",
    "styled",
    "table",
]

MINUTE, HOUR, DAY = 60, 3600, 86400
UNITS = ("kB", "MB", "GB", "TB")
CLEAR_LINE, CLEAR_BELOW = "\x1b[K", "\x1b[J"


def is_terminal(stream: TextIO) -> bool:
    """Return whether somebody sees what is written to ``stream`` as it is written."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def styled(text: str, **style: Any) -> str:
    """Return ``text`` in a colour, unless ``NO_COLOR`` is set (https://no-color.org).

    Where it is written to a file, click takes the colour out again.
    """
    return text if os.environ.get("NO_COLOR") else click.style(text, **style)


def one_line(text: str) -> str:
    """Return ``text`` from a server on one line, and without what a terminal would obey."""
    return "".join(one if one.isprintable() else "?" for one in " ".join(text.split()))


def seconds_shown(seconds: float) -> str:
    """Return a duration with three digits: ``1.23 ms``, ``45.6 s``, ``2 min 5 s``."""
    if seconds < 1:
        return f"{_three(seconds * 1000)} ms"
    if seconds < MINUTE:
        return f"{_three(seconds)} s"
    whole = round(seconds)
    for large, small, names in (
        (DAY, HOUR, ("d", "h")),
        (HOUR, MINUTE, ("h", "min")),
        (MINUTE, 1, ("min", "s")),
    ):
        if whole >= large:
            rest = whole % large // small
            return f"{whole // large} {names[0]}" + (f" {rest} {names[1]}" if rest else "")
    raise AssertionError  # pragma: no cover - it is a minute or more


def ago(seconds: float) -> str:
    """Return how long ago something was, in one unit: ``now``, ``5 s``, ``3 min``, ``2 d``."""
    for unit, name in ((DAY, "d"), (HOUR, "h"), (MINUTE, "min"), (1, "s")):
        if seconds >= unit:
            return f"{int(seconds // unit)} {name} ago"
    return "now"


def size_shown(size: float) -> str:
    """Return a number of bytes with three digits."""
    if size < 1000:  # noqa: PLR2004
        return f"{size:.0f} B"
    for unit in UNITS:
        size /= 1000
        if size < 1000 or unit == UNITS[-1]:  # noqa: PLR2004
            break
    return f"{_three(size)} {unit}"


def _three(value: float) -> str:
    for digits, least in ((0, 99.95), (1, 9.995), (2, 0)):
        if value >= least:
            return f"{value:.{digits}f}"
    raise AssertionError  # pragma: no cover - it is not negative


def table(rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> list[str]:
    """Return the lines of a table; the columns with the numbers ``right`` end at the right."""
    widths = [max(len(click.unstyle(row[one])) for row in rows) for one in range(len(rows[0]))]
    return [
        "  ".join(
            _padded(cell, width, at_right=number in right)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _padded(cell: str, width: int, *, at_right: bool) -> str:
    space = " " * (width - len(click.unstyle(cell)))
    return space + cell if at_right else cell + space


class Lines:
    """Lines at the end of a terminal that are written anew, in place.

    Args:
        stream: the terminal; if it is none, nothing is written.

    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = sys.stderr if stream is None else stream
        self.is_shown = is_terminal(self._stream)
        self._height = 0

    def show(self, *lines: str) -> None:
        """Write ``lines`` in the place of those before, as far as they fit."""
        if not self.is_shown:
            return
        columns, rows = shutil.get_terminal_size()
        fitting = [_cut(line, columns - 1) for line in lines[: rows - 1]]
        text = "".join(f"{line}{CLEAR_LINE}\n" for line in fitting)
        self._write(f"{self._up()}{text}{CLEAR_BELOW}")
        self._height = len(fitting)

    def clear(self) -> None:
        """Take the lines away."""
        if self._height:
            self._write(self._up() + CLEAR_BELOW)
            self._height = 0

    def _up(self) -> str:
        return f"\r\x1b[{self._height}A" if self._height else ""

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


def _cut(line: str, width: int) -> str:
    """Return ``line`` if it fits, otherwise what fits of it, without colours."""
    plain = click.unstyle(line)
    return line if len(plain) <= width else f"{plain[: width - 1]}…"
