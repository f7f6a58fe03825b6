"""Refuses numbers that were chosen so that all of them have one hash.

A set of such numbers, or a dict with such keys, takes quadratic time to build. The hash of text is
randomized; that of numbers is their remainder modulo 2**61 - 1, of UUIDs too.
"""

import enum
import re
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation

from potassium.errors import InvalidInput
from potassium.handlers.schemas import Schema, Schemas, inner

__all__ = ["Hashed", "check_hashes", "hashed_in"]

# Smaller bodies cannot take more than a few milliseconds.
HARMLESS = 16 * 1024  # bytes

# Too few numbers can be written with fewer characters than this for many of them to collide.
TOKEN = re.compile(r"[\w.+-]{17,}")
ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})")
UUID = re.compile(r"[0-9a-fA-F]{32}")
LONGEST = 4300  # digits of an integer that Python converts

MOST_ALIKE = 32  # numbers with one hash
MOST_COMPOSITE = 3000  # items, if nothing is known of their hashes


class Hashed(enum.IntEnum):
    """What the sets of a schema contain, and the keys of its dicts, by how hashes can collide.

    Attributes:
        SAFE: text, or what has few values.
        NUMBERS: numbers and UUIDs, or what an app's own validator makes of something.
        RATIOS: what is written in few characters, and can have any hash.
        COMPOSITE: what is hashed by its parts, such as tuples.

    """

    SAFE = 0
    NUMBERS = 1
    RATIOS = 2
    COMPOSITE = 3


KINDS = dict.fromkeys(("any", "decimal", "int", "is-instance", "uuid"), Hashed.NUMBERS)
KINDS |= dict.fromkeys(("function-after", "function-before", "function-plain"), Hashed.NUMBERS)
KINDS |= {"function-wrap": Hashed.NUMBERS}
KINDS |= dict.fromkeys(("complex", "fraction"), Hashed.RATIOS)
KINDS |= dict.fromkeys(
    ("dataclass", "frozendict", "frozenset", "model", "named-tuple", "tuple"), Hashed.COMPOSITE
)


def hashed_in(schema: Schema) -> Hashed:
    """Return the most dangerous of what a pydantic schema puts into sets, and of keys of dicts."""
    schemas = Schemas(schema)
    worst = Hashed.SAFE
    for node in schemas:
        if node["type"] in ("set", "frozenset"):
            worst = max(worst, _kind(node.get("items_schema", {"type": "any"}), schemas))
        key = node.get("keys_schema", {"type": "str"})
        if key["type"] != "any":  # a key in JSON is text
            worst = max(worst, _kind(key, schemas))
    return worst


def check_hashes(body: bytes, hashed: Hashed) -> None:
    """Check a JSON document that is validated with a schema that puts ``hashed`` into sets.

    Raises:
        InvalidInput: it contains many numbers with the same hash, or, if there is no way to tell,
            more items than can be added to a set in the worst case.

    """
    if hashed is Hashed.SAFE:
        return
    count = body.count(b"[") + body.count(b"{")
    if hashed is Hashed.RATIOS:
        count = body.count(b",")
    if hashed is not Hashed.NUMBERS and count > MOST_COMPOSITE:
        raise _refusal(
            f"it has more than {MOST_COMPOSITE} parts, and this handler makes sets of such parts",
        )
    if len(body) > HARMLESS:
        alike = Counter(hash(number) for number in _numbers(body))
        if alike and max(alike.values()) > MOST_ALIKE:
            raise _refusal("many of its numbers have the same hash")


def _numbers(body: bytes) -> Iterator[int | Decimal]:
    """Yield every long number in a document, in any form in which pydantic may read it."""
    text = body.decode()
    if "\\u" in text:
        text = ESCAPE.sub(lambda match: chr(int(match[1], 16)), text)
    for token in {match[0] for match in TOKEN.finditer(text)}:
        digits = token.replace("_", "")
        if digits.isdecimal() and len(digits) <= LONGEST:
            yield int(digits)
        else:
            try:
                number = Decimal(digits)
            except InvalidOperation:
                pass
            else:
                if number.is_finite():
                    yield number
        compact = token.replace("-", "")
        if UUID.fullmatch(compact):
            yield int(compact, 16)


def _kind(node: Schema, schemas: Schemas) -> Hashed:
    """Return what a schema makes; of a union, the most dangerous of its members."""
    worst, seen, left = Hashed.SAFE, set(), [node]
    while left:
        node = schemas.resolved(left.pop())
        if id(node) not in seen:
            seen.add(id(node))
            worst = max(worst, KINDS.get(node["type"], Hashed.SAFE))
            if node["type"] not in KINDS:
                left += inner(node)
    return worst


def _refusal(why: str) -> InvalidInput:
    fault = {"loc": [], "msg": f"The body would take too long: {why}", "type": "hash_collisions"}
    return InvalidInput("The body is JSON, but not what this handler takes; see errors.", [fault])
