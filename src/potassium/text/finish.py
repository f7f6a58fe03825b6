"""How a text has ended."""

from dataclasses import dataclass
from typing import Literal

__all__ = ["Finish", "Reason"]

Reason = Literal["stop", "length", "tool_calls", "content_filter"]


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
