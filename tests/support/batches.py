"""A batched handler that fails on demand, and the outcomes of a batch that it runs."""

from collections.abc import Callable, Sequence
from math import inf
from typing import Any

import torch

from potassium.engine import Ceiling, Failure
from potassium.handlers.batch_run import BatchRun


class Model:
    """A batched handler that records its runs; a bad item fails the run that it is in."""

    def __init__(
        self,
        *bad: int,
        error: Callable[[str], BaseException] = ValueError,
        memory: float = inf,
    ) -> None:
        self.runs: list[list[int]] = []
        self.bad = bad
        self.error = error
        self.memory = memory  # how many items fit

    def __call__(self, items: list[int]) -> list[int]:
        self.runs.append(items)
        if len(items) > self.memory:
            raise torch.OutOfMemoryError("CUDA out of memory")
        for item in items:
            if item in self.bad:
                raise self.error(f"item {item}")
        return [item * 10 for item in items]


def outcomes(
    function: Callable[[list[Any]], Any],
    items: Sequence[Any] = range(8),
    *,
    ceiling: Ceiling | None = None,
    **options: Any,
) -> dict[int, Any]:
    """Run a batch and return the outcome of each item; no item may have more than one."""
    run = BatchRun(function, items, weight=len, ceiling=ceiling or Ceiling(), **options)
    pairs = list(run.outcomes())
    assert len({index for index, _ in pairs}) == len(pairs)
    return dict(pairs)


def failed(results: dict[int, Any]) -> dict[int, BaseException]:
    return {index: one.error for index, one in results.items() if isinstance(one, Failure)}
