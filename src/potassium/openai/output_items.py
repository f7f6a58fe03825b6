"""The items of a response: how each is told as a whole, and as it comes."""

import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

from potassium.openai.chunks import ToolCall

__all__ = ["CallItem", "Event", "OutputItem", "TextItem"]

Event = dict[str, Any]


class OutputItem(ABC):
    """One item of the output of a response.

    Attributes:
        index: its place in the output.

    """

    prefix = ""

    def __init__(self, index: int) -> None:
        self.index = index
        self._id = f"{self.prefix}_{uuid.uuid4().hex}"
        self._pieces: list[str] = []

    @abstractmethod
    def document(self, status: str) -> dict[str, Any]:
        """Return it as it is now."""

    def opening(self) -> Iterator[Event]:
        """Yield the events that announce it."""
        yield self._event("response.output_item.added", item=self.document("in_progress"))

    @abstractmethod
    def add(self, chunk: Any) -> Event | None:
        """Take a piece of it; return the event that tells it, unless there is nothing to tell."""

    def closing(self, status: str) -> Iterator[Event]:
        """Yield the events that end it."""
        yield self._event("response.output_item.done", item=self.document(status))

    def _joined(self) -> str:
        return "".join(self._pieces)

    def _event(self, kind: str, **members: Any) -> Event:
        return {"type": kind, "output_index": self.index, **members}


class TextItem(OutputItem):
    """A message with one part, which is text."""

    prefix = "msg"

    def document(self, status: str) -> dict[str, Any]:
        """Return it as it is now."""
        content = [self._part()] if self._pieces else []
        head = {"type": "message", "id": self._id, "status": status, "role": "assistant"}
        return {**head, "content": content}

    def opening(self) -> Iterator[Event]:
        """Yield the events that announce it and its part."""
        yield from super().opening()
        yield self._of_part("response.content_part.added", part=self._part())

    def add(self, chunk: str) -> Event:
        """Take a piece of text."""
        self._pieces.append(chunk)
        return self._of_part("response.output_text.delta", delta=chunk, logprobs=[])

    def closing(self, status: str) -> Iterator[Event]:
        """Yield the events that end the text, its part and the message."""
        yield self._of_part("response.output_text.done", text=self._joined(), logprobs=[])
        yield self._of_part("response.content_part.done", part=self._part())
        yield from super().closing(status)

    def _part(self) -> dict[str, Any]:
        return {"type": "output_text", "text": self._joined(), "annotations": [], "logprobs": []}

    def _of_part(self, kind: str, **members: Any) -> Event:
        return self._event(kind, item_id=self._id, content_index=0, **members)


class CallItem(OutputItem):
    """A call of a function."""

    prefix = "fc"

    def __init__(self, index: int, first: ToolCall) -> None:
        super().__init__(index)
        self._call_id = first.id or f"call_{uuid.uuid4().hex}"
        self._name = first.name or ""

    def document(self, status: str) -> dict[str, Any]:
        """Return it as it is now."""
        call = {"call_id": self._call_id, "name": self._name, "arguments": self._joined()}
        return {"type": "function_call", "id": self._id, "status": status, **call}

    def add(self, chunk: ToolCall) -> Event | None:
        """Take a piece of the arguments."""
        if not chunk.arguments:
            return None
        self._pieces.append(chunk.arguments)
        kind = "response.function_call_arguments.delta"
        return self._event(kind, item_id=self._id, delta=chunk.arguments)

    def closing(self, status: str) -> Iterator[Event]:
        """Yield the events that end the arguments and the call."""
        kind = "response.function_call_arguments.done"
        yield self._event(kind, item_id=self._id, name=self._name, arguments=self._joined())
        yield from super().closing(status)
