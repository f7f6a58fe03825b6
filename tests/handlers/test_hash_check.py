"""Numbers that were chosen so that all of them have one hash."""

import random
import uuid
from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from ipaddress import IPv4Address
from typing import Any, NamedTuple

import orjson
import pydantic
import pytest

from potassium.errors import InvalidInput
from potassium.handlers.hash_check import Hashed, check_hashes, hashed_in

PRIME = 2**61 - 1
MANY = 2000


class Item(pydantic.BaseModel):
    bias: dict[int, float] = {}


class Frozen(pydantic.BaseModel, frozen=True):
    number: int


@dataclass(frozen=True)
class Point:
    x: int


class Pair(NamedTuple):
    x: int
    y: int


def hashed(annotation: Any) -> Hashed:
    return hashed_in(pydantic.TypeAdapter(annotation).core_schema)


@pytest.mark.parametrize(
    ("annotation", "kind"),
    [
        (set[str], Hashed.SAFE),
        (dict[str, int], Hashed.SAFE),
        (dict[Any, list[int]], Hashed.SAFE),
        (dict, Hashed.SAFE),
        (list[int], Hashed.SAFE),
        (set[float], Hashed.SAFE),
        (frozenset[bytes | None], Hashed.SAFE),
        (set[int], Hashed.INTEGERS),
        (set, Hashed.INTEGERS),
        (frozenset[uuid.UUID], Hashed.INTEGERS),
        (dict[Decimal, str], Hashed.NUMBERS),
        (Mapping[int | str, str], Hashed.INTEGERS),
        (OrderedDict[int, str], Hashed.INTEGERS),
        (Counter[int], Hashed.INTEGERS),
        (dict[IPv4Address, str], Hashed.NUMBERS),
        (Item, Hashed.INTEGERS),
        (list[Item | None], Hashed.INTEGERS),
        (dict[str, list[Item]], Hashed.INTEGERS),
        (set[Fraction], Hashed.RATIOS),
        (set[complex], Hashed.RATIOS),
        (set[tuple[int, int]], Hashed.COMPOSITE),
        (set[frozenset[int]], Hashed.COMPOSITE),
        (set[Frozen], Hashed.COMPOSITE),
        (frozenset[Point], Hashed.COMPOSITE),
        (set[Pair], Hashed.COMPOSITE),
    ],
    ids=str,
)
def test_what_is_hashed_is_found_wherever_it_is(annotation: Any, kind: Hashed) -> None:
    """Sets and keys are found in fields, lists, unions and other containers."""
    assert hashed(annotation) is kind


def keys(texts: Iterable[object]) -> bytes:
    return orjson.dumps({str(text): 0 for text in texts})


def escaped(text: str) -> str:
    return "".join(f"\\u{ord(letter):04x}" for letter in text)


MULTIPLES = [PRIME * (n + 1) for n in range(MANY)]
ALIKE = {
    "integers as keys": keys(MULTIPLES),
    "negative": keys(-number for number in MULTIPLES),
    "integers": b"[" + b",".join(b"%d" % number for number in MULTIPLES) + b"]",
    "of another remainder": keys(number + 5 for number in MULTIPLES),
    "with a fraction": keys(f"{number}.0" for number in MULTIPLES),
    "with a sign": keys(f"+{number}" for number in MULTIPLES),
    "after a line feed": keys(f"\n{number}" for number in MULTIPLES),
    "after a form feed": keys(f"\f{number}" for number in MULTIPLES),
    "with underscores": keys(f"{number:_}" for number in MULTIPLES),
    "escaped": b"{" + ",".join(f'"{escaped(str(n))}":0' for n in MULTIPLES).encode() + b"}",
    "decimals": keys(f"{PRIME}e{n}" for n in range(MANY)),
    "decimals of large exponents": keys(f"{PRIME}e{10**15 + n}" for n in range(MANY)),
    "in other digits": keys("".join(chr(0x660 + int(d)) for d in str(n)) for n in MULTIPLES),
    "UUIDs": keys(uuid.UUID(int=number) for number in MULTIPLES),
    "UUIDs without hyphens": keys(f"{number:032x}" for number in MULTIPLES),
    "UUIDs as URNs": keys(uuid.UUID(int=number).urn for number in MULTIPLES),
    "UUIDs in braces": keys(f"{{{uuid.UUID(int=number)}}}" for number in MULTIPLES),
}


@pytest.mark.parametrize("name", ALIKE)
def test_numbers_of_one_hash_are_refused(name: str) -> None:
    """In any form in which pydantic reads them."""
    kind = Hashed.NUMBERS if name in DECIMALS else Hashed.INTEGERS
    with pytest.raises(InvalidInput) as caught:
        check_hashes(ALIKE[name], kind)
    assert [fault["type"] for fault in caught.value.errors] == ["hash_collisions"]


@pytest.mark.parametrize("name", ALIKE)
def test_nothing_is_refused_where_nothing_is_hashed(name: str) -> None:
    """A list of the same numbers is as good as any other."""
    check_hashes(ALIKE[name], Hashed.SAFE)


DECIMALS = {"decimals", "decimals of large exponents", "in other digits"}
RANDOM = random.Random(0)  # noqa: S311 - not a secret
GOOD = {
    "small integers": list(range(50_000)),
    "large integers": [RANDOM.getrandbits(64) for _ in range(MANY)],
    "huge integers": [str(RANDOM.getrandbits(500)) for _ in range(MANY)],
    "one large integer": [PRIME] * MANY,
    "floats": [RANDOM.random() for _ in range(MANY)],
    "UUIDs": [str(uuid.UUID(int=RANDOM.getrandbits(128))) for _ in range(MANY)],
    "Base64": "Ab0_" * 50_000,
    "text": "a sentence with-some-rather-long-words in_it " * MANY,
    "not a number": ["nan" + "0" * 20, "9" * 5000, "Infinity" + "1" * 20],
}


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("kind", [Hashed.INTEGERS, Hashed.NUMBERS])
def test_other_values_are_accepted(name: str, kind: Hashed) -> None:
    """What was not chosen to collide does not."""
    check_hashes(orjson.dumps(GOOD[name]), kind)


@pytest.mark.parametrize(
    ("kind", "piece"), [(Hashed.COMPOSITE, b"[1,2]"), (Hashed.RATIOS, b'"1/2"')]
)
def test_sets_of_what_nobody_can_tell_are_bounded(kind: Hashed, piece: bytes) -> None:
    """Tuples and fractions of a few digits may have any hash: there may be some thousands."""
    check_hashes(b"[" + b",".join([piece] * 2900) + b"]", kind)
    with pytest.raises(InvalidInput, match="see errors") as caught:
        check_hashes(b"[" + b",".join([piece] * 3100) + b"]", kind)
    assert "3000" in caught.value.errors[0]["msg"]
