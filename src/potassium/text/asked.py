"""What a decoder reads of a request, whichever API it belongs to."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

__all__ = ["Asked", "Completion", "Conversation"]


class Asked(Protocol):
    """A request for a text; what is None is not said."""

    temperature: float | None
    top_p: float | None
    seed: int | None

    @property
    def token_limit(self) -> int | None:
        """How many tokens follow at most."""

    @property
    def stops(self) -> Sequence[str]:
        """The texts that end it."""

    @property
    def schema_of_text(self) -> Mapping[str, Any] | None:
        """JSON Schema that it must be valid for."""


class Conversation(Asked, Protocol):
    """A request for the answer of a chat."""

    tools: list[dict[str, Any]] | None

    @property
    def conversation(self) -> Sequence[Mapping[str, Any]]:
        """The messages, as chat templates take them."""


class Completion(Asked, Protocol):
    """A request for what follows a text."""

    @property
    def text(self) -> str | list[int]:
        """The text, or its tokens."""
