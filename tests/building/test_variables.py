"""Which environment variables a build notes."""

import os
from collections.abc import Callable

import pytest

from potassium.building.variables import watched


@pytest.mark.parametrize(
    "read",
    [
        lambda: os.environ.get("MODEL_NAME"),
        lambda: os.getenv("MODEL_NAME", "base"),
        lambda: "MODEL_NAME" in os.environ,
        lambda: os.environ.setdefault("MODEL_NAME", "base"),
        lambda: os.environ["MODEL_NAME"] if os.environ.get("MODEL_NAME") else None,
        lambda: dict(os.environ) and os.environ.get("MODEL_NAME"),
    ],
)
def test_a_variable_that_is_read_is_noted(
    read: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it is set or not, and by whoever has imported ``os.environ`` before."""
    monkeypatch.delenv("MODEL_NAME", raising=False)
    with watched() as variables:
        read()
    assert variables.names == {"MODEL_NAME"}


@pytest.mark.parametrize(
    "copy",
    [
        lambda: dict(os.environ),
        lambda: {**os.environ},
        os.environ.copy,
        lambda: dict(os.environ.items()),
        lambda: list(os.environ),
    ],
)
def test_a_copy_of_all_variables_is_not(copy: Callable[[], object]) -> None:
    """A process that is started gets one; that does not make a model depend on all of them."""
    before = dict(os.environ)
    with watched() as variables:
        copied = copy()
    assert variables.names == set()
    assert set(copied) == set(before)  # type: ignore[call-overload]


@pytest.mark.parametrize("name", ["PORT", "TERM", "POTASSIUM_PORT", "LC_ALL", "PATH", "USER"])
def test_what_says_nothing_about_a_model_is_not(name: str) -> None:
    with watched() as variables:
        os.environ.get(name)
    assert variables.names == set()


def test_the_environment_is_a_plain_one_again() -> None:
    before = type(os.environ)
    with watched() as variables:
        assert type(os.environ) is not before
        os.environ["SET_IN_TEST"] = "1"
        del os.environ["SET_IN_TEST"]
    assert type(os.environ) is before
    os.environ.get("MODEL_NAME")
    assert "MODEL_NAME" not in variables.names
