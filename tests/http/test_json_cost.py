"""What a JSON document costs to parse, before it is parsed."""

import tracemalloc

import orjson
import pytest

from potassium.http.json_cost import PLAIN, JsonCost, Shape

MANY = 1000


def fill(piece: bytes) -> bytes:
    return b'{"a":[' + b",".join([piece] * MANY) + b"]}"


@pytest.mark.parametrize(
    ("body", "work"),
    [
        (b"[1,2,3]", 4 + 2),
        (b'{"a":[],"b":{}}', 3 * 4 + 1),
        (b'["[{,", "\\",[", "\\\\",[]]', 2 * 4 + 3),
        (b'"a,b"', 0),
        (b"[1,2", 4 + 1),  # it is refused later
        (b'[1,"2,3', 4 + 1),
        (b"]]]]", 0),
    ],
)
def test_work_is_what_values_take(body: bytes, work: int) -> None:
    """Commas, brackets and braces count where they are not in a string."""
    cost = JsonCost(container=4)
    assert not cost.exceeds(body, work)
    assert work == 0 or cost.exceeds(body, work - 1)


def test_a_long_text_is_no_work() -> None:
    """Whatever it contains."""
    assert not PLAIN.exceeds(b'"' + b"[{,}]" * MANY + b'"', 10)


@pytest.mark.parametrize("body", [b'"' + b'\\"' * 10**6, b'"' * 10**6, b"\\" * 10**6], ids=len)
def test_a_document_that_is_no_document_is_looked_at_once(body: bytes) -> None:
    """A string without an end does not make the look at it quadratic."""
    assert not JsonCost(object_growth=2).exceeds(body, 10)


def test_growth_multiplies_with_each_level() -> None:
    """Eight levels of a factor of two are 2 + 4 + ... + 256 containers; those beside add up."""
    cost = JsonCost(container=1, object_growth=2)
    body = b'{"a":' * 8 + b"1" + b"}" * 8
    assert not cost.exceeds(body, 510)
    assert cost.exceeds(body, 509)
    assert not cost.exceeds(b"[" * 8 + b"]" * 8, 8)
    assert cost.exceeds(b"[" + body + b"," + body + b"]", 1021)


@pytest.mark.parametrize(
    "body",
    [
        fill(b"[]"),
        fill(b"[[]]"),
        fill(b"{}"),
        fill(b'{"a":0}'),
        fill(b"1.5"),
        fill(b"123456"),
        fill(b'"ab"'),
        fill('"\U0001f600"'.encode()),
        b'{"a":"' + b"a" * MANY * 10 + '\U0001f600"}'.encode(),
        b'{"a":"' + b"a" * MANY * 10 + b'\\ud83d\\ude00"}',
        b"{" + b",".join(b'"%d":0' % number for number in range(MANY)) + b"}",
    ],
    ids=lambda body: body[:20],
)
def test_memory_is_never_more_than_estimated(body: bytes) -> None:
    """What a parsed document takes is at most its size and what is estimated for its values."""
    estimate = PLAIN.memory(body, Shape.of(body))
    tracemalloc.start()
    value = orjson.loads(body)
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    del value
    assert taken < estimate + len(body)
    assert estimate < 20 * len(body) + 10 * taken
