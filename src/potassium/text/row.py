"""A text that is being generated."""

from collections.abc import Sequence

from potassium.text.sampler import Sampler

__all__ = ["Row"]


class Row:
    """A text that is being generated: what the model has seen of it, and what it has not.

    Attributes:
        tokens: the prompt and what has been generated.
        sampler: chooses the next token; None once the text has ended.
        seen: how many tokens have their keys and values in the slot.
        slot: where those are; None if nowhere.
        stepped: the number of the last step that it was in.
        outcome: the next token, which is not among ``tokens`` yet, or why there is none; None while
            the model has to see more for it.

    """

    __slots__ = ("outcome", "sampler", "seen", "slot", "stepped", "tokens")

    def __init__(self, prompt: Sequence[int], sampler: Sampler) -> None:
        self.tokens = list(prompt)
        self.sampler: Sampler | None = sampler
        self.seen = 0
        self.slot: int | None = None
        self.stepped = 0
        self.outcome: int | Exception | None = None

    @property
    def unseen(self) -> int:
        """How many tokens the model has to see before it can say the next one."""
        return len(self.tokens) - self.seen

    def add(self, token: int) -> None:
        """Let ``token``, the outcome of a step, be part of the text."""
        self.tokens.append(token)
        self.outcome = None
