"""Groups of options."""

import dataclasses

import pytest

from potassium import Limits, UsageError


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(Limits)])
@pytest.mark.parametrize("value", [0, -1, 1.5, "8", None, True])
def test_limits_are_whole_numbers_above_zero(field: str, value: object) -> None:
    """A limit that cannot be fails when it is written, and is named."""
    with pytest.raises(UsageError, match=field):
        Limits(**{field: value})  # type: ignore[arg-type]


def test_limits_do_not_change() -> None:
    """A limit cannot be set afterwards."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        Limits().queue_size = 5  # type: ignore[misc]


def test_the_defaults_are_the_documented_ones() -> None:
    """256 waiting calls, bodies of 10 MiB."""
    assert Limits() == Limits(queue_size=256, body_size=10 * 1024 * 1024)
