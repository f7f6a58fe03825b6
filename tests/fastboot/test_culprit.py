"""What cannot be kept is named, with the way to it."""

import threading
import types
from typing import Any

import pytest

from potassium.fastboot.culprit import culprit


class Own:
    def __init__(self, **attributes: Any) -> None:
        vars(self).update(attributes)


def function_with_a_function() -> Any:
    def inner() -> None: ...

    return inner


LOCK = threading.Lock()


@pytest.mark.parametrize(
    ("cache", "where"),
    [
        ({"lock": LOCK}, 'cache["lock"]'),
        ({"deep": [1, {"x": (2, LOCK)}]}, 'cache["deep"][1]["x"][1]'),
        ({"own": Own(inner=Own(locks=[LOCK]))}, 'cache["own"].inner.locks[0]'),
        ({3: {("a", 1): LOCK}}, "cache[3][('a', 1)]"),
        ({"shared": LOCK, "again": LOCK}, 'cache["shared"]'),
    ],
)
def test_the_path_is_that_of_python(cache: dict[Any, Any], where: str) -> None:
    assert culprit({"cache": cache}) == (
        f"{where}: a _thread.lock (cannot pickle '_thread.lock' object)"
    )


def test_a_lambda_has_a_line() -> None:
    line = test_a_lambda_has_a_line.__code__.co_firstlineno + 2
    hooks = [len, lambda x: x]
    assert culprit({"cache": {"model": Own(hooks=hooks)}}) == (
        f'cache["model"].hooks[1]: a lambda in line {line} of test_culprit.py'
    )


def test_a_function_in_a_function_has_a_name() -> None:
    found = culprit({"cache": {"f": function_with_a_function()}}) or ""
    assert found.startswith('cache["f"]: the function inner in line ')


def test_layers_of_torch_are_named_as_in_python() -> None:
    torch = pytest.importorskip("torch")
    net = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.ModuleDict({"head": torch.nn.ReLU()}))
    net[1]["head"].lock = LOCK
    assert (culprit({"cache": {"net": net}}) or "").startswith('cache["net"][1].head.lock: a ')


def test_a_module_that_compiles_itself_in_place_is_named() -> None:
    """It would come back uncompiled, and say nothing."""
    torch = pytest.importorskip("torch")
    net = torch.nn.Sequential(torch.nn.Linear(2, 2))
    net[0].compile(backend="eager")
    found = culprit({"cache": {"net": net}}) or ""
    assert found.startswith('cache["net"][0]: ')
    assert "write torch.compile(module)" in found


def test_nothing_is_found_where_all_can_be_kept() -> None:
    assert culprit({"cache": {"model": Own(x=[1])}, "more": {1, 2}}) is None


def test_deep_structures_are_looked_through() -> None:
    deep: Any = LOCK
    for _ in range(2_000):
        deep = [deep]
    found = culprit({"cache": {"deep": deep}}) or ""
    assert found.startswith('cache["deep"][0][0][0]')


class Patched:
    def answer(self) -> str:
        return "of the class"


class Derived(Patched):
    def answer(self) -> str:
        return "of the derived class"

    def of_base(self) -> Any:
        return super().answer


def test_a_method_that_an_object_has_been_given_is_named() -> None:
    """Pickle keeps its name only: that of the class would come back, and say nothing."""

    def answer(self: Patched) -> str:
        return "of the object"

    one = Patched()
    one.answer = types.MethodType(answer, one)  # type: ignore[method-assign]  # as libraries do
    found = culprit({"cache": {"one": one}}) or ""
    assert found.startswith('cache["one"].answer: a builtins.method (')
    derived = Derived()
    assert (culprit({"cache": [derived.of_base()]}) or "").startswith("cache[0]: a builtins.method")
    assert culprit({"cache": [derived.answer, Patched().answer, dict.fromkeys]}) is None
