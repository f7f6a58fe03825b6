"""Which token follows, of those that the model thinks likely."""

from dataclasses import dataclass

import torch

from potassium.errors import InvalidInput

__all__ = ["Sampler", "Sampling"]

MOST_LIKELY = 0.0  # the temperature


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How the next token is chosen.

    Attributes:
        temperature: 0 for the most likely token; 1 for as likely as the model says.
        top_p: only the likeliest tokens that have this probability together.
        top_k: only so many of the likeliest tokens; 0 for all.
        seed: the same one gives the same text; None for another one each time.

    Raises:
        InvalidInput: a value is out of its range.

    """

    temperature: float = MOST_LIKELY
    top_p: float = 1.0
    top_k: int = 0
    seed: int | None = None

    def __post_init__(self) -> None:
        """Check every value."""
        for name, is_valid, range_ in (
            ("temperature", 0 <= self.temperature < float("inf"), "0 or more"),
            ("top_p", 0 < self.top_p <= 1, "above 0, and 1 at most"),
            ("top_k", self.top_k >= 0, "0 or more"),
        ):
            if not is_valid:
                raise InvalidInput(f"{name}={getattr(self, name)!r} must be {range_}.")


class Sampler:
    """Chooses the tokens of one text."""

    def __init__(self, sampling: Sampling) -> None:
        self._sampling = sampling
        self._random: torch.Generator | None = None
        if not self.is_greedy:
            self._random = torch.Generator()  # of the CPU: the same on every device
            if sampling.seed is None:
                self._random.seed()
            else:
                self._random.manual_seed(sampling.seed % 2**63)

    @property
    def is_greedy(self) -> bool:
        """Whether it takes the most likely token."""
        return self._sampling.temperature == MOST_LIKELY

    def choose(self, scores: torch.Tensor) -> int:
        """Return a token.

        Args:
            scores: the logits of all tokens, of shape (vocabulary,); -inf for what must not come.

        """
        if self._random is None:
            return int(scores.argmax())
        sampling = self._sampling
        scores = scores.float() / sampling.temperature
        if 0 < sampling.top_k < len(scores):
            least = scores.topk(sampling.top_k).values[-1]
            scores = scores.masked_fill(scores < least, -torch.inf)
        chances = scores.softmax(dim=-1)
        if sampling.top_p < 1:
            ordered, tokens = chances.sort(descending=True)
            before = ordered.cumsum(dim=-1) - ordered
            ordered = ordered.masked_fill(before >= sampling.top_p, 0)
            return int(tokens[torch.multinomial(ordered.cpu(), 1, generator=self._random)])
        return int(torch.multinomial(chances.cpu(), 1, generator=self._random))
