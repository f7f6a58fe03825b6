"""What the ceiling remembers of how much fits into memory."""

from math import inf

from potassium.engine.batching import RECOVERY, Ceiling


def after(ceiling: Ceiling, batches: int, weight: float) -> float:
    for _ in range(batches):
        ceiling.fitted(weight)
    return ceiling.value


def test_there_is_none_before_anything_overflowed() -> None:
    """Batches that fit set no ceiling."""
    assert after(Ceiling(), RECOVERY * 2, 32) == inf


def test_what_fitted_of_a_batch_that_overflowed_is_the_bound() -> None:
    """The last overflow sets the ceiling, whether that raises or lowers it."""
    ceiling = Ceiling()
    ceiling.overflowed(8)
    assert ceiling.value == 8
    ceiling.overflowed(16)
    assert ceiling.value == 16


def test_larger_batches_are_tried_again() -> None:
    """Once RECOVERY batches have fitted, the ceiling doubles; not one batch earlier."""
    ceiling = Ceiling()
    ceiling.overflowed(16)
    assert after(ceiling, RECOVERY - 1, 16) == 16
    assert after(ceiling, 1, 16) == 32
    assert after(ceiling, RECOVERY - 1, 32) == 32


def test_small_batches_say_nothing_about_the_bound() -> None:
    """Batches of up to half the ceiling do not raise it, however many fit."""
    ceiling = Ceiling()
    ceiling.overflowed(16)
    assert after(ceiling, RECOVERY * 3, 8) == 16


def test_an_overflow_begins_the_recovery_anew() -> None:
    """Batches that fitted before the last overflow do not count."""
    ceiling = Ceiling()
    ceiling.overflowed(16)
    after(ceiling, RECOVERY - 1, 16)
    ceiling.overflowed(8)
    assert after(ceiling, RECOVERY - 1, 8) == 8
    assert after(ceiling, 1, 8) == 16
