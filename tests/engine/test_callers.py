"""How many callers are expected."""

import pytest

from potassium.engine.callers import WINDOW, Callers

NOW = 1000.0


def test_those_whose_calls_are_open_are_expected() -> None:
    """Before anything else is known, the expected callers are those with an open call."""
    callers = Callers()
    assert callers.expected(NOW) == 0
    callers.came(NOW)
    callers.came(NOW)
    assert (callers.open, callers.expected(NOW)) == (2, 2)


def test_those_who_just_had_their_answer_are_expected_back() -> None:
    """As many as were there at a time are expected for a window, even after they have gone."""
    callers = Callers()
    for _ in range(5):
        callers.came(NOW)
    for _ in range(5):
        callers.went(NOW)
    callers.came(NOW + WINDOW / 2)
    assert (callers.open, callers.expected(NOW + WINDOW / 2)) == (1, 5)


def test_one_who_calls_again_and_again_is_one() -> None:
    """Calls made one after another do not count as more callers than were there at a time."""
    callers = Callers()
    for number in range(100):
        callers.came(NOW + number * WINDOW / 50)
        assert callers.expected(NOW + number * WINDOW / 50) == 1
        callers.went(NOW + number * WINDOW / 50)


@pytest.mark.parametrize(("windows", "expected"), [(0.9, 4), (1.5, 4), (2.5, 1), (100, 1)])
def test_who_stays_away_is_not_expected_any_more(windows: float, expected: int) -> None:
    """Callers that have not called for one or two windows are forgotten."""
    callers = Callers()
    for _ in range(4):
        callers.came(NOW)
    for _ in range(4):
        callers.went(NOW)
    for part in range(1, int(windows * 10) + 1):
        callers.came(NOW + part * WINDOW / 10)
        callers.went(NOW + part * WINDOW / 10)
    assert callers.expected(NOW + windows * WINDOW) == expected


def test_calls_that_stay_open_count_for_ever() -> None:
    """A caller that waits for a long answer counts, however long nothing happens."""
    callers = Callers()
    for _ in range(3):
        callers.came(NOW)
    assert callers.expected(NOW + WINDOW * 50) == 3
    assert callers.expected(NOW + WINDOW * 51.5) == 3


def test_after_a_silence_nobody_is_expected() -> None:
    """Callers that have gone are forgotten even if nothing else happens."""
    callers = Callers()
    for _ in range(4):
        callers.came(NOW)
    for _ in range(4):
        callers.went(NOW)
    assert callers.expected(NOW + WINDOW * 3) == 0
    callers.came(NOW + WINDOW * 9)
    assert callers.expected(NOW + WINDOW * 9) == 1
