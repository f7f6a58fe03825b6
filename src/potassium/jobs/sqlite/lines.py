"""Whose turn it is among those for whom deliveries wait; see ``DeliveryStore``.

All of this is in temporary tables: they are rolled back with the rest, cost no write to the disk,
and are gone with the process, so that what it had taken is due again.
"""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from potassium.jobs.sqlite.rows import DELIVERY, delivery_of
from potassium.webhooks.model import Delivery, Full

if TYPE_CHECKING:
    from aiosqlite import Connection

__all__ = [
    "FIRST",
    "HOSTS_ENDED",
    "HOSTS_MOVED",
    "NEXT",
    "NEXT_TURNS",
    "OWNERS_ENDED",
    "OWNERS_MOVED",
    "TAKEN",
    "TEMPORARY",
    "TURNS",
    "next_turn",
    "take",
]

# Each has a turn as soon as something is due. Where nothing is due by then, it is moved.
_ADD = """
    INSERT INTO hosts VALUES (new.is_guarded, new.owner, new.host, new.due_at)
        ON CONFLICT DO UPDATE SET turn_at = min(turn_at, excluded.turn_at);
    INSERT INTO owners VALUES (new.is_guarded, new.owner, new.due_at)
        ON CONFLICT DO UPDATE SET turn_at = min(turn_at, excluded.turn_at);
"""
TEMPORARY = f"""
CREATE TEMP TABLE taken (delivery_id TEXT PRIMARY KEY);
CREATE TEMP TABLE hosts (
    is_guarded INTEGER, owner TEXT, host TEXT, turn_at REAL, PRIMARY KEY (is_guarded, owner, host)
) WITHOUT ROWID;
CREATE INDEX temp.hosts_by_turn ON hosts (is_guarded, owner, turn_at);
CREATE TEMP TABLE owners (
    is_guarded INTEGER, owner TEXT, turn_at REAL, PRIMARY KEY (is_guarded, owner)
) WITHOUT ROWID;
CREATE INDEX temp.owners_by_turn ON owners (is_guarded, turn_at);
INSERT INTO hosts SELECT is_guarded, owner, host, min(due_at) FROM deliveries
    WHERE due_at IS NOT NULL GROUP BY is_guarded, owner, host;
INSERT INTO owners SELECT is_guarded, owner, min(turn_at) FROM hosts GROUP BY is_guarded, owner;
CREATE TEMP TRIGGER delivery_waits AFTER INSERT ON main.deliveries
    WHEN new.due_at IS NOT NULL BEGIN {_ADD} END;
CREATE TEMP TRIGGER delivery_waits_again AFTER UPDATE OF due_at ON main.deliveries
    WHEN new.due_at IS NOT NULL BEGIN {_ADD} END;
"""

# Those that are full are few, so few are passed over.
_SOME_OWNERS = "owner NOT IN (SELECT value FROM json_each(:full_owners))"
_FIRST_HOST = """
    FROM hosts WHERE hosts.is_guarded = owners.is_guarded AND hosts.owner = owners.owner
    AND host NOT IN (SELECT value FROM json_each(:full_hosts))
    ORDER BY turn_at LIMIT 1
"""
TURNS = f"""
    SELECT owner, (SELECT host {_FIRST_HOST}) AS host FROM owners
    WHERE is_guarded = :is_guarded AND turn_at <= :now AND {_SOME_OWNERS}
    AND (SELECT turn_at {_FIRST_HOST}) <= :now
    ORDER BY turn_at LIMIT :limit
"""
NEXT_TURNS = f"""
    SELECT max(turn_at, (SELECT turn_at {_FIRST_HOST})) AS turn_at FROM owners
    WHERE is_guarded = :is_guarded AND {_SOME_OWNERS}
    ORDER BY owners.turn_at LIMIT :limit
"""

# Those that are taken are few, and they are at the head of their lines.
_WAITING = "due_at IS NOT NULL AND id NOT IN (SELECT delivery_id FROM taken)"
FIRST = (
    DELIVERY
    + f"""
    WHERE seq IN (
        SELECT (
            SELECT seq FROM deliveries INDEXED BY deliveries_in_line
            WHERE is_guarded = :is_guarded AND host = named.value AND due_at <= :now AND {_WAITING}
            ORDER BY due_at, seq LIMIT 1
        ) FROM json_each(:hosts) AS named
    )
    ORDER BY due_at, seq
"""
)
# The same for a single host, several at a time.
NEXT = (
    DELIVERY
    + f"""
    INDEXED BY deliveries_in_line
    WHERE is_guarded = :is_guarded AND host = :host AND due_at <= :now AND {_WAITING}
    ORDER BY due_at, seq LIMIT :each
"""
)
TAKEN = "INSERT INTO taken VALUES (?)"

_SIDE = "is_guarded = :is_guarded"
HOSTS_MOVED = f"""
    UPDATE hosts SET turn_at = (
        SELECT max(due_at, :now) FROM deliveries INDEXED BY deliveries_in_line
        WHERE is_guarded = hosts.is_guarded AND host = hosts.host AND {_WAITING}
        ORDER BY due_at LIMIT 1
    )
    WHERE {_SIDE} AND owner IN (SELECT value FROM json_each(:owners))
    AND host IN (SELECT value FROM json_each(:hosts))
"""
HOSTS_ENDED = f"DELETE FROM hosts WHERE {_SIDE} AND turn_at IS NULL"
OWNERS_MOVED = f"""
    UPDATE owners SET turn_at = (
        SELECT max(hosts.turn_at, :now) FROM hosts
        WHERE hosts.is_guarded = owners.is_guarded AND hosts.owner = owners.owner
        ORDER BY hosts.turn_at LIMIT 1
    )
    WHERE {_SIDE} AND owner IN (SELECT value FROM json_each(:owners))
"""
OWNERS_ENDED = f"DELETE FROM owners WHERE {_SIDE} AND turn_at IS NULL"


async def take(  # noqa: PLR0913 - what the store is asked
    db: "Connection", *, is_guarded: bool, now: float, limit: int, full: Full, each: int = 1
) -> Sequence[Delivery]:
    """Take one due delivery of each of the next ``limit`` owners; of a single one, ``each``."""
    side = {"is_guarded": is_guarded, "now": now}
    while True:
        turns = [*await db.execute_fetchall(TURNS, {**side, "limit": limit, **_lists(full)})]
        if not turns:
            return ()
        chosen: dict[str, Any] = {
            **side,
            "owners": json.dumps([row["owner"] for row in turns]),
            "hosts": json.dumps([row["host"] for row in turns]),
        }
        if len(turns) == 1:
            chosen |= {"host": turns[0]["host"], "each": each}
        rows = await db.execute_fetchall(NEXT if len(turns) == 1 else FIRST, chosen)
        due = [delivery_of(row) for row in rows]
        if due:
            await db.executemany(TAKEN, [(delivery.id,) for delivery in due])
        for statement in (HOSTS_MOVED, HOSTS_ENDED, OWNERS_MOVED, OWNERS_ENDED):
            await db.execute(statement, chosen)
        if due:  # otherwise all of it has been given up
            return due


async def next_turn(db: "Connection", *, is_guarded: bool, full: Full) -> float | None:
    """Return when the next turn comes, or None if nothing waits."""
    # Whose hosts are not full has its turn when the table says, so one of the first rows is it.
    values = {"is_guarded": is_guarded, "limit": len(full.hosts) + 1, **_lists(full)}
    turns = [row["turn_at"] for row in await db.execute_fetchall(NEXT_TURNS, values)]
    return min((turn_at for turn_at in turns if turn_at is not None), default=None)


def _lists(full: Full) -> dict[str, str]:
    return {
        "full_hosts": json.dumps(list(full.hosts)),
        "full_owners": json.dumps(list(full.owners)),
    }
