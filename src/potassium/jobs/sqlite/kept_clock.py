"""The clock of ``SqliteStore``, as its file keeps it from one process to the next."""

from typing import TYPE_CHECKING

from potassium.webhooks.steady_clock import SteadyClock

if TYPE_CHECKING:
    from aiosqlite import Connection

__all__ = ["keep", "resume"]

KEPT = "SELECT boot, ahead, wall_ahead FROM clock"
FORGET = "DELETE FROM clock"
KEEP = "INSERT INTO clock (boot, ahead, wall_ahead) VALUES (?, ?, ?)"

# The latest moments that an index finds.
LATEST = """
    SELECT max(
        coalesce((SELECT created_at FROM jobs ORDER BY seq DESC LIMIT 1), 0),
        coalesce((SELECT max(finished_at) FROM jobs WHERE finished_at IS NOT NULL), 0),
        coalesce((SELECT created_at FROM deliveries ORDER BY seq DESC LIMIT 1), 0)
    )
"""


async def resume(connection: "Connection", clock: SteadyClock) -> None:
    """Let ``clock`` continue the one that the file keeps, or begin at the time on the wall."""
    ((latest,),) = await connection.execute_fetchall(LATEST)
    kept = [tuple(row) for row in await connection.execute_fetchall(KEPT)]
    boot, ahead, offset = kept[0] if kept else (None, 0.0, 0.0)
    clock.resume(boot, ahead, offset, latest=latest)


async def keep(connection: "Connection", clock: SteadyClock) -> None:
    """Write down how ``clock`` is set."""
    await connection.execute(FORGET)
    await connection.execute(KEEP, (clock.boot, clock.ahead, clock.offset))
