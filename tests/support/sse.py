"""Server-sent events, parsed as the WHATWG standard says (HTML, section 9.2.6)."""

import codecs
import re
from dataclasses import dataclass

LINE_END = re.compile("\r\n|\r|\n")


@dataclass(frozen=True)
class Event:
    """One event as a browser dispatches it."""

    type: str
    data: str
    id: str  # the last event id so far


class Parser:
    """Accepts a body in pieces of any size; keeps the comments, which a browser drops.

    What is not followed by an empty line is not an event: a body that breaks off yields none.
    """

    def __init__(self) -> None:
        self.comments: list[str] = []
        self.retry: int | None = None  # milliseconds
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("replace")
        self._rest = ""  # the beginning of a line that has not ended
        self._after_cr = False
        self._type = ""
        self._data: list[str] = []
        self._id = ""

    def feed(self, received: bytes) -> list[Event]:
        """Return the events that ``received`` completes."""
        text = self._decoder.decode(received)
        if not text:
            return []
        if self._after_cr:  # the other half of a CRLF
            text = text.removeprefix("\n")
        self._after_cr = text.endswith("\r")
        *lines, self._rest = LINE_END.split(self._rest + text)
        return [event for line in lines if (event := self._take(line)) is not None]

    def _take(self, line: str) -> Event | None:
        if not line:
            return self._dispatch()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "":
                self.comments.append(value)
            case "event":
                self._type = value
            case "data":
                self._data.append(value)
            case "id" if "\0" not in value:
                self._id = value
            case "retry" if value.isascii() and value.isdigit():
                self.retry = int(value)
        return None

    def _dispatch(self) -> Event | None:
        event = Event(self._type or "message", "\n".join(self._data), self._id)
        is_empty = not self._data
        self._type, self._data = "", []
        return None if is_empty else event


def parse(body: bytes) -> list[Event]:
    """Return the events of a whole body."""
    return Parser().feed(body)
