"""Whose turn it is among those for whom deliveries wait; see ``DeliveryStore``.

One server at a time takes deliveries, and only the taker moves anybody's turn: it has a lock for
it. Whoever adds a delivery leaves it outside the line, so that they need not wait for one another;
the next taker lines it up.
"""

from collections.abc import Sequence
from typing import Any

from potassium.jobs.postgres.database import Connection
from potassium.jobs.postgres.rows import DELIVERY, delivery_of, text_in
from potassium.webhooks.model import Delivery, Full

__all__ = ["next_turn", "take"]

LOCK = b"SELECT pg_advisory_xact_lock(hashtextextended(%s, 2))"

LINE_UP = b"""
    WITH new AS (
        UPDATE deliveries SET is_in_line = true WHERE due_at IS NOT NULL AND NOT is_in_line
        RETURNING is_guarded, owner, host, due_at
    ), placed AS (
        INSERT INTO hosts
            SELECT is_guarded, owner, host, min(due_at) FROM new GROUP BY 1, 2, 3
            ON CONFLICT (is_guarded, owner, host)
            DO UPDATE SET turn_at = least(hosts.turn_at, excluded.turn_at)
    )
    INSERT INTO owners SELECT is_guarded, owner, min(due_at) FROM new GROUP BY 1, 2
        ON CONFLICT (is_guarded, owner)
        DO UPDATE SET turn_at = least(owners.turn_at, excluded.turn_at)
"""

# Those that are full are few, so few are passed over.
_SIDE = "is_guarded = %(is_guarded)s"
_SOME_OWNERS = "owners.owner <> ALL(%(full_owners)s::text[])"
_FIRST_HOST = """
    LATERAL (
        SELECT host, turn_at FROM hosts
        WHERE hosts.is_guarded = owners.is_guarded AND hosts.owner = owners.owner
        AND host <> ALL(%(full_hosts)s::text[])
        ORDER BY turn_at, host LIMIT 1
    ) AS first
"""
# A server that has lost its lease takes nothing: nobody would release that.
TURNS = f"""
    SELECT owners.owner, first.host FROM owners CROSS JOIN {_FIRST_HOST}
    WHERE owners.{_SIDE} AND owners.turn_at <= %(now)s AND {_SOME_OWNERS}
    AND EXISTS (SELECT FROM servers WHERE id = %(server)s AND heir IS NULL)
    AND first.turn_at <= %(now)s
    ORDER BY owners.turn_at, owners.owner LIMIT %(limit)s
""".encode()

_WAITING = "due_at IS NOT NULL AND taken_by IS NULL"
FIRST = f"""
    SELECT {DELIVERY} FROM unnest(%(hosts)s::text[]) AS named (host) CROSS JOIN LATERAL (
        SELECT * FROM deliveries
        WHERE {_SIDE} AND host = named.host AND due_at <= %(now)s AND {_WAITING}
        ORDER BY due_at, seq LIMIT %(each)s
    ) AS deliveries
    ORDER BY due_at, seq
""".encode()
TAKEN = b"UPDATE deliveries SET taken_by = %(server)s WHERE id = ANY(%(ids)s)"

MOVED = f"""
    UPDATE hosts SET turn_at = (
        SELECT greatest(due_at, %(now)s) FROM deliveries
        WHERE is_guarded = hosts.is_guarded AND host = hosts.host AND {_WAITING}
        ORDER BY due_at LIMIT 1
    )
    WHERE {_SIDE} AND owner = ANY(%(owners)s) AND host = ANY(%(hosts)s)
""".encode()
HOSTS_ENDED = f"""
    DELETE FROM hosts WHERE {_SIDE} AND owner = ANY(%(owners)s) AND turn_at IS NULL
""".encode()
OWNERS_MOVED = f"""
    UPDATE owners SET turn_at = (
        SELECT greatest(hosts.turn_at, %(now)s) FROM hosts
        WHERE hosts.is_guarded = owners.is_guarded AND hosts.owner = owners.owner
        ORDER BY hosts.turn_at LIMIT 1
    )
    WHERE {_SIDE} AND owner = ANY(%(owners)s)
""".encode()
OWNERS_ENDED = f"""
    DELETE FROM owners WHERE {_SIDE} AND owner = ANY(%(owners)s) AND turn_at IS NULL
""".encode()

# The first turn, and the first of those that are not in line yet.
NEXT_TURN = f"""
    SELECT least((
        SELECT min(turn_at) FROM (
            SELECT greatest(owners.turn_at, first.turn_at) AS turn_at
            FROM owners CROSS JOIN {_FIRST_HOST}
            WHERE owners.{_SIDE} AND {_SOME_OWNERS}
            ORDER BY owners.turn_at LIMIT %(limit)s
        ) AS turns
    ), (
        SELECT min(due_at) FROM deliveries
        WHERE {_SIDE} AND due_at IS NOT NULL AND NOT is_in_line AND taken_by IS NULL
        AND owner <> ALL(%(full_owners)s::text[]) AND host <> ALL(%(full_hosts)s::text[])
    )) AS turn_at
""".encode()


async def take(  # noqa: PLR0913 - what the store is asked
    connection: Connection,
    *,
    schema: str,
    server: str,
    is_guarded: bool,
    now: float,
    limit: int,
    full: Full,
    each: int,
) -> Sequence[Delivery]:
    """Take one due delivery of each of the next ``limit`` owners; of a single one, ``each``."""
    await connection.execute(LOCK, (schema,))
    await connection.execute(LINE_UP)
    side = {"is_guarded": is_guarded, "now": now}
    while True:
        turns = await (
            await connection.execute(
                TURNS, {**side, "server": server, "limit": limit, **_lists(full)}
            )
        ).fetchall()
        if not turns:
            return ()
        chosen: dict[str, Any] = {
            **side,
            "owners": [row["owner"] for row in turns],
            "hosts": [row["host"] for row in turns],
            "each": each if len(turns) == 1 else 1,
        }
        rows = await (await connection.execute(FIRST, chosen)).fetchall()
        due = [delivery_of(row) for row in rows]
        if due:
            taken = {"server": server, "ids": [delivery.id for delivery in due]}
            await connection.execute(TAKEN, taken)
        for statement in (MOVED, HOSTS_ENDED, OWNERS_MOVED, OWNERS_ENDED):
            await connection.execute(statement, chosen)
        if due:  # otherwise all of it has been given up
            return due


async def next_turn(connection: Connection, *, is_guarded: bool, full: Full) -> float | None:
    """Return when the next turn comes, or None if nothing waits."""
    # Whose hosts are not full has its turn when the table says, so one of the first rows is it.
    values = {"is_guarded": is_guarded, "limit": len(full.hosts) + 1, **_lists(full)}
    row = await (await connection.execute(NEXT_TURN, values)).fetchone()
    return None if row is None else row["turn_at"]


def _lists(full: Full) -> dict[str, list[str]]:
    return {
        "full_hosts": [text_in(host) for host in full.hosts],
        "full_owners": [text_in(owner) for owner in full.owners],
    }
