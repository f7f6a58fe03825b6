"""Batches that do not fit into the accelerator's memory, or that poison its context."""

import weakref
from typing import Any

import pytest
import torch
from support.batches import Model, failed, outcomes

from potassium.engine import Ceiling
from potassium.errors import OutOfMemory, WorkerFailed

FATAL = "CUDA error: device-side assert triggered"


def test_out_of_memory_halves_the_batch_and_tells_the_ceiling() -> None:
    """All items get results in parts that fit, and the next batch starts from what is known."""
    model, ceiling = Model(memory=2), Ceiling()
    results = outcomes(model, ceiling=ceiling)
    assert results == {index: index * 10 for index in range(8)}
    assert [len(run) for run in model.runs] == [8, 4, 2, 2, 4, 2, 2]
    assert ceiling.value == 2


def test_what_fits_is_told_to_the_ceiling() -> None:
    """For a batch with a culprit, the ceiling is told the largest part that ran."""
    told: list[float] = []
    ceiling = Ceiling()
    ceiling.fitted = told.append  # type: ignore[method-assign,assignment] # a spy
    outcomes(Model(3), ceiling=ceiling)
    assert told == [4]


def test_what_alone_is_out_of_memory_is_tried_once_more() -> None:
    """Memory is freed in between; an item that fails twice gets 503, and no other item fails."""
    model = Model(5, error=torch.OutOfMemoryError)
    results = outcomes(model)
    (error,) = failed(results).values()
    assert isinstance(error, OutOfMemory)
    assert (error.retry_after, isinstance(error.__cause__, torch.OutOfMemoryError)) == (1, True)
    assert (list(failed(results)), model.runs.count([5])) == ([5], 2)


def test_a_second_try_alone_may_succeed_or_fail_otherwise() -> None:
    """The outcome of the second attempt is the item's outcome."""
    for last in (ValueError("bad"), None):
        errors: list[Any] = [torch.OutOfMemoryError("CUDA out of memory"), last]

        def function(items: list[int], errors: list[Any] = errors) -> list[int]:
            error = errors.pop(0)
            if error is not None:
                raise error
            return items

        outcome = outcomes(function, [7])[0]
        assert outcome == 7 if last is None else outcome.error is last


def test_memory_is_freed_before_the_halves_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the failed run held in its frames is gone when torch frees its cache."""

    class Tensor: ...

    held: list[weakref.ref[Tensor]] = []
    given_back: list[bool] = []

    def function(items: list[int]) -> list[int]:
        if len(items) > 1:
            tensor = Tensor()
            held.append(weakref.ref(tensor))
            raise torch.OutOfMemoryError("CUDA out of memory")
        return items

    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: given_back.append(held[0]() is None))
    assert outcomes(function, [1, 2]) == {0: 1, 1: 2}
    assert given_back == [True]


def test_a_fatal_error_stops_at_once() -> None:
    """Nothing runs on a dead context: every item that has no result so far gets that error."""
    model = Model(3, error=lambda _: torch.AcceleratorError(FATAL))
    assert (set(failed(outcomes(model))), len(model.runs)) == (set(range(8)), 1)


def test_after_a_fatal_error_in_a_half_the_other_half_is_not_run() -> None:
    """Halves that ran before it keep their results."""
    errors: list[Any] = [ValueError(), None, torch.AcceleratorError(FATAL)]
    runs = []

    def function(items: list[int]) -> list[int]:
        runs.append(items)
        error = errors.pop(0)
        if error is not None:
            raise error
        return items

    results = outcomes(function)
    assert runs == [list(range(8)), [0, 1, 2, 3], [4, 5]]
    assert {index for index, error in failed(results).items() if str(error) == FATAL} == {4, 5}
    others = {index for index, error in failed(results).items() if type(error) is WorkerFailed}
    assert others == {6, 7}


def test_a_fatal_error_in_a_second_try_stops_at_once() -> None:
    """Whichever run the error comes in, nothing runs after it."""
    errors = [torch.OutOfMemoryError("CUDA out of memory")] * 2 + [torch.AcceleratorError(FATAL)]
    runs = []

    def function(items: list[int]) -> list[int]:
        runs.append(items)
        raise errors.pop(0)

    results = outcomes(function, range(2))
    assert {str(error) for error in failed(results).values()} == {FATAL}
    assert runs == [[0, 1], [0], [0]]
