"""Opens the file of ``SqliteStore`` for this process alone."""

import logging
import os
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from potassium.errors import UsageError
from potassium.jobs.sqlite import lines, schema
from potassium.jobs.sqlite.holder import Holder

if TYPE_CHECKING:
    from aiosqlite import Connection

__all__ = ["LARGEST_LOG", "PRIVATE", "connect", "make_private"]

LARGEST_LOG = 16 * 1024 * 1024  # bytes that the write-ahead log keeps once it has been written back

PRIVATE = 0o600  # mode of the files: jobs hold what clients have sent
OTHERS = 0o007  # in a mode

logger = logging.getLogger("potassium.jobs")

# The first transaction after the first of these locks the file until it is closed. What processes
# would otherwise share lies in memory. Temporary tables hold what ends with the process.
SETTINGS = f"""
PRAGMA locking_mode = EXCLUSIVE;
PRAGMA auto_vacuum = INCREMENTAL;
PRAGMA journal_mode = WAL;
PRAGMA journal_size_limit = {LARGEST_LOG};
PRAGMA synchronous = FULL;
PRAGMA foreign_keys = ON;
BEGIN EXCLUSIVE;
COMMIT;
"""

INCREMENTAL = 2  # of auto_vacuum

LEFT_BEHIND = """
PRAGMA temp_store = MEMORY;
CREATE TEMP TABLE left_behind AS SELECT seq, attempts FROM jobs WHERE status = 'running';
"""

DROPPED = """
CREATE TEMP TRIGGER input_dropped AFTER DELETE ON main.inputs WHEN old.file IS NOT NULL
BEGIN SELECT drop_input_file(old.file); END;
"""


async def connect(path: Path, drop: Callable[[str], object], holder: Holder) -> "Connection":
    """Return a connection to the database at ``path``, with all tables, in autocommit mode.

    Creates the file and its folder if they are missing. ``drop`` is called on the thread of the
    connection with the name of each file whose row is deleted, also if that is rolled back later.
    ``holder`` records that this app holds the file, or tells which other app does.

    Raises:
        UsageError: aiosqlite is not installed; or the file is in use, cannot be opened, holds
            something else, or was written by a newer version.

    """
    try:
        import aiosqlite  # noqa: PLC0415 - an extra, and only for this store
    except ImportError as error:
        raise UsageError(
            'Jobs that survive a restart need aiosqlite: pip install "potassium[jobs]"'
        ) from error
    try:
        _make_ready(path)
        connection = await aiosqlite.connect(path, isolation_level=None, timeout=0)
    except (OSError, sqlite3.Error) as error:
        raise _refused(path, holder, error) from error
    try:
        connection.row_factory = sqlite3.Row
        await _refuse_foreign(connection, path)
        await connection.executescript(SETTINGS)
        await _migrate(connection, path)
        await _make_shrinkable(connection)
        await connection.create_function("drop_input_file", 1, drop)
        await connection.executescript(LEFT_BEHIND + lines.TEMPORARY + DROPPED)
    except BaseException as error:
        await connection.close()
        if isinstance(error, sqlite3.Error):
            raise _refused(path, holder, error) from error
        raise
    holder.note()
    return connection


def make_private(path: Path) -> None:
    """Create a file that only its owner can read, or keep all others from reading it.

    A group that the operator has let read it may go on. Raises OSError.
    """
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, PRIVATE))
    if path.stat().st_mode & OTHERS:
        path.chmod(PRIVATE)


def _make_ready(path: Path) -> None:
    """Create the folder and the file; raise OSError if it, or one beside it, cannot be written.

    aiosqlite does not wait for its thread if opening fails, so this is checked before.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        raise IsADirectoryError("it is a directory")
    for one in (path.parent, path):
        if one.exists() and not os.access(one, os.W_OK):
            raise PermissionError(f"{one} is read-only")
    make_private(path)  # SQLite gives the same mode to what it creates beside it
    with suppress(FileNotFoundError):
        path.with_name(f"{path.name}-wal").chmod(path.stat().st_mode)


async def _refuse_foreign(connection: "Connection", path: Path) -> None:
    """Raise if the file is another program's. This only reads, so nothing in it changes."""
    is_ours = await _pragma(connection, "application_id") == schema.APPLICATION_ID
    if not is_ours and await connection.execute_fetchall("SELECT 1 FROM sqlite_master LIMIT 1"):
        raise UsageError(f"{path} belongs to another program; choose another file for jobs.")


async def _migrate(connection: "Connection", path: Path) -> None:
    version = await _pragma(connection, "user_version")
    if version > len(schema.MIGRATIONS):
        raise UsageError(
            f"{path} was written by a newer version of Potassium; install that version, or choose "
            "another file for jobs."
        )
    for number, script in enumerate(schema.MIGRATIONS[version:], start=version + 1):
        await connection.executescript(
            f"BEGIN IMMEDIATE; {script}; PRAGMA user_version = {number}; "
            f"PRAGMA application_id = {schema.APPLICATION_ID}; COMMIT;"
        )


async def _make_shrinkable(connection: "Connection") -> None:
    """Let a file from before files could shrink give back what it no longer needs, too."""
    if await _pragma(connection, "auto_vacuum") != INCREMENTAL:
        try:
            await connection.execute("VACUUM")
        except sqlite3.Error as error:  # there is no room for a copy of the file
            logger.warning("the file of background jobs cannot be made to shrink: %s", error)


async def _pragma(connection: "Connection", name: str) -> int:
    ((value,),) = await connection.execute_fetchall(f"PRAGMA {name}")
    return int(value)


def _refused(path: Path, holder: Holder, error: Exception) -> UsageError:
    code = getattr(error, "sqlite_errorcode", None)
    if code == sqlite3.SQLITE_BUSY:
        return holder.refusal()
    if code == sqlite3.SQLITE_NOTADB:
        return UsageError(f"{path} is not an SQLite database; choose another file for jobs.")
    return UsageError(
        f"{path} cannot be opened for jobs: {error}. Name a file in a folder that can be written, "
        "with Jobs(path=...), or keep jobs in memory, with Jobs(path=None)."
    )
