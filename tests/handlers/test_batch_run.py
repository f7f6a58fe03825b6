"""Running a batch through a handler: results in order, and each failure its own item's."""

from collections import deque
from dataclasses import dataclass
from math import log2
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pydantic
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import UploadFile
from support.batches import Model, failed, outcomes
from support.ids import shown

from potassium import File
from potassium.engine import Ceiling, Failure
from potassium.handlers.batch_run import BatchRun
from potassium.handlers.results_list import WrongCountError
from potassium.handlers.rewind import rewind


@pytest.mark.parametrize(
    "results",
    [
        lambda items: [item * 10 for item in items],
        lambda items: tuple(item * 10 for item in items),
        lambda items: (item * 10 for item in items),
        lambda items: map(int, [item * 10 for item in items]),
        lambda items: np.array(items) * 10,
        lambda items: torch.tensor(items) * 10,
        lambda items: list(torch.tensor(items) * 10),
    ],
    ids=["list", "tuple", "generator", "iterator", "array", "tensor", "list of tensors"],
)
def test_each_item_gets_its_own_result(results: Any) -> None:
    """Whatever holds the results, they belong to the items in order."""
    assert {index: int(one) for index, one in outcomes(results).items()} == {
        index: index * 10 for index in range(8)
    }


def test_results_are_in_host_memory() -> None:
    """A row of a tensor that requires gradients is detached, as it is about to be sent."""
    weights = torch.ones(2, 3, requires_grad=True)
    assert not any(row.requires_grad for row in outcomes(lambda _: weights, [1, 2]).values())


def test_an_exception_in_the_place_of_a_result_is_that_items_failure() -> None:
    """The other items get their results, and nothing is run again."""
    runs = []

    def function(items: list[int]) -> list[Any]:
        runs.append(items)
        return [KeyError(item) if item in (2, 5) else item for item in items]

    results = outcomes(function)
    assert {index: type(error) for index, error in failed(results).items()} == {
        2: KeyError,
        5: KeyError,
    }
    assert (results[3], len(runs)) == (3, 1)


@pytest.mark.parametrize(
    ("results", "message"),
    [
        ([1, 2], "expected 3 results, got 2"),
        ([1, 2, 3, 4], "expected 3 results, got 4"),
        ([], "expected 3 results, got 0"),
        (iter([1]), "expected 3 results, got 1"),
        (np.zeros((2, 3)), "expected 3 results, got 2"),
        (None, "expected a list of 3 results, got NoneType"),
        (7, "expected a list of 3 results, got int"),
        ("abc", "expected a list of 3 results, got str"),
        (b"abc", "expected a list of 3 results, got bytes"),
        ({1: 1, 2: 2, 3: 3}, "expected a list of 3 results, got dict"),
        ({1, 2, 3}, "expected a list of 3 results, got set"),
        (np.array(7), "expected a list of 3 results, got ndarray"),
        (torch.tensor(7), "expected a list of 3 results, got Tensor"),
    ],
    ids=shown,
)
def test_a_wrong_number_of_results_fails_all(results: Any, message: str) -> None:
    """No item gets a result that may be another's, and the handler is not run again."""
    runs = []

    def function(items: list[int]) -> Any:
        runs.append(items)
        return results

    errors = failed(outcomes(function, range(3)))
    assert len(errors) == 3
    assert {type(error) for error in errors.values()} == {WrongCountError}
    assert {str(error) for error in errors.values()} == {message}
    assert len(runs) == 1


@pytest.mark.parametrize("culprit", range(16))
@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt])
def test_a_culprit_is_found_in_log_n_rounds(culprit: int, error: type[BaseException]) -> None:
    """A culprit fails alone; its batch is halved log2(n) times, with at most two runs each time."""
    model = Model(culprit, error=error)
    results = outcomes(model, range(16))
    assert {index: type(one) for index, one in failed(results).items()} == {culprit: error}
    assert [results[index] for index in range(16) if index != culprit] == [
        index * 10 for index in range(16) if index != culprit
    ]
    sizes = [len(run) for run in model.runs]
    assert sorted(set(sizes), reverse=True) == [16, 8, 4, 2, 1]
    assert len(sizes) <= 1 + 2 * log2(16)
    assert model.runs.count([culprit]) == 1


def test_a_half_that_is_known_to_fail_is_not_run_for_that() -> None:
    """If the first half ran, the culprit is in the second, which is halved without being run."""
    model = Model(7)
    outcomes(model)
    assert model.runs == [list(range(8)), [0, 1, 2, 3], [4, 5], [6], [7]]


@given(size=st.integers(1, 40), bad=st.sets(st.integers(0, 39)))
def test_any_culprits_fail_and_all_others_have_their_results(size: int, bad: set[int]) -> None:
    """However many culprits there are, each item has its own outcome, in at most 2n - 1 runs."""
    model = Model(*bad)
    results = outcomes(model, range(size))
    assert {
        index: str(one.error) if isinstance(one, Failure) else one for index, one in results.items()
    } == {index: f"item {index}" if index in bad else index * 10 for index in range(size)}
    assert len(model.runs) <= 2 * size - 1


def test_items_that_nobody_wants_are_not_run_again() -> None:
    """An item whose client has left meanwhile takes no part in the search and has no outcome."""
    unwanted: set[int] = set()
    model = Model(1)

    def function(items: list[int]) -> list[int]:
        try:
            return model(items)
        finally:
            unwanted.update({0, 1, 6})

    results = outcomes(function, is_wanted=lambda index: index not in unwanted)
    assert results == {index: index * 10 for index in (2, 3, 4, 5, 7)}
    assert model.runs == [list(range(8)), [2, 3], [4, 5, 7]]


@pytest.mark.parametrize("left", [{0}, {0, 1, 2, 3}])
def test_a_culprit_that_nobody_wants_is_not_sought_among_the_others(left: set[int]) -> None:
    """If the culprit may be among the items that left, the other half is run whole."""
    unwanted: set[int] = set()
    model = Model(0)

    def function(items: list[int]) -> list[int]:
        try:
            return model(items)
        finally:
            unwanted.update(left)

    results = outcomes(function, is_wanted=lambda index: index not in unwanted)
    assert results == {index: index * 10 for index in set(range(8)) - left}
    assert model.runs[-1] == [4, 5, 6, 7]


def test_outcomes_are_known_as_soon_as_they_are() -> None:
    """The outcomes of a half that has run do not wait for the search in the other half."""
    model = Model(7)
    run = BatchRun(model, range(8), weight=len, ceiling=Ceiling()).outcomes()
    assert next(run) == (0, 0)
    assert len(model.runs) == 2


class TopK(NamedTuple):
    values: list[float]
    indices: list[int]


@pytest.mark.parametrize(
    "results",
    [
        TopK([0.5, 0.4], [0, 1]),
        torch.topk(torch.ones(2), 1),
        {"a": 1, "b": 2},
        {1, 2},
        pd.DataFrame({"who": ["Ann", "Bob"], "score": [1.0, 2.0]}),
        "ab",
        b"ab",
        torch.tensor(1.0),
    ],
    ids=lambda results: type(results).__name__,
)
def test_what_is_not_a_list_of_results_is_refused_whatever_its_length(results: Any) -> None:
    """Otherwise callers would get each other's data, with 200."""
    errors = failed(outcomes(lambda _: results, range(2)))
    assert [type(error) for error in errors.values()] == [WrongCountError] * 2


@pytest.mark.parametrize(
    "results",
    [
        [1, 2],
        (1, 2),
        np.array([1, 2]),
        torch.tensor([1, 2]),
        deque([1, 2]),
        iter([1, 2]),
        range(1, 3),
    ],
    ids=lambda results: type(results).__name__,
)
def test_results_may_come_in_any_kind_of_list(results: Any) -> None:
    """Also as the first dimension of an array or a tensor."""
    assert [int(one) for one in outcomes(lambda _: results, range(2)).values()] == [1, 2]


def test_an_item_that_runs_again_has_its_files_from_the_beginning() -> None:
    """Although the first run has read them."""

    class Item(pydantic.BaseModel):
        files: list[File]

    def run(items: list[Item]) -> list[bytes]:
        contents = [file.read() for item in items for file in item.files]
        if b"bad" in contents:
            raise ValueError
        return contents

    items = [Item(files=[File(data)]) for data in (b"a", b"bad", b"b", b"c")]
    outcomes = dict(BatchRun(run, items, weight=len, ceiling=Ceiling()).outcomes())
    assert isinstance(outcomes.pop(1), Failure)
    assert outcomes == {0: b"a", 2: b"b", 3: b"c"}


def test_files_are_rewound_wherever_they_are() -> None:
    """In dicts, dataclasses, models, tuples, ``UploadFile``, and if the first run closed them."""

    @dataclass
    class Pair:
        one: File
        other: Any

    @dataclass(slots=True)
    class Slotted:
        one: File

    class Extra(pydantic.BaseModel, extra="allow"):
        one: File

    files = [File(b"abc") for _ in range(7)]
    cycle: list[Any] = [
        Pair(files[0], {"a": (files[1],)}),
        UploadFile(files[2]),  # type: ignore[arg-type] # a file object
        files[3],
        Slotted(files[4]),
        Extra.model_validate({"one": files[5], "other": files[6]}),
    ]
    cycle.append(cycle)
    for file in files:
        file.read()
    files[3].close()
    rewind(cycle)
    assert [file.read() for file in files] == [b"abc"] * 7
