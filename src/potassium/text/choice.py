"""Chooses the next tokens of many texts at a time."""

from collections.abc import Collection, Sequence
from math import inf

import torch
from torch.nn.functional import pad

from potassium.text.sampler import Sampler

__all__ = ["Choice", "NotANumber"]

# In place of a token.
NAN, NONE = -1, -2

# Whatever is divided by less is as good as infinite, and 0 / 0 is not a number.
LOWEST_TEMPERATURE = 1e-30


class NotANumber(RuntimeError):
    """The model has computed what is not a number."""


class Choice:
    """How the next tokens of many texts are chosen, once the model has run.

    What that needs is on the device before the model runs, and all tokens come back at once: so a
    GPU waits once for each step, not for each text.

    Args:
        samplers: those of the rows that the model runs on; None where there is no choice to make.
        ends: the tokens that end a text.
        device: where the model's scores are wanted.

    """

    def __init__(
        self, samplers: Sequence[Sampler | None], ends: Collection[int], device: torch.device
    ) -> None:
        self._samplers = samplers
        self._device = device
        self._errors: dict[int, Exception] = {}
        self._early = self._ends = self._draws = self._allows = None
        early = [sampler is not None and sampler.is_early for sampler in samplers]
        if any(early):
            self._early = torch.tensor(early, device=device)[:, None]
            self._ends = torch.tensor(list(ends), dtype=torch.int64, device=device)
        draws = [_draw(sampler) for sampler in samplers]
        if any(map(any, draws)):
            self._draws = torch.tensor(draws, dtype=torch.float32, device=device)
        if allowed := self._allowed():
            self._constrained = torch.tensor(list(allowed), device=device)
            self._allows = torch.stack(list(allowed.values())).to(device)

    def _allowed(self) -> dict[int, torch.Tensor]:
        """Return what may follow in those rows that have a grammar."""
        found = {}
        for index, sampler in enumerate(self._samplers):
            if sampler is not None and sampler.grammar is not None:
                try:
                    found[index] = sampler.grammar.allowed()
                except Exception as error:  # noqa: BLE001 - it concerns no other row
                    self._errors[index] = error
        return found

    def of(self, scores: torch.Tensor) -> list[int | Exception]:
        """Return the next token of each row, or why there is none.

        Args:
            scores: the logits of all tokens, of shape (rows, vocabulary); they may be changed.

        """
        scores = scores.to(self._device)
        if self._allows is not None:
            allows = pad(self._allows, (0, scores.shape[-1] - self._allows.shape[-1]))
            kept = scores[self._constrained].masked_fill(~allows, -inf)
            scores[self._constrained] = kept
        if self._early is not None:
            scores[:, self._ends] = scores[:, self._ends].masked_fill(self._early, -inf)
        best, tokens = scores.max(dim=-1)
        if self._draws is not None:
            tokens = _drawn(scores.float() - best[:, None].float(), tokens, self._draws)
        tokens = tokens.masked_fill(best == -inf, NONE).masked_fill(best.isnan(), NAN)
        return [self._outcome(index, token) for index, token in enumerate(tokens.tolist())]

    def _outcome(self, index: int, token: int) -> int | Exception:
        if token == NAN:
            return NotANumber("The model has computed what is not a number.")
        if error := self._errors.get(index):
            return error
        if token == NONE:
            return RuntimeError("There is no token that may follow.")
        if sampler := self._samplers[index]:
            sampler.take()
        return token


def _draw(sampler: Sampler | None) -> tuple[float, ...]:
    """Return how a token is drawn, and with which number; zeros where it is not."""
    if sampler is None or sampler.drawn is None:
        return 0, 0, 0, 0
    how = sampler.sampling
    temperature = max(how.temperature, LOWEST_TEMPERATURE)
    return temperature, how.top_k or inf, how.top_p, sampler.drawn


def _drawn(scores: torch.Tensor, likeliest: torch.Tensor, draws: torch.Tensor) -> torch.Tensor:
    """Return the tokens that are drawn, and the likeliest ones where nothing is.

    Args:
        scores: the logits, of which the largest is 0.
        likeliest: their tokens.
        draws: what ``_draw`` says of each row.

    """
    temperature, top_k, top_p, drawn = draws.T[..., None]
    is_drawn = temperature > 0
    scores = scores / temperature.where(is_drawn, 1)
    scores, tokens = scores.sort(dim=-1, descending=True, stable=True)
    place = torch.arange(scores.shape[-1], device=scores.device)
    chances = scores.masked_fill(place >= top_k, -inf).softmax(dim=-1)
    up_to = chances.cumsum(dim=-1)
    kept = (up_to - chances < top_p) & (chances > 0)
    last = (kept.sum(dim=-1, keepdim=True) - 1).clamp(min=0)
    wanted = drawn * up_to.gather(-1, last)
    places = (up_to <= wanted).sum(dim=-1, keepdim=True).minimum(last)
    return tokens.gather(-1, places).where(is_drawn, likeliest[:, None])[:, 0]
