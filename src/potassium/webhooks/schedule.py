"""When a delivery that failed is tried again."""

from collections.abc import Callable
from datetime import UTC
from email.utils import parsedate_to_datetime

__all__ = ["ATTEMPTS", "next_attempt"]

MINUTE = 60.0
HOUR = 60 * MINUTE

# Seconds before each attempt, counted from the one before it.
DELAYS = [0.0, 5.0, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 10 * HOUR]
ATTEMPTS = len(DELAYS)
JITTER = 0.2  # share of a delay by which it may be shorter or longer
LONGEST_WAIT = 24 * HOUR  # that a receiver may ask for


def next_attempt(
    failed: int, *, now: float, retry_after: str | None, random: Callable[[], float]
) -> float | None:
    """Return when to try again after attempt number ``failed``, counted from 1; None for never.

    Times are in seconds since the epoch. Delays vary, so that deliveries that failed together are
    not retried together; ``random`` returns numbers from 0 to 1. ``retry_after``, the header of the
    receiver's answer, can make the next attempt later, but not earlier.
    """
    if failed >= ATTEMPTS:
        return None
    delay = DELAYS[failed] * (1 - JITTER + 2 * JITTER * random())
    return now + max(delay, _asked_for(retry_after, now))


def _asked_for(retry_after: str | None, now: float) -> float:
    """Return the seconds to wait that ``Retry-After`` (RFC 9110, section 10.2.3) asks for."""
    if retry_after is None:
        return 0.0
    text = retry_after.strip()
    if text.isascii() and text.isdigit():
        return min(float(text), LONGEST_WAIT)
    try:
        date = parsedate_to_datetime(text)
        if date.tzinfo is None:  # a form that names no zone; all of these are in UTC
            date = date.replace(tzinfo=UTC)
        seconds = date.timestamp() - now
    except (ValueError, TypeError, OverflowError, IndexError):
        return 0.0
    return min(seconds, LONGEST_WAIT)
