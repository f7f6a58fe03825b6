"""Streams in pieces of any size."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from potassium.client.formats import EventParser, LineParser, ServerSentEvent

TEXT = (
    "\ufeff: hi\r\nid: 1\ndata: é\r\rdata: a\ndata:b\nevent: x\n\n"
    "id: 7\n\nretry: 5\ndata\n\nevent: e\n\n"
)
EVENTS = [
    ServerSentEvent("message", "é", "1"),
    ServerSentEvent("x", "a\nb", "1"),
    ServerSentEvent("message", "", "7"),
]


@given(cuts=st.lists(st.integers(0, len(TEXT.encode())), max_size=8))
def test_events_do_not_depend_on_how_they_arrive(cuts: list[int]) -> None:
    """Line ends of all kinds, comments, and characters of several bytes, cut anywhere."""
    body, parser = TEXT.encode(), EventParser()
    edges = [0, *sorted(cuts), len(body)]
    pieces = [body[a:b] for a, b in pairwise(edges)]
    assert [event for piece in pieces for event in parser.feed(piece)] == EVENTS


def test_half_an_event_is_none() -> None:
    """What is not followed by an empty line has not arrived."""
    assert list(EventParser().feed(b"data: a\n")) == []


@given(cuts=st.lists(st.integers(0, 14), max_size=5))
def test_lines_do_not_depend_on_how_they_arrive(cuts: list[int]) -> None:
    """Empty lines are skipped; the last one counts once it has ended."""
    body, parser = b'{"a":1}\n\n2\r\n"', LineParser()
    edges = [0, *sorted(cuts), len(body)]
    pieces = [body[a:b] for a, b in pairwise(edges)]
    assert [line for piece in pieces for line in parser.feed(piece)] == [b'{"a":1}', b"2"]
