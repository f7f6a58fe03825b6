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
from potassium.http.json_cost import JsonCost

__all__ = ["Hashed", "check_hashes", "hashed_in"]

# Smaller bodies cannot take more than a few milliseconds.
HARMLESS = 16 * 1024  # bytes

# The least integers with the same hash differ by 2**61 - 1, which has 19 digits. A UUID has more.
INTEGER = re.compile(r"(?<![.0-9a-fA-F_-])[0-9a-fA-F_-]{19,}")  # not a fraction
# Makes every byte of an integer or a UUID a zero, and any other byte a full stop.
AS_ZEROS = bytes(b"0"[0] if byte in b"0123456789abcdefABCDEF_-" else b"."[0] for byte in range(256))

# Of decimals with fewer than 17 characters, exponent included, there are too few for many of them
# to collide. Python reads the digits of any script.
NUMBER = re.compile(r"[\w.+-]{17,}")
ESCAPED = re.compile(r"\\(?:u([0-9a-fA-F]{4})|.)")

HEX = "[0-9a-fA-F]"
UUID = re.compile(rf"{HEX}{{8}}-?(?:{HEX}{{4}}-?){{3}}{HEX}{{12}}")
LONGEST = 4300  # digits of an integer that Python converts

MOST_ALIKE = 32  # numbers with one hash
MOST_ITEMS = 3000  # if nothing is known of their hashes


class Hashed(enum.IntEnum):
    """What the sets of a schema contain, and the keys of its dicts, by how hashes can collide.

    Attributes:
        SAFE: text, or what has few values.
        INTEGERS: integers and UUIDs.
        NUMBERS: decimals, too, or what an app's own validator makes of something.
        RATIOS: what is written in few characters, and can have any hash.
        COMPOSITE: what is hashed by its parts, such as tuples.

    """

    SAFE = 0
    INTEGERS = 1
    NUMBERS = 2
    RATIOS = 3
    COMPOSITE = 4


OWN = ("function-after", "function-before", "function-plain", "function-wrap", "is-instance")
GROUPS = ("dataclass", "frozendict", "frozenset", "model", "named-tuple", "tuple")
KINDS = {
    **dict.fromkeys(("any", "int", "uuid"), Hashed.INTEGERS),
    **dict.fromkeys(("decimal", *OWN), Hashed.NUMBERS),
    **dict.fromkeys(("complex", "fraction"), Hashed.RATIOS),
    **dict.fromkeys(GROUPS, Hashed.COMPOSITE),
}


# Of such a kind, every array and object may be an item, or every value.
ITEMS = {
    Hashed.COMPOSITE: JsonCost(value=0, container=1),
    Hashed.RATIOS: JsonCost(value=1, container=0),
}


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
    items = ITEMS.get(hashed)
    if items is not None and items.exceeds(body, MOST_ITEMS):
        raise _refusal(
            f"it has more than {MOST_ITEMS} parts, and this handler makes sets of such parts",
        )
    if len(body) > HARMLESS:
        tokens = _integers(body) if hashed is Hashed.INTEGERS else _numbers(body)
        alike = Counter(hash(number) for token in tokens for number in _read(token))
        if alike and max(alike.values()) > MOST_ALIKE:
            raise _refusal("many of its numbers have the same hash")


def _integers(body: bytes) -> set[str]:
    """Return whatever may be a long integer or a UUID; quickly, if nothing may."""
    if b"\\u00" not in body and b"0" * 19 not in body.translate(AS_ZEROS):
        return set()
    return {match[0] for match in INTEGER.finditer(_text(body))}


def _numbers(body: bytes) -> set[str]:
    """Return whatever may be a long number, a UUID or a decimal."""
    return {match[0] for match in NUMBER.finditer(_text(body))}


def _text(body: bytes) -> str:
    """Return the characters of a document, with those that are escaped; white space as a blank."""
    return ESCAPED.sub(lambda match: chr(int(match[1], 16)) if match[1] else " ", body.decode())


def _read(token: str) -> Iterator[int | Decimal]:
    """Yield every number that pydantic may read from some characters."""
    digits = token.replace("_", "")
    if digits.removeprefix("-").isdecimal():
        if len(digits) <= LONGEST:
            yield int(digits)
    else:
        try:
            number = Decimal(digits)
        except InvalidOperation:
            pass
        else:
            if number.is_finite():
                yield number
    if UUID.fullmatch(token):
        yield int(token.replace("-", ""), 16)


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
