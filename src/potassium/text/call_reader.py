"""Finds calls of functions in what a model writes."""

import json
import uuid
from collections.abc import Collection, Generator, Iterator
from contextlib import closing
from typing import Any

from potassium.text.call_style import DECODER, CallStyle
from potassium.text.chunks import Finish, ToolCall
from potassium.text.pieces import beginning

__all__ = ["CallReader", "read_calls"]


class CallReader:
    """Finds calls of functions in a text that comes in pieces.

    Text is given out as soon as it is certain that no call begins there. What comes between calls,
    and after the last one, is left out.

    Args:
        style: how the calls are written.
        names: the functions; what calls another one is text.
        is_call: whether the text is nothing but a call, without its opener.

    """

    def __init__(self, style: CallStyle, names: Collection[str], *, is_call: bool = False) -> None:
        self._style = style
        self._names = names
        self._held = ""
        self._next = 0  # where the next call is looked for in what is held
        self._has_begun = is_call  # the text so far seems to be a call
        self._is_text = False  # there are no calls
        self._calls = 0

    def add(self, piece: str) -> Iterator[str | ToolCall]:
        """Yield what is certain with one more piece."""
        self._held += piece
        if not self._has_begun:
            yield from self._before()
        if self._has_begun:
            yield from self._within()

    def rest(self) -> Iterator[str]:
        """Yield what was held back; there are no more pieces."""
        if not self._calls:
            yield from self._give(len(self._held))

    def _before(self) -> Iterator[str]:
        held, opener = self._held, self._style.opener
        if self._is_text:
            yield from self._give(len(held))
        elif opener:
            at = held.find(opener)
            yield from self._give(at if at >= 0 else len(held) - beginning(held, opener))
            if at >= 0:
                yield from self._begin(len(opener))
        else:
            yield from self._begin(0)

    def _begin(self, at: int) -> Iterator[str]:
        """Find out whether what is held is a call from ``at`` on, as soon as that can be told."""
        first = self._held[at:].lstrip().removeprefix("[").lstrip()[:1]
        if first:
            self._has_begun, self._next = first == "{", at
            self._is_text = not self._has_begun
            yield from self._give(len(self._held) if self._is_text else 0)

    def _within(self) -> Iterator[str | ToolCall]:
        while (start := self._held.find("{", self._next)) >= 0:
            try:
                value, end = DECODER.raw_decode(self._held, start)
            except json.JSONDecodeError:
                return  # there is more to come
            call = self._call(value)
            if call is not None:
                self._calls += 1
                yield call
            elif not self._calls:
                self._has_begun, self._is_text = False, True
                yield from self._give(len(self._held))
                return
            self._next = end

    def _call(self, value: dict[str, Any]) -> ToolCall | None:
        name, arguments = value.get(self._style.name), value.get(self._style.arguments, {})
        if not isinstance(name, str) or name not in self._names:
            return None
        return _new_call(name, arguments, self._calls)

    def _give(self, count: int) -> Iterator[str]:
        given, self._held = self._held[:count], self._held[count:]
        if given:
            yield given


def read_calls(
    text: Generator[Any, Any, Finish], reader: CallReader
) -> Generator[Any, Any, Finish]:
    """Yield what a text yields, its pieces as ``reader`` gives them out; return how it ended."""
    result: Any = None
    with closing(text):
        while True:
            try:
                given = text.send(result)
            except StopIteration as end:
                yield from reader.rest()
                finish: Finish = end.value
                return finish
            result = None
            if isinstance(given, str):
                yield from reader.add(given)
            else:
                result = yield given  # a step


def _new_call(name: str, arguments: Any, index: int = 0) -> ToolCall:
    """Return a call; arguments that are no text are written as JSON."""
    text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    return ToolCall(index=index, id=f"call_{uuid.uuid4().hex[:24]}", name=name, arguments=text)
