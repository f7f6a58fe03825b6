"""How many jobs there are, and how much they take: the sums of what all statements have counted."""

from collections.abc import Mapping, Sequence
from typing import Any

from potassium.jobs.model import Status
from potassium.jobs.room import Room

__all__ = ["COUNTS", "Counts", "counted"]

COUNTS = b"""
    SELECT status, handler, sum(jobs)::bigint AS jobs, sum(bytes)::bigint AS bytes
    FROM tallies GROUP BY 1, 2
"""

Counts = Mapping[tuple[str, str], int]  # of jobs by status and handler, and of deliveries


def counted(rows: Sequence[Mapping[str, Any]], room: Room) -> Counts:
    """Return the rows of ``COUNTS`` as numbers of jobs; tell ``room`` what the store holds."""
    counts = {(row["status"], row["handler"]): row["jobs"] for row in rows}
    queued = Status.QUEUED.value
    room.queued = sum(jobs for (status, _), jobs in counts.items() if status == queued)
    room.bytes = sum(row["bytes"] for row in rows)
    return counts
