"""When a delivery is tried again."""

from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from potassium.webhooks.schedule import ATTEMPTS, next_attempt

NOW = 1_800_000_000.0
HOUR = 3600.0


def delay(failed: int = 1, retry_after: str | None = None, chance: float = 0.5) -> float:
    moment = next_attempt(failed, now=NOW, retry_after=retry_after, random=lambda: chance)
    assert moment is not None
    return moment - NOW


def date(seconds: float) -> str:
    return format_datetime(datetime.fromtimestamp(NOW + seconds, UTC), usegmt=True)


def test_the_delays_grow() -> None:
    """A delivery is tried again after 5 s, 5 min, 30 min, 2 h, 5 h, 10 h and 10 h."""
    delays = [delay(failed) for failed in range(1, 8)]
    assert delays == [5, 300, 1800, 2 * HOUR, 5 * HOUR, 10 * HOUR, 10 * HOUR]


def test_there_are_eight_attempts() -> None:
    """After the eighth failure, a delivery is given up, whatever the receiver asks for."""
    assert ATTEMPTS == 8
    assert next_attempt(8, now=NOW, retry_after="5", random=lambda: 0.5) is None


@pytest.mark.parametrize(("chance", "expected"), [(0.0, 240), (0.5, 300), (1.0, 360)])
def test_delays_vary(chance: float, expected: float) -> None:
    """A delay is up to a fifth shorter or longer, at random."""
    assert delay(2, chance=chance) == expected


@pytest.mark.parametrize("retry_after", ["600", " 600 ", date(600)])
def test_the_receiver_may_ask_for_more_time(retry_after: str) -> None:
    """Retry-After, in seconds or as a date, makes the next attempt later."""
    assert delay(1, retry_after) == 600


@pytest.mark.parametrize("retry_after", ["1", "0", date(1), date(-9999)])
def test_the_receiver_may_not_ask_for_less(retry_after: str) -> None:
    """Retry-After never makes the next attempt earlier than the schedule."""
    assert delay(1, retry_after) == 5


@pytest.mark.parametrize("retry_after", ["99999999", "9" * 5000, date(99_999_999)])
def test_nobody_may_ask_for_more_than_a_day(retry_after: str) -> None:
    """A receiver that asks for years is tried again after a day."""
    assert delay(1, retry_after) == 24 * HOUR


@pytest.mark.parametrize(
    "retry_after",
    ["Fri, 15 Jan 2027 08:10:00 GMT", "Friday, 15-Jan-27 08:10:00 GMT", "Fri Jan 15 08:10:00 2027"],
)
def test_each_form_of_date_is_read(retry_after: str) -> None:
    """The three date formats of RFC 9110, section 5.6.7, are read as the same moment."""
    assert delay(1, retry_after) == 600


@given(st.text() | st.from_regex(r"[A-Z][a-z]{2}, \d+ [A-Z][a-z]{2} \d+ [\d:]+ [-+]?\w+"))
def test_what_makes_no_sense_is_ignored(retry_after: str) -> None:
    """Whatever is in Retry-After, the next attempt is between the schedule's time and a day."""
    assert 5 <= delay(1, retry_after) <= 24 * HOUR
