"""A response, as a document and as events.

See https://platform.openai.com/docs/api-reference/responses.
"""

import time
import uuid
from collections.abc import Iterable, Iterator
from typing import Any

from potassium.http.codec import encode
from potassium.openai.answer import Answer
from potassium.openai.chunks import Finish, ToolCall, as_chunk
from potassium.openai.output_items import CallItem, Event, OutputItem, TextItem
from potassium.openai.response_request import ResponseRequest

__all__ = ["ResponseAnswer", "response_answer"]

INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}
FAILURES = {
    "invalid_request_error": "invalid_prompt",
    "rate_limit_error": "rate_limit_exceeded",
}


class ResponseAnswer(Answer):
    """One response, told in one piece.

    Args:
        asked: what it answers.

    """

    def __init__(self, asked: ResponseRequest) -> None:
        self._head = {
            "id": f"resp_{uuid.uuid4().hex}",
            "object": "response",
            "created_at": int(time.time()),
            **asked.shown(),
        }
        self._items: dict[int | None, OutputItem] = {}  # by the index of a call; the text by None
        self._finish: Finish | None = None

    def add(self, chunk: Any) -> bytes:
        """Keep a chunk."""
        for _ in self._events(chunk):
            pass
        return b""

    def end(self) -> bytes:
        """Return the document."""
        return encode(self.document(self._status))

    def document(self, status: str) -> dict[str, Any]:
        """Return the response as it is now.

        Args:
            status: how far it has come, as the API names it.

        """
        of_items = "incomplete" if status == "failed" else status
        reason = self._reason if status == "incomplete" else None
        return {
            **self._head,
            "status": status,
            "error": None,
            "incomplete_details": reason and {"reason": reason},
            "output": [item.document(of_items) for item in self._items.values()],
            "usage": self._usage,
        }

    @property
    def _status(self) -> str:
        return "completed" if self._reason is None else "incomplete"

    @property
    def _reason(self) -> str | None:
        """Why it is incomplete; None if it is complete."""
        return None if self._finish is None else INCOMPLETE.get(self._finish.reason)

    @property
    def _usage(self) -> dict[str, Any] | None:
        """How many tokens there were; None if the handler has not said it."""
        finish = self._finish
        if finish is None:
            return None
        return {
            "input_tokens": finish.prompt_tokens,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": finish.completion_tokens,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": finish.prompt_tokens + finish.completion_tokens,
        }

    def _events(self, chunk: Any) -> Iterator[Event]:
        """Take a chunk, and yield the events for it."""
        chunk = as_chunk(chunk)
        if isinstance(chunk, Finish):
            self._finish = chunk
        elif chunk != "":
            name = chunk.index if isinstance(chunk, ToolCall) else None
            item = self._items.get(name)
            if item is None:
                item = self._items[name] = _item(len(self._items), chunk)
                yield from item.opening()
            event = item.add(chunk)
            if event is not None:
                yield event


class ResponseEvents(ResponseAnswer):
    """One response, told piece by piece. Its items are open until it ends."""

    is_stream = True

    def __init__(self, asked: ResponseRequest) -> None:
        super().__init__(asked)
        self._told = 0  # events

    def add(self, chunk: Any) -> bytes:
        """Return the events for a chunk."""
        return self._beginning() + self._tell(self._events(chunk))

    def end(self) -> bytes:
        """Return the last events."""
        status = self._status
        closing = (event for item in self._items.values() for event in item.closing(status))
        said = self._beginning() + self._tell(closing)
        return said + self._tell([_of(f"response.{status}", self.document(status))])

    def fail(self, error: dict[str, Any]) -> bytes:
        """Return the events for a failure.

        The last one is for clients that look for failures in no other: OpenAI's own raises only
        for a member ``error``.
        """
        code = FAILURES.get(error["type"], "server_error")
        failed = {**self.document("failed"), "error": {"code": code, "message": error["message"]}}
        last = {**error, "type": "error", "error": error}
        return self._beginning() + self._tell([_of("response.failed", failed), last])

    def _beginning(self) -> bytes:
        if self._told:
            return b""
        now = self.document("in_progress")
        return self._tell([_of("response.created", now), _of("response.in_progress", now)])

    def _tell(self, events: Iterable[Event]) -> bytes:
        said = []
        for event in events:
            numbered = encode({**event, "sequence_number": self._told})
            said.append(b"event: %b\ndata: %b\n\n" % (event["type"].encode(), numbered))
            self._told += 1
        return b"".join(said)


def response_answer(asked: ResponseRequest) -> ResponseAnswer:
    """Return the answer to a request, as it asks for it."""
    return ResponseEvents(asked) if asked.stream else ResponseAnswer(asked)


def _item(index: int, first: str | ToolCall) -> OutputItem:
    return CallItem(index, first) if isinstance(first, ToolCall) else TextItem(index)


def _of(kind: str, response: dict[str, Any]) -> Event:
    return {"type": kind, "response": response}
