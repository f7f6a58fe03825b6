"""Groups of options."""

import dataclasses
from math import inf, nan
from typing import Any

import pytest

from potassium import Batch, Limits, UsageError


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


IMPOSSIBLE: tuple[Any, ...] = (-1, "8", None, True, inf, nan)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        *(({"max_size": value}, "max_size") for value in (*IMPOSSIBLE, 0, 1.5)),
        *(({"max_delay": value}, "max_delay") for value in IMPOSSIBLE),
        ({"cost": 5}, "cost=5: a function of an item"),
        ({"cost": "len"}, "cost='len': a function of an item"),
        *(({"cost": len, "max_cost": value}, "max_cost") for value in (0, -1, "8", True, inf, nan)),
        ({"max_cost": 4096}, r"max_cost=\.\.\. needs cost="),
    ],
)
def test_a_batch_that_cannot_be_fails_when_it_is_written(
    options: dict[str, Any], message: str
) -> None:
    """The message names the value, and says what is needed."""
    with pytest.raises(UsageError, match=message):
        Batch(**options)


def test_a_batch_may_wait_for_nobody() -> None:
    """max_delay=0 is a rule that can be: only what waits already is taken together."""
    assert Batch(max_delay=0).max_delay == 0


def test_a_batch_does_not_change() -> None:
    """A rule that handlers share cannot be set afterwards."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        Batch().max_size = 5  # type: ignore[misc]


def test_a_batchs_defaults_are_the_documented_ones() -> None:
    """32 items, 5 ms, all of the same cost."""
    assert Batch() == Batch(max_size=32, max_delay=0.005, cost=None, max_cost=None)


@pytest.mark.parametrize("value", [0, -1, "8", True, inf, nan])
def test_the_time_of_a_client_that_stalls_is_seconds_above_zero(value: Any) -> None:
    """It is checked like the others."""
    with pytest.raises(UsageError, match="stream_stall_timeout"):
        Limits(stream_stall_timeout=value)
