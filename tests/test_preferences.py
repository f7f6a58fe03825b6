"""How long a call is wanted, and how urgently."""

import time
from typing import Any

import pytest

from potassium.engine import Priority
from potassium.preferences import deadline_of, priority_of


def scope(*prefer: bytes) -> dict[str, Any]:
    return {"type": "http", "headers": [(b"prefer", value) for value in prefer]}


def seconds(scope: dict[str, Any], timeout: float | None) -> float | None:
    deadline = deadline_of(scope, timeout)
    return None if deadline is None else round(deadline - time.monotonic(), 1)


@pytest.mark.parametrize(
    ("prefer", "wait"),
    [
        (b"wait=5", 5),
        (b"wait=0", 0),
        (b"wait=2.5", 2.5),
        (b'wait="5"', 5),
        (b"Wait = 5", 5),
        (b"respond-async, wait=5", 5),
        (b"wait=5, respond-async", 5),
        (b"wait=5; foo=bar", 5),
        (b"handling=lenient;wait=5", None),
        (b"await=5", None),
        (b"wait=-5", None),
        (b"wait=soon", None),
        (b"wait=5x", None),
        (b"wait=", None),
        (b"wait=" + b"9" * 400, None),
    ],
)
def test_the_client_says_how_long_it_waits(prefer: bytes, wait: float | None) -> None:
    """The wait preference is understood as RFC 7240 writes it, anything else ignored."""
    assert seconds(scope(prefer), None) == wait


@pytest.mark.parametrize(
    ("prefer", "timeout", "deadline"), [(b"wait=5", 9.0, 5), (b"wait=9", 5.0, 5), (b"x", 5.0, 5)]
)
def test_the_client_may_shorten_but_not_lengthen(
    prefer: bytes, timeout: float, deadline: float
) -> None:
    """Of the handler's timeout and the client's wait, the shorter counts."""
    assert seconds(scope(prefer), timeout) == deadline


def test_the_shortest_of_several_preferences_counts() -> None:
    """A header may come more than once."""
    assert seconds(scope(b"wait=7", b"respond-async", b"wait=3"), None) == 3


def test_without_either_there_is_no_deadline() -> None:
    """By default a call may take as long as it likes."""
    assert deadline_of(scope(), None) is None


@pytest.mark.parametrize(
    ("sent", "priority"),
    [
        (b"low", Priority.LOW),
        (b"normal", Priority.NORMAL),
        (b" High ", Priority.HIGH),
        (b"urgent", Priority.NORMAL),
        (b"", Priority.NORMAL),
        (b"2", Priority.NORMAL),
    ],
)
def test_the_client_says_how_urgent_it_is(sent: bytes, priority: Priority) -> None:
    """Three levels; what is none of them is normal."""
    assert priority_of({"type": "http", "headers": [(b"x-priority", sent)]}) is priority


def test_without_the_header_a_call_is_normal() -> None:
    """Nobody has to say anything."""
    assert priority_of({"type": "http", "headers": []}) is Priority.NORMAL
