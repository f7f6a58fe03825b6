"""A text that is being generated."""

from collections.abc import Sequence

from potassium.text.sampler import Sampler

__all__ = ["Row"]


class Row:
    """A text that is being generated: what the model has seen of it, and what it has not.

    Attributes:
        tokens: the prompt and what has been generated.
        prompt: how many of those are the prompt.
        sampler: chooses the next token.
        seen: how many tokens have their keys and values in the slot.
        slot: where those are; None if nowhere.

    """

    __slots__ = ("prompt", "sampler", "seen", "slot", "tokens")

    def __init__(self, prompt: Sequence[int], sampler: Sampler) -> None:
        self.tokens = list(prompt)
        self.prompt = len(self.tokens)
        self.sampler = sampler
        self.seen = 0
        self.slot: int | None = None

    @property
    def unseen(self) -> int:
        """How many tokens the model has to see before it can say the next one."""
        return len(self.tokens) - self.seen
