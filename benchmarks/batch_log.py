"""What a server's model was given, out of the log that minilm.py writes."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Self


@dataclass(frozen=True)
class Batch:
    """A call of the model: monotonic seconds, rows, the longest row's tokens, tokens in all."""

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
    """All calls of the model that ended in some span of time."""

    batches: list[Batch]
    seconds: float

    @classmethod
    def read(cls, path: Path, began: float, ended: float) -> Self:
        """Read those that ended between two moments on the monotonic clock."""
        batches = map(Batch.parse, path.read_text().splitlines())
        return cls([one for one in batches if began < one.ended <= ended], ended - began)

    @property
    def padding(self) -> float:
        """The share of the tokens computed that is padding."""
        computed = sum(one.rows * one.width for one in self.batches)
        return 1 - sum(one.tokens for one in self.batches) / computed

    @property
    def busy(self) -> float:
        """The share of time inside of the model."""
        return sum(one.ended - one.began for one in self.batches) / self.seconds

    @property
    def sizes(self) -> str:
        """How many batches in a hundred have how many rows, in powers of two."""
        counts = Counter(one.rows.bit_length() - 1 for one in self.batches)
        return ", ".join(
            f"{_bucket(power)}: {count / len(self.batches):.0%}"
            for power, count in sorted(counts.items())
        )


def _bucket(power: int) -> str:
    return f"{2**power} to {2 ** (power + 1) - 1}" if power else "1"
