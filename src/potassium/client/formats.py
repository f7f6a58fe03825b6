"""What arrives on a stream, made into events and lines as it arrives."""

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["EventParser", "LineParser", "ServerSentEvent"]

LINE_END = re.compile("\r\n|\r|\n")


@dataclass(frozen=True, slots=True)
class ServerSentEvent:
    """One event, as the server sent it (WHATWG HTML, section 9.2)."""

    kind: str
    data: str
    id: str  # of this event, or of the last one before it that has one


class EventParser:
    """Takes a body in pieces of any size, and finds the events in it; comments are dropped.

    What is not followed by an empty line is not an event: a body that breaks off yields none.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("replace")
        self._begun: list[str] = []  # pieces of a line that has not ended
        self._after_cr = False
        self._kind = ""
        self._data: list[str] = []
        self._id = ""

    def feed(self, received: bytes) -> Iterator[ServerSentEvent]:
        """Yield the events that ``received`` completes."""
        text = self._decoder.decode(received)
        if self._after_cr:  # the other half of a CRLF
            text = text.removeprefix("\n")
        self._after_cr = text.endswith("\r")
        first, *others = LINE_END.split(text)
        self._begun.append(first)
        for next_line in others:
            event = self._take("".join(self._begun))
            self._begun = [next_line]
            if event is not None:
                yield event

    def _take(self, line: str) -> ServerSentEvent | None:
        if not line:
            return self._dispatch()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "event":
                self._kind = value
            case "data":
                self._data.append(value)
            case "id" if "\0" not in value:
                self._id = value
        return None

    def _dispatch(self) -> ServerSentEvent | None:
        event = ServerSentEvent(self._kind or "message", "\n".join(self._data), self._id)
        is_empty = not self._data
        self._kind, self._data = "", []
        return None if is_empty else event


class LineParser:
    """Takes a body in pieces of any size, and finds the lines in it."""

    def __init__(self) -> None:
        self._begun: list[bytes] = []

    @property
    def is_complete(self) -> bool:
        """Whether nothing has come since the end of the last line."""
        return not b"".join(self._begun).strip()

    def feed(self, received: bytes) -> Iterator[bytes]:
        """Yield the lines that ``received`` completes, without their ends; not the empty ones."""
        first, *others = received.split(b"\n")
        self._begun.append(first)
        for next_line in others:
            line = b"".join(self._begun).strip()
            self._begun = [next_line]
            if line:
                yield line
