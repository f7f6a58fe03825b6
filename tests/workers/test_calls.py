"""Calls, outcomes and chunks: what is decoded is what was encoded."""

import math
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from potassium.http.message import Message
from potassium.workers.calls import Call, decode_calls, encode_call, encode_group
from potassium.workers.frames import LARGE
from potassium.workers.notes import chunks_in, decode_chunks, encode_chunks

NUMBERS = st.integers(0, 2**32 - 1)
SHORT = st.integers(0, 2**16 - 1)
VALUE = st.text(st.characters(max_codepoint=255)).map(lambda text: text.encode("latin-1"))
HEADERS = st.lists(st.tuples(VALUE, VALUE), max_size=3)
TIMES = st.floats(allow_nan=False, allow_infinity=False)
TRACE = st.dictionaries(st.text(), st.text(), max_size=2)
CONTEXT = st.dictionaries(st.text(), st.integers(-10, 10) | st.text(), max_size=2)


@st.composite
def calls(draw: st.DrawFn) -> Call:
    message = Message(
        draw(st.text(st.characters(max_codepoint=127))),
        draw(HEADERS),
        draw(st.binary(max_size=100)),
        {"method": "POST", "path": draw(st.text()), "query_string": draw(VALUE), "client": None},
        json_values=draw(st.none() | st.integers(1, 9)),
    )
    return Call(
        draw(NUMBERS),
        draw(SHORT),
        draw(SHORT),
        draw(st.none() | TIMES),
        draw(TIMES),
        draw(st.sampled_from([message, None])),
        draw(CONTEXT),
        draw(TRACE),
        draw(st.booleans()),
    )


def seen(message: Message) -> Any:
    scope = message.scope
    return (
        message.id,
        message.raw_headers,
        message.body,
        scope["method"],
        scope["path"],
        scope["query_string"],
        message.json_values,
    )


@given(NUMBERS, st.lists(calls(), max_size=4), TRACE)
def test_a_group_arrives_as_it_was_sent(
    number: int, group: list[Call], trace: dict[str, str]
) -> None:
    payload = b"".join(encode_group(number, [encode_call(call) for call in group], trace))
    arrived_number, arrived, arrived_trace = decode_calls(payload)
    assert (arrived_number, arrived_trace) == (number, trace)
    for call, one in zip(group, list(arrived), strict=True):
        assert (one.id, one.slot, one.operation) == (call.id, call.slot, call.operation)
        assert (one.deadline, one.cost) == (call.deadline, call.cost)
        assert one.is_held is (call.message is None)
        if call.message is not None:
            assert one.is_unbound is call.is_unbound
            assert (one.context, one.trace) == (call.context, call.trace)
            assert seen(one.message(one.body, None)) == seen(call.message)


def test_a_large_body_does_not_travel_within_the_group() -> None:
    """It would be copied once more out of it."""
    message = Message("id", [], b"x" * (LARGE + 1))
    call = Call(1, 2, 3, None, math.inf, message, {}, {})
    _, (arrived,), _ = decode_calls(b"".join(encode_group(9, [encode_call(call)])))
    assert arrived.is_apart
    assert arrived.body == b""


@given(NUMBERS, st.lists(st.binary(max_size=50), min_size=1))
def test_chunks_arrive_one_by_one_or_together(call: int, chunks: list[bytes]) -> None:
    payload = b"".join(encode_chunks(call, chunks))
    number, count, at = chunks_in(payload)
    assert (number, count, payload[at:]) == (call, len(chunks), b"".join(chunks))
    assert decode_chunks(payload) == chunks
