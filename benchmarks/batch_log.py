"""The batches that a server's model ran, read from the log that minilm.py writes."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Self


@dataclass(frozen=True)
class Batch:
    """One call of the model.

    ``began`` and ``ended`` are monotonic seconds, ``width`` is the number of tokens in the longest
    row, and ``tokens`` counts all tokens without padding.
    """

    began: float
    ended: float
    rows: int
    width: int
    tokens: int

    @classmethod
    def parse(cls, line: str) -> Self:
        began, ended, *counts = line.split()
        return cls(float(began), float(ended), *map(int, counts))


@dataclass(frozen=True)
class Batches:
    """All calls of the model that ended within a period."""

    batches: list[Batch]
    seconds: float

    @classmethod
    def read(cls, path: Path, began: float, ended: float) -> Self:
        """Read the calls that ended between two moments on the monotonic clock."""
        batches = map(Batch.parse, path.read_text().splitlines())
        return cls([one for one in batches if began < one.ended <= ended], ended - began)

    @property
    def padding(self) -> float:
        """The share of the computed tokens that is padding."""
        computed = sum(one.rows * one.width for one in self.batches)
        return 1 - sum(one.tokens for one in self.batches) / computed

    @property
    def busy(self) -> float:
        """The share of the time spent in the model."""
        return sum(one.ended - one.began for one in self.batches) / self.seconds

    @property
    def sizes(self) -> str:
        """The share of batches by number of rows, grouped by powers of two."""
        counts = Counter(one.rows.bit_length() - 1 for one in self.batches)
        return ", ".join(
            f"{_bucket(power)}: {count / len(self.batches):.0%}"
            for power, count in sorted(counts.items())
        )


def _bucket(power: int) -> str:
    return f"{2**power} to {2 ** (power + 1) - 1}" if power else "1"
