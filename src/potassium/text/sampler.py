"""What is a text's own in the choice of its next token."""

import torch

from potassium.text.grammar import Grammar
from potassium.text.sampling import Sampling

__all__ = ["Sampler"]


class Sampler:
    """What is a text's own in the choice of its next token.

    Args:
        sampling: how its tokens are chosen.
        grammar: what the text must be like; None for anything.

    Attributes:
        sampling: how its tokens are chosen.
        grammar: what the text must be like; None for anything.

    """

    def __init__(self, sampling: Sampling, grammar: Grammar | None = None) -> None:
        self.sampling = sampling
        self.grammar = grammar
        self._taken = 0
        self._drawn: float | None = None
        self._random: torch.Generator | None = None
        if sampling.temperature > 0:
            self._random = torch.Generator()  # of the CPU: the same on every device
            if sampling.seed is None:
                self._random.seed()
            else:
                self._random.manual_seed(sampling.seed)

    @property
    def is_early(self) -> bool:
        """Whether the text must not end yet."""
        return self._taken < self.sampling.min_tokens

    @property
    def drawn(self) -> float | None:
        """A number of at least 0 and less than 1, the same until a token is taken.

        So a run of the model that has failed takes no other token when it is made again. None where
        the most likely token is taken.
        """
        if self._drawn is None and self._random is not None:
            self._drawn = float(torch.rand((), generator=self._random, dtype=torch.float32))
        return self._drawn

    def take(self) -> None:
        """Note that a token was chosen."""
        self._taken += 1
        self._drawn = None
