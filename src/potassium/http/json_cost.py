"""What it takes to parse a JSON document, estimated from its bytes."""

import re
from dataclasses import dataclass
from functools import cached_property
from math import inf
from typing import NamedTuple

__all__ = ["PLAIN", "JsonCost", "Shape"]

# A string, or one of the characters that give a document its shape. The quantifiers are
# possessive, and the closing quote is optional, so that no document takes quadratic time.
TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|([][{},])', re.DOTALL)

FEW = 64

# Bytes of memory.
VALUE = 64  # a number, or a short string
PAIR = 64  # a key of an object, and its place there
ARRAY = 88
OBJECT = 250
WIDE = 4  # for each byte of text, if one character needs as many


@dataclass(frozen=True, kw_only=True)
class JsonCost:
    """How much work and memory the values of a document take, at most about.

    The unit of work is that of a number, some tens of nanoseconds if it is valid and some hundreds
    if a fault is reported for it.

    Attributes:
        value: the work for a string, a number, true, false or null.
        container: the work for an array or an object, without what it contains.
        object_growth: how many times as much everything in an object takes.
        array_growth: how many times as much everything in an array takes.
        object_memory: the bytes that an object takes, without what it contains.

    """

    value: int = 1
    container: int = 4
    object_growth: int = 1
    array_growth: int = 1
    object_memory: int = OBJECT

    @property
    def grows(self) -> bool:
        """Whether the work multiplies with each level of nesting."""
        return self.object_growth > 1 or self.array_growth > 1

    @cached_property
    def harmless(self) -> float:
        """The work that each byte of a document takes at most."""
        return inf if self.grows else max(self.value, self.container / 2)  # "[]" has two bytes

    def exceeds(self, body: bytes, limit: int) -> bool:
        """Return whether parsing ``body`` takes more work than ``limit``."""
        if len(body) * self.harmless <= limit:
            return False
        if not self.grows and self.most_work(Shape.of(body)) <= limit:
            return False
        return self._walk(body, limit)

    def most_work(self, shape: "Shape") -> int:
        """Return the work as if what is in strings were values: never too low, unless it grows."""
        return shape.values * self.value + (shape.arrays + shape.objects) * self.container

    def memory(self, body: bytes, shape: "Shape") -> int:
        """Return the bytes of memory that the values of ``body`` take, ``body`` not included."""
        return (
            len(body) * (1 if _is_narrow(body) else WIDE)
            + shape.values * VALUE
            + shape.pairs * PAIR
            + shape.arrays * ARRAY
            + shape.objects * self.object_memory
        )

    def _walk(self, body: bytes, limit: int) -> bool:
        work, factor, around = 0, 1, []
        for match in TOKEN.finditer(body):
            token = match[1]
            if token is None:
                continue
            if token == b",":
                work += self.value * factor
            elif token in b"[{":
                around.append(factor)
                factor *= self.object_growth if token == b"{" else self.array_growth
                work += self.container * factor
            elif around:  # the document may be invalid
                factor = around.pop()
            if work > limit:
                return True
        return False


class Shape(NamedTuple):
    """How many values a document has at most: what is in its strings counts, too.

    Attributes:
        values: commas.
        pairs: colons.
        arrays: opening brackets.
        objects: opening braces.

    """

    values: int
    pairs: int
    arrays: int
    objects: int

    @classmethod
    def of(cls, body: bytes) -> "Shape":
        """Return the shape of a document."""
        return cls(_count(body, b","), _count(body, b":"), _count(body, b"["), _count(body, b"{"))


def _is_narrow(body: bytes) -> bool:
    """Return whether no character of the document takes more than a byte of memory."""
    return body.isascii() and (b"\\" not in body or b"\\u" not in body)


def _count(body: bytes, byte: bytes) -> int:
    """Return ``body.count(byte)``; looking for the next one is faster if there are only a few."""
    at = -1
    for count in range(FEW):
        at = body.find(byte, at + 1)
        if at < 0:
            return count
    return FEW + body.count(byte, at + 1)


PLAIN = JsonCost()
