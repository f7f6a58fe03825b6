"""Values in an SQLite file."""

import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

from potassium.errors import UsageError
from potassium.store.config import LocalConfig

__all__ = ["SqliteBackend"]

APPLICATION_ID = 0x504B5653  # "PKVS"
PRIVATE = 0o600  # mode of the file: values may be what clients have sent

CLEAN_EVERY = 60.0  # seconds between two looks for what has expired
MOST_CLEANED = 1000  # rows, and pages given back to the disk, at a time

LARGEST_LOG = 16 * 1024 * 1024  # bytes that the write-ahead log keeps once it is written back

# In one statement, because another process may be creating the tables.
FOUND = """
SELECT application_id, (SELECT count(*) FROM sqlite_master) FROM pragma_application_id
"""

NEW = f"""
PRAGMA auto_vacuum = INCREMENTAL;
PRAGMA journal_mode = WAL;
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS entries (key TEXT PRIMARY KEY, value BLOB NOT NULL, expires_at REAL);
CREATE INDEX IF NOT EXISTS entries_by_expiry ON entries (expires_at) WHERE expires_at IS NOT NULL;
PRAGMA application_id = {APPLICATION_ID};
COMMIT;
"""

SETTINGS = f"""
PRAGMA synchronous = NORMAL;
PRAGMA journal_size_limit = {LARGEST_LOG};
"""

GET = "SELECT value FROM entries WHERE key = ? AND (expires_at IS NULL OR expires_at > ?)"
SET = "INSERT OR REPLACE INTO entries VALUES (?, ?, ?)"
DELETE = "DELETE FROM entries WHERE key = ?"
CLEAN = """
DELETE FROM entries WHERE rowid IN
    (SELECT rowid FROM entries WHERE expires_at IS NOT NULL AND expires_at <= ? LIMIT ?)
"""


class SqliteBackend:
    """Keeps values in a file, by wall-clock time, as they outlive the process.

    Args:
        config: where the file is.
        timeout: seconds to wait while another process writes.
        clock: returns seconds since 1970.

    """

    threads = 1  # on which the connection stays
    faults: tuple[type[Exception], ...] = (sqlite3.Error, OSError)

    def __init__(
        self, config: LocalConfig, timeout: float, clock: Callable[[], float] = time.time
    ) -> None:
        self._path = Path(config.path)
        self._timeout = timeout
        self._clock = clock
        self._connection: sqlite3.Connection | None = None
        self._clean_at = 0.0
        self.place = str(self._path)

    def get(self, key: str) -> bytes | None:
        """Return what is kept under ``key``; None if there is nothing, or it has expired."""
        row = self._run(GET, key, self._clock()).fetchone()
        return None if row is None else bytes(row[0])

    def set(self, key: str, data: bytes, ttl: float | None) -> None:
        """Keep ``data``; now and then, delete some of what has expired, under any key."""
        now = self._clock()
        self._run(SET, key, data, None if ttl is None else now + ttl)
        if now >= self._clean_at:
            deleted = self._run(CLEAN, now, MOST_CLEANED).rowcount
            self._clean_at = now if deleted == MOST_CLEANED else now + CLEAN_EVERY
            # As a script, because otherwise only one page is given back.
            self._open().executescript(f"PRAGMA incremental_vacuum({MOST_CLEANED})")

    def delete(self, key: str) -> None:
        """Delete what is kept under ``key``, if there is anything."""
        self._run(DELETE, key)

    def close(self) -> None:
        """Close the file."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _run(self, statement: str, *values: object) -> sqlite3.Cursor:
        return self._open().execute(statement, values)

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            # SQLite gives the same mode to what it creates beside it.
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, PRIVATE))
            connection = sqlite3.connect(self._path, self._timeout, isolation_level=None)
            try:
                self._prepare(connection)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        """Create what is missing, unless another process has.

        Raises:
            UsageError: the file is another program's.

        """
        ((application, tables),) = connection.execute(FOUND)
        if application != APPLICATION_ID:
            if tables:
                raise UsageError(
                    f"{self._path} belongs to another program; name another file, with "
                    "Store(config=LocalConfig(path=...))."
                )
            connection.executescript(NEW)
        connection.executescript(SETTINGS)
