"""The answer of a chat, or the rest of a text, as a document and as events."""

import time
import uuid
from dataclasses import dataclass, field
from typing import Any

from potassium.http.codec import encode
from potassium.openai.answer import DONE, Answer, data_event
from potassium.openai.chunks import Finish, ToolCall, as_chunk
from potassium.openai.requests import Generation

__all__ = ["TextAnswer", "text_answer"]

PART = "chat.completion.chunk"


@dataclass(kw_only=True)
class TextAnswer(Answer):
    """One text, told in one piece.

    Attributes:
        model: the model's name.
        is_chat: whether it is the answer of a chat, and not the rest of a text.
        id: names the text.
        created: when it was asked for, in seconds since the epoch.

    """

    model: str
    is_chat: bool
    id: str
    created: int = field(default_factory=lambda: int(time.time()))
    _finish: Finish | None = None
    _pieces: list[str] = field(default_factory=list)
    _calls: dict[int, dict[str, Any]] = field(default_factory=dict)

    def add(self, chunk: Any) -> bytes:
        """Keep a chunk."""
        chunk = as_chunk(chunk)
        if isinstance(chunk, str):
            self._pieces.append(chunk)
        elif isinstance(chunk, Finish):
            self._finish = chunk
        else:
            self._collect(chunk)
        return b""

    def end(self) -> bytes:
        """Return the document."""
        return encode(self.document())

    def document(self) -> dict[str, Any]:
        """Return the document, once all chunks are here."""
        text = "".join(self._pieces)
        content: dict[str, Any] = {"text": text}
        if self.is_chat:
            message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None}
            if self._calls:
                message |= {"content": text or None, "tool_calls": list(self._calls.values())}
            content = {"message": message}
        document = self._head("chat.completion")
        return {**document, "choices": [self._choice(content, self._reason)], "usage": self._usage}

    @property
    def _reason(self) -> str:
        if self._calls and (self._finish is None or self._finish.reason == "stop"):
            return "tool_calls"
        return "stop" if self._finish is None else self._finish.reason

    @property
    def _usage(self) -> dict[str, int] | None:
        """How many tokens there were; None if the handler has not said it."""
        finish = self._finish
        if finish is None:
            return None
        return {
            "prompt_tokens": finish.prompt_tokens,
            "completion_tokens": finish.completion_tokens,
            "total_tokens": finish.prompt_tokens + finish.completion_tokens,
        }

    def _head(self, kind: str) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": kind if self.is_chat else "text_completion",
            "created": self.created,
            "model": self.model,
        }

    def _choice(self, content: dict[str, Any], reason: str | None) -> dict[str, Any]:
        return {"index": 0, **content, "logprobs": None, "finish_reason": reason}

    def _collect(self, call: ToolCall) -> None:
        function = {"name": "", "arguments": ""}
        known = self._calls.setdefault(
            call.index, {"id": call.id, "type": "function", "function": function}
        )
        known["function"]["name"] += call.name or ""
        known["function"]["arguments"] += call.arguments


@dataclass(kw_only=True)
class TextEvents(TextAnswer):
    """One text, told piece by piece.

    Attributes:
        shows_usage: whether an event at the end tells how many tokens there were.

    """

    is_stream = True
    shows_usage: bool = False
    _has_begun: bool = False

    def add(self, chunk: Any) -> bytes:
        """Return the events for a chunk."""
        chunk = as_chunk(chunk)
        if isinstance(chunk, Finish):
            self._finish = chunk
            return self._beginning()
        if isinstance(chunk, str):
            delta = self._event({"content": chunk} if self.is_chat else chunk)
        else:
            self._collect(chunk)
            delta = self._event({"tool_calls": [_piece(chunk)]})
        return self._beginning() + delta

    def end(self) -> bytes:
        """Return the last events."""
        said = self._beginning() + self._event({} if self.is_chat else "", self._reason)
        if self.shows_usage:
            said += data_event({**self._head(PART), "choices": [], "usage": self._usage})
        return said + DONE

    def _beginning(self) -> bytes:
        if self._has_begun or not self.is_chat:
            return b""
        self._has_begun = True
        return self._event({"role": "assistant", "content": ""})

    def _event(self, content: Any, reason: str | None = None) -> bytes:
        choice = self._choice({"delta" if self.is_chat else "text": content}, reason)
        usage = {"usage": None} if self.shows_usage else {}
        return data_event({**self._head(PART), "choices": [choice], **usage})


def text_answer(asked: Generation, *, is_chat: bool) -> TextAnswer:
    """Return the answer to a request, as it asks for it."""
    prefix = "chatcmpl" if is_chat else "cmpl"
    name = f"{prefix}-{uuid.uuid4().hex}"
    if not asked.stream:
        return TextAnswer(model=asked.model, is_chat=is_chat, id=name)
    options = asked.stream_options
    shows_usage = options is not None and options.include_usage
    return TextEvents(model=asked.model, is_chat=is_chat, id=name, shows_usage=shows_usage)


def _piece(call: ToolCall) -> dict[str, Any]:
    """Return a piece of a call: the first one names it."""
    if call.name is None:
        return {"index": call.index, "function": {"arguments": call.arguments}}
    function = {"name": call.name, "arguments": call.arguments}
    return {"index": call.index, "id": call.id, "type": "function", "function": function}
