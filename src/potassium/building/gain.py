"""What a snapshot gains: the phases of a plain start beside those of a restored one."""

from dataclasses import dataclass
from typing import Any

__all__ = ["Phase", "phases"]


@dataclass(frozen=True)
class Phase:
    """A part of a start, in seconds.

    Attributes:
        name: what it is.
        plain: how long it took with ``init``.
        restored: how long it took with the snapshot.

    """

    name: str
    plain: float
    restored: float


def phases(plain: dict[str, Any], restored: dict[str, Any]) -> list[Phase]:
    """Return the phases of both starts, the first calls, and the sum of all of them.

    Args:
        plain: the report of the process that ran ``init``.
        restored: that of the process that restored the snapshot.

    """
    starts = [_start(plain), _start(restored)]
    first = [
        {one["path"]: one["seconds"] for one in report["answers"]} for report in (plain, restored)
    ]
    rows = [Phase(name, starts[0][name], starts[1][name]) for name in starts[0]]
    rows += [Phase(f"first {path}", first[0][path], first[1][path]) for path in first[0]]
    return [*rows, Phase("all", sum(row.plain for row in rows), sum(row.restored for row in rows))]


def _start(report: dict[str, Any]) -> dict[str, float]:
    """Return the seconds of each phase, without what the build itself has done."""
    found: dict[str, float] = dict(report["startup"]["phases"])
    found["init"] -= report["besides"]
    return found
