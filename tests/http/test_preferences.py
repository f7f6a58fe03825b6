"""What a client prefers: how long it waits, how urgent its call is, and whether it wants a job."""

import time
from typing import Any

import pytest

from potassium.engine import Priority
from potassium.http.preferences import deadline_of, priority_of, wait_of, wants_job


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
    """The wait preference is parsed as RFC 7240 defines it; anything else is ignored."""
    assert seconds(scope(prefer), None) == wait


@pytest.mark.parametrize(
    ("prefer", "timeout", "deadline"), [(b"wait=5", 9.0, 5), (b"wait=9", 5.0, 5), (b"x", 5.0, 5)]
)
def test_the_client_may_shorten_but_not_lengthen(
    prefer: bytes, timeout: float, deadline: float
) -> None:
    """The shorter of the handler's timeout and the client's wait counts."""
    assert seconds(scope(prefer), timeout) == deadline


def test_the_shortest_of_several_preferences_counts() -> None:
    """If the header is sent more than once, the shortest wait counts."""
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
    """There are three levels; any other value counts as normal."""
    assert priority_of({"type": "http", "headers": [(b"x-priority", sent)]}) is priority


def test_without_the_header_a_call_is_normal() -> None:
    """The header is optional; the default is normal."""
    assert priority_of({"type": "http", "headers": []}) is Priority.NORMAL


@pytest.mark.parametrize(
    ("prefer", "wait"),
    [
        ([b"wait=5"], 5.0),
        ([b"respond-async, wait=0"], 0.0),
        ([b"wait=7", b"wait=3"], 3.0),
        ([b"wait=3", b"wait=7"], 3.0),
        ([b"wait=3, wait=7"], 3.0),
        ([b"wait=x", b"wait=3"], 3.0),
        ([b"respond-async"], None),
        ([], None),
    ],
)
def test_a_client_waits_for_so_many_seconds(prefer: list[bytes], wait: float | None) -> None:
    """Of the waits that the client names, the shortest counts; None if it names none."""
    assert wait_of(scope(*prefer)) == wait


@pytest.mark.parametrize(
    ("prefer", "wanted"),
    [
        ([b"respond-async"], True),
        ([b"Respond-Async"], True),
        ([b" respond-async ,wait=5"], True),
        ([b"wait=5,respond-async"], True),
        ([b"respond-async; foo=bar"], True),
        ([b'respond-async=""'], True),
        ([b"wait=5", b"respond-async"], True),
        ([b"respond-asynchronously"], False),
        ([b"no-respond-async"], False),
        ([b"handling=lenient;respond-async"], False),
        ([b"wait=5"], False),
        ([b""], False),
        ([], False),
    ],
)
def test_a_client_would_rather_have_a_job(prefer: list[bytes], wanted: bool) -> None:
    """The respond-async preference is parsed as RFC 7240 defines it."""
    assert wants_job(scope(*prefer)) is wanted


def test_other_headers_are_no_preferences() -> None:
    """Other headers are ignored, whatever they contain."""
    headers = [(b"x-prefer", b"respond-async, wait=5")]
    asked = {"type": "http", "headers": headers}
    assert wait_of(asked) is None
    assert not wants_job(asked)
