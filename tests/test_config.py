"""Groups of options."""

import dataclasses

import pytest

from potassium import Limits, UsageError


@pytest.mark.parametrize("field", ["queue_size", "body_size"])
@pytest.mark.parametrize("value", [0, -1, 1.5, "8", None, True])
def test_limits_are_whole_numbers_above_zero(field: str, value: object) -> None:
    """A limit that cannot be fails when it is written, and is named."""
    with pytest.raises(UsageError, match=field):
        Limits(**{field: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("field", ["body_timeout", "timeout", "grace_period", "hang_timeout"])
@pytest.mark.parametrize("value", [0, -1, "8", True, float("inf"), float("nan")])
def test_times_are_seconds_above_zero(field: str, value: object) -> None:
    """A time that cannot be fails when it is written, and is named."""
    with pytest.raises(UsageError, match=field):
        Limits(**{field: value})  # type: ignore[arg-type]


def test_priorities_are_on_or_off() -> None:
    """A level is no answer to whether there are any."""
    with pytest.raises(UsageError, match="priorities"):
        Limits(priorities="high")  # type: ignore[arg-type]


def test_a_limit_that_there_is_not_is_named() -> None:
    """A typo fails when it is written."""
    with pytest.raises(TypeError, match="quue_size"):
        Limits(quue_size=1)  # type: ignore[call-arg]


def test_limits_do_not_change() -> None:
    """A limit cannot be set afterwards."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        Limits().queue_size = 5  # type: ignore[misc]


def test_the_defaults_are_the_documented_ones() -> None:
    """256 waiting calls, bodies of 10 MiB that take 30 s, no timeout."""
    assert Limits() == Limits(
        queue_size=256, body_size=10 * 1024 * 1024, body_timeout=30, timeout=None
    )
