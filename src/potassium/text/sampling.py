"""How the tokens of a text are chosen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

from potassium.errors import InvalidInput

__all__ = ["Sampling"]

LONGEST_SEED = 2**63


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How the tokens of a text are chosen, and where it ends.

    Attributes:
        max_tokens: how many tokens follow the prompt at most; None for as many as there is room.
        min_tokens: the text does not end before so many, but for ``stop``, or where it is complete
            for its ``schema``.
        temperature: 0 for the most likely token each time; 1 for as likely as the model says.
        top_p: only the likeliest tokens that have this probability together.
        top_k: only so many of the likeliest tokens; 0 for all.
        seed: the same one gives the same text; None for another one each time.
        stop: the text ends before the first of these; it does not have it.
        schema: JSON Schema that the text must be valid for; an empty one for any JSON. Needs the
            package llguidance.

    Raises:
        InvalidInput: a value is out of its range.

    """

    max_tokens: int | None = None
    min_tokens: int = 0
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int | None = None
    stop: Sequence[str] = ()
    schema: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        """Check every value."""
        for name, is_valid, what in (
            ("max_tokens", self.max_tokens is None or self.max_tokens >= 1, "1 or more"),
            ("min_tokens", self.min_tokens >= 0, "0 or more"),
            ("temperature", 0 <= self.temperature < inf, "0 or more"),
            ("top_p", 0 < self.top_p <= 1, "above 0, and 1 at most"),
            ("top_k", self.top_k >= 0, "0 or more"),
            ("stop", not isinstance(self.stop, str), "a list of texts"),
            ("seed", self.seed is None or abs(self.seed) < LONGEST_SEED, "of 64 bits"),
        ):
            if not is_valid:
                raise InvalidInput(f"{name}={getattr(self, name)!r:.40} must be {what}.")
