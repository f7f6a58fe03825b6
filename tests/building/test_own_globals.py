"""Which global variables a build finds changed."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from potassium import UsageError
from potassium.building.own_globals import OwnGlobals

SOURCE = """
from collections import OrderedDict
from types import SimpleNamespace
from pydantic import BaseModel
from potassium import Potassium

class Own:
    shared = 1

class Unfinished(BaseModel):
    one: "Nowhere"

class Closed:
    __slots__ = ()

    def __getattr__(self, name):
        raise RuntimeError(name)

app = Potassium("own")
MODEL = None
NUMBER = 1_000_000
TEXT = "a b"
STATE = {"n": 0, "inner": {"deep": [1]}}
LIST = [1]
SET = {1}
TUPLE = (1, [2])
own = Own()
space = SimpleNamespace()
closed = Closed()
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a module of the user's own."""
    (tmp_path / "own_globals_example.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    yield __import__("own_globals_example")
    del sys.modules["own_globals_example"]


def change(own: Any, name: str, value: Any) -> None:
    setattr(own, name, value)


CHANGES: list[tuple[str, bool, Callable[[Any], object]]] = [
    ("MODEL", False, lambda own: change(own, "MODEL", [1])),
    ("NEW", False, lambda own: change(own, "NEW", 5)),
    ("NUMBER", False, lambda own: change(own, "NUMBER", 5)),
    ("TUPLE", False, lambda own: change(own, "TUPLE", (1, [2]))),
    ("STATE", True, lambda own: own.STATE.update(n=1)),
    ("STATE", True, lambda own: own.STATE["inner"]["deep"].append(2)),
    ("LIST", True, lambda own: own.LIST.append(2)),
    ("SET", True, lambda own: own.SET.add("model")),
    ("own", True, lambda own: change(own.own, "model", 1)),
    ("space", True, lambda own: change(own.space, "model", 1)),
]


@pytest.mark.parametrize(("name", "is_same", "act"), CHANGES)
def test_what_has_changed_is_found(
    own: ModuleType, name: str, is_same: bool, act: Callable[[Any], object]
) -> None:
    before = OwnGlobals()
    act(own)
    (found,) = before.changed()
    assert (found.module, found.name, found.is_same) == (own.__name__, name, is_same)
    assert found.value is getattr(own, name)


@pytest.mark.parametrize(
    "act",
    [
        lambda own: None,
        lambda own: change(own, "TEXT", " ".join(own.TEXT.split())),
        lambda own: own.LIST.append(2) or own.LIST.pop(),
        lambda own: own.app.optimized.append(1),
        lambda own: change(own, "__cached__", "x"),
    ],
)
def test_what_is_the_same_is_not(own: ModuleType, act: Callable[[Any], object]) -> None:
    """Apps are not looked into: what they have is kept by itself."""
    before = OwnGlobals()
    act(own)
    assert before.changed() == []


@pytest.mark.parametrize(
    ("act", "why"),
    [
        (lambda own: change(own.Own, "shared", 2), "changes own_globals_example.Own, a type"),
        (lambda own: own.TUPLE[1].append(3), "changes own_globals_example.TUPLE, a tuple"),
        (lambda own: delattr(own, "MODEL"), "deletes own_globals_example.MODEL"),
    ],
)
def test_what_cannot_be_done_again_is_refused(
    own: ModuleType, act: Callable[[Any], object], why: str
) -> None:
    before = OwnGlobals()
    act(own)
    with pytest.raises(UsageError, match=why):
        before.changed()


def test_objects_that_raise_when_they_are_asked_are_taken_as_they_are(own: Any) -> None:
    """A model of pydantic whose types are not defined yet, or the app's own."""
    before = OwnGlobals()
    own.closed = type(own.closed)()
    assert [one.name for one in before.changed()] == ["closed"]


def test_circles_end(own: Any) -> None:
    own.STATE["self"] = own.STATE
    before = OwnGlobals()
    own.STATE["n"] = 1
    assert [one.name for one in before.changed()] == ["STATE"]
