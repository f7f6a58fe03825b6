"""Chats and completions as documents and as events."""

import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from starlette.exceptions import HTTPException

from potassium.errors import PotassiumError
from potassium.openai.chunks import Finish, ToolCall, as_chunk

__all__ = ["Text", "events", "whole"]

DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True)
class Text:
    """How one text is told.

    Attributes:
        id: names it.
        model: the model's name.
        is_chat: whether it is the answer of a chat, and not a completion.
        shows_usage: whether a stream tells how many tokens there were.

    """

    id: str
    model: str
    is_chat: bool
    shows_usage: bool = False
    created: int = field(default_factory=lambda: int(time.time()))

    def document(self, choices: list[dict[str, Any]], *, is_part: bool) -> dict[str, Any]:
        """Return the document of the text, or of a part of it."""
        kind = "text_completion"
        if self.is_chat:
            kind = "chat.completion.chunk" if is_part else "chat.completion"
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "choices": choices,
        }

    def choice(self, content: Any, reason: str | None, *, is_part: bool) -> dict[str, Any]:
        """Return the only choice that there is."""
        said = {"text": content or ""}
        if self.is_chat:
            said = {"delta" if is_part else "message": content}
        return {"index": 0, **said, "logprobs": None, "finish_reason": reason}


async def whole(chunks: AsyncIterator[Any], text: Text) -> dict[str, Any]:
    """Return the document of a text, once it has ended."""
    pieces: list[str] = []
    calls: dict[int, dict[str, Any]] = {}
    finish: Finish | None = None
    async for value in chunks:
        chunk = as_chunk(value)
        if isinstance(chunk, str):
            pieces.append(chunk)
        elif isinstance(chunk, Finish):
            finish = chunk
        else:
            _collect(calls, chunk)
    content: Any = "".join(pieces)
    if text.is_chat:
        content = {"role": "assistant", "content": content, "refusal": None}
        if calls:
            content["tool_calls"] = list(calls.values())
            content["content"] = content["content"] or None
    reason = _reason(finish, has_calls=bool(calls))
    document = text.document([text.choice(content, reason, is_part=False)], is_part=False)
    return {**document, "usage": usage_of(finish)}


async def events(
    chunks: AsyncIterator[Any], text: Text, failed: Callable[[Exception], dict[str, Any]]
) -> AsyncIterator[bytes]:
    """Yield the events of a text as it comes; ``failed`` returns what is said of an error.

    They have neither ids nor types, and there are no comments: the clients of OpenAI's API take
    each ``data`` for a part, until the last one, ``[DONE]``.
    """
    try:
        async for event in _events(chunks, text):
            yield event
    except (PotassiumError, HTTPException, TypeError) as error:
        yield _data({"error": failed(error)})
    yield DONE


async def _events(chunks: AsyncIterator[Any], text: Text) -> AsyncIterator[bytes]:
    if text.is_chat:
        yield _event(text, {"role": "assistant", "content": ""}, None)
    finish: Finish | None = None
    has_calls = False
    async for value in chunks:
        chunk = as_chunk(value)
        if isinstance(chunk, str):
            yield _event(text, {"content": chunk} if text.is_chat else chunk, None)
        elif isinstance(chunk, Finish):
            finish = chunk
        else:
            has_calls = True
            yield _event(text, {"tool_calls": [_piece(chunk)]}, None)
    yield _event(text, {} if text.is_chat else "", _reason(finish, has_calls=has_calls))
    if text.shows_usage:
        yield _data({**text.document([], is_part=True), "usage": usage_of(finish)})


def usage_of(finish: Finish | None) -> dict[str, int] | None:
    """Return how many tokens there were; None if the handler has not said it."""
    if finish is None:
        return None
    return {
        "prompt_tokens": finish.prompt_tokens,
        "completion_tokens": finish.completion_tokens,
        "total_tokens": finish.prompt_tokens + finish.completion_tokens,
    }


def _reason(finish: Finish | None, *, has_calls: bool) -> str:
    if has_calls and (finish is None or finish.reason == "stop"):
        return "tool_calls"
    return "stop" if finish is None else finish.reason


def _event(text: Text, content: Any, reason: str | None) -> bytes:
    document = text.document([text.choice(content, reason, is_part=True)], is_part=True)
    if text.shows_usage:
        document["usage"] = None
    return _data(document)


def _data(document: dict[str, Any]) -> bytes:
    return b"data: %b\n\n" % json.dumps(document, ensure_ascii=False).encode()


def _piece(call: ToolCall) -> dict[str, Any]:
    """Return a piece of a call: the first one names it."""
    if call.name is None:
        return {"index": call.index, "function": {"arguments": call.arguments}}
    function = {"name": call.name, "arguments": call.arguments}
    return {"index": call.index, "id": call.id, "type": "function", "function": function}


def _collect(calls: dict[int, dict[str, Any]], call: ToolCall) -> None:
    known = calls.setdefault(
        call.index, {"id": call.id, "type": "function", "function": {"name": "", "arguments": ""}}
    )
    known["function"]["name"] += call.name or ""
    known["function"]["arguments"] += call.arguments
