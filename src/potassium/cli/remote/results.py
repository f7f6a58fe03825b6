"""What a call is answered with, on a terminal, in a pipe, or in a file."""

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import click

from potassium.cli.remote.terminal import size_shown
from potassium.client import Stream
from potassium.client.calls import Events
from potassium.client.problems import unexpected
from potassium.errors import MalformedJSON
from potassium.http.codec import decode, encode

__all__ = ["Binary", "Results", "output_option", "pretty"]

EVENTS, LINES, JSON, HTML = (
    "text/event-stream",
    "application/x-ndjson",
    "application/json",
    "text/html",
)
Command = TypeVar("Command", bound=Callable[..., Any])

WIDE = 88  # characters of an array or object on one line


def output_option(text: str) -> Callable[[Command], Command]:
    """Return the option ``--output``; a file that cannot be written is told before the call."""

    def check(_: click.Context, __: click.Parameter, name: str | None) -> str | None:
        if name is not None and not Path(name).parent.is_dir():
            raise click.BadParameter(f"there is no folder {Path(name).parent}.")
        return name

    kind = click.Path(dir_okay=False, writable=True, allow_dash=True)
    return click.option("-o", "--output", metavar="FILE", type=kind, callback=check, help=text)


class Binary(click.ClickException):
    """A result is binary, and would have been written to a terminal."""

    exit_code = 2


class Results:
    """Writes results to a file, or to stdout; binary ones to no terminal.

    Args:
        output: the file; ``-`` is stdout, whatever it is; None as well, but not if it is a terminal
            and the result binary.

    """

    def __init__(self, output: str | None) -> None:
        self._file = None if output in (None, "-") else Path(str(output))
        self._out = sys.stdout.buffer
        self._is_seen = self._file is None and self._out.isatty()
        self._may_be_binary = output is not None or not self._is_seen

    @property
    def is_to_file(self) -> bool:
        """Whether results go to a file."""
        return self._file is not None

    def stream(self, stream: Stream[bytes]) -> None:
        """Write the answer to a call as it arrives.

        Raises:
            CallFailed: the call, or the stream, has failed.
            Binary: the result is binary.
            OSError: the file cannot be written.

        """
        with closing(stream):
            first = next(stream, b"")
            response = stream.response
            assert response is not None  # noqa: S101 - its first bytes have arrived
            kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
            if kind == HTML and "x-request-id" not in response.headers:
                raise unexpected("The answer is a web page.", response)
            pieces = chain([first], stream)
            if kind == EVENTS and not self.is_to_file:
                parser = Events(None, response)
                self._chunks(chunk for piece in pieces for chunk in parser.feed(piece))
                if not parser.is_complete:
                    raise unexpected("The stream ended early: the server cut it off.", response)
            else:
                self.body(pieces, kind)

    def value(self, value: Any) -> None:
        """Write a value that is part of some JSON."""
        self.body([encode(value)], JSON)

    def body(self, pieces: Iterable[bytes], kind: str) -> None:
        """Write a body of the content type ``kind``, as it arrives.

        Raises:
            Binary: it is binary.
            OSError: the file cannot be written.

        """
        if self._file is not None:
            size = _write(self._file, pieces)
            click.echo(f"{self._file}: {size_shown(size)}, {kind or 'of no known type'}", err=True)
        elif kind == JSON and self._is_seen:
            self._put(pretty(b"".join(pieces)).encode() + b"\n")
        elif _is_text(kind):
            self._text(pieces, ends_line=self._is_seen or kind == JSON)
        elif self._may_be_binary:
            for piece in pieces:
                self._put(piece)
        else:
            raise Binary(
                f"The result is {kind or 'binary'}: write it to a file with -o FILE. "
                "A terminal cannot show it."
            )

    def _chunks(self, chunks: Iterator[str]) -> None:
        """Write the chunks of a stream: text as it is, anything else on a line for each.

        What the first chunk is, all are.
        """
        first = next(chunks, None)
        if first is None:
            return
        end = "\n" if _is_container(first) else ""
        pieces = ((chunk + end).encode() for chunk in chain([first], chunks))
        self._text(pieces, ends_line=self._is_seen)

    def _text(self, pieces: Iterable[bytes], *, ends_line: bool) -> None:
        last = b""
        try:
            for piece in pieces:
                self._put(piece)
                last = piece or last
        finally:
            if ends_line and last and not last.endswith(b"\n"):
                self._put(b"\n")

    def _put(self, data: bytes) -> None:
        self._out.write(data)
        self._out.flush()


def _write(file: Path, pieces: Iterable[bytes]) -> int:
    with file.open("wb") as opened:
        return sum(opened.write(piece) for piece in pieces)


def _is_text(kind: str) -> bool:
    return kind.startswith("text/") or kind.endswith(("json", "xml", "+yaml")) or "ndjson" in kind


def _is_container(chunk: str) -> bool:
    if not chunk.startswith(("{", "[")):
        return False
    try:
        decode(chunk.encode())
    except MalformedJSON:
        return False
    return True


def pretty(body: bytes) -> str:
    """Return JSON as people read it: an array or object is on one line if it fits."""
    try:
        return _laid_out(decode(body), "")
    except MalformedJSON:
        return body.decode(errors="replace")


def _laid_out(value: Any, indent: str) -> str:
    line = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, dict | list) or len(indent) + len(line) <= WIDE:
        return line
    inner = indent + "  "
    if isinstance(value, list):
        if not any(isinstance(one, dict | list) for one in value):
            return line  # numbers, mostly: a line for each helps nobody
        parts = [_laid_out(one, inner) for one in value]
    else:
        parts = [
            f"{json.dumps(key, ensure_ascii=False)}: {_laid_out(one, inner)}"
            for key, one in value.items()
        ]
    opening, end = "[]" if isinstance(value, list) else "{}"
    return f"{opening}\n" + ",\n".join(inner + one for one in parts) + f"\n{indent}{end}"
