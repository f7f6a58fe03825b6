"""Chooses the next token of a text."""

from collections.abc import Collection

import torch

from potassium.text.grammar import Grammar
from potassium.text.sampling import Sampling

__all__ = ["Sampler"]


class Sampler:
    """Chooses the next token of a text, as ``sampling`` says.

    Args:
        sampling: how.
        ends: the tokens that end a text.
        grammar: what the text must be like; None for anything.

    """

    def __init__(
        self, sampling: Sampling, ends: Collection[int], grammar: Grammar | None = None
    ) -> None:
        self._sampling = sampling
        self._ends = list(ends)
        self._grammar = grammar
        self._chosen = 0
        self._random: torch.Generator | None = None
        if sampling.temperature > 0:
            self._random = torch.Generator()  # of the CPU: the same on every device
            if sampling.seed is None:
                self._random.seed()
            else:
                self._random.manual_seed(sampling.seed)

    @property
    def takes_likeliest(self) -> bool:
        """Whether the next token is the one that the model thinks most likely."""
        is_early = self._chosen < self._sampling.min_tokens
        return self._random is None and self._grammar is None and not is_early

    def choose(self, scores: torch.Tensor) -> int:
        """Return the next token.

        Args:
            scores: the logits of all tokens, of shape (vocabulary,).

        """
        if self._grammar is not None:
            scores = self._grammar.allowed(scores)
        if self._chosen < self._sampling.min_tokens:
            scores = scores.clone()
            scores[self._ends] = -torch.inf
        token = int(scores.argmax()) if self._random is None else self._draw(scores, self._random)
        self._chosen += 1
        return token

    def _draw(self, scores: torch.Tensor, random: torch.Generator) -> int:
        sampling = self._sampling
        scores = scores.float()
        scores = (scores - scores.max()) / sampling.temperature
        if 0 < sampling.top_k < len(scores):
            least = scores.topk(sampling.top_k).values[-1]
            scores = scores.masked_fill(scores < least, -torch.inf)
        chances, tokens = scores.softmax(dim=-1).sort(descending=True, stable=True)
        before = chances.cumsum(dim=-1) - chances
        chances = chances.masked_fill(before >= sampling.top_p, 0)
        return int(tokens[torch.multinomial(chances.cpu(), 1, generator=random).item()])
