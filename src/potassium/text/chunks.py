"""What is yielded besides text: calls of functions, and how the text has ended."""

from dataclasses import dataclass
from typing import Literal

__all__ = ["Finish", "Reason", "ToolCall"]

Reason = Literal["stop", "length", "tool_calls", "content_filter"]


@dataclass(frozen=True, kw_only=True)
class ToolCall:
    """A function that the model wants to be called, or the next piece of its arguments.

    Attributes:
        index: which of the calls of this answer it is; from 0.
        id: names the call; in its first piece only.
        name: that of the function; in the first piece only.
        arguments: JSON, or a piece of it.

    """

    index: int = 0
    id: str | None = None
    name: str | None = None
    arguments: str = ""


@dataclass(frozen=True, kw_only=True)
class Finish:
    """How a text has ended, and how many tokens it took.

    Attributes:
        reason: ``"stop"`` where it was complete, ``"length"`` where there was no more room; from
            handlers of their own also ``"tool_calls"`` and ``"content_filter"``.
        prompt_tokens: how many tokens the prompt had.
        completion_tokens: how many followed, the one that ends the text included.

    """

    reason: Reason = "stop"
    prompt_tokens: int = 0
    completion_tokens: int = 0
