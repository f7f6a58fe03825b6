"""The file of ``SqliteStore``: whether it is still there, and what it gives back to the disk."""

import asyncio
import logging
import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from potassium.errors import UsageError
from potassium.jobs.sqlite.connection import LARGEST_LOG, PRIVATE, connect, make_private
from potassium.jobs.sqlite.holder import Holder

if TYPE_CHECKING:
    from aiosqlite import Connection

__all__ = ["StoreFile"]

# Free pages that the file keeps, so that it does not shrink and grow all the time.
SPARE_PAGES = 1024
SPARE_SHARE = 4  # one in so many pages
STEP = 1024  # pages given back at a time; other calls take turns with the steps

RETRY = 1.0  # seconds until the file is tried to be written anew again; doubles each time
LONGEST_RETRY = 60.0  # seconds; the file may be large, and the disk full

ROOM = 1024 * 1024  # bytes of a job in the file, at most; larger inputs are files of their own
TRUSTED = 60.0  # seconds for which a disk that seems full, but is not, is not tried again

logger = logging.getLogger("potassium.jobs")


class StoreFile:
    """An open database file. Its methods must not run at the same time.

    Attributes:
        connection: in autocommit mode.

    """

    def __init__(
        self,
        path: Path,
        connection: "Connection",
        drop: Callable[[str], object],
        holder: Holder,
    ) -> None:
        """Take what ``connect`` was given, and what it returned."""
        self.connection = connection
        self._drop = drop
        self._holder = holder
        self._path = path
        self._log = path.with_name(f"{path.name}-wal")
        self._copy = path.with_name(f"{path.name}-copy")
        self._room = path.with_name(f"{path.name}-room")
        self._opened, self._device = self._identity(), _device(path)
        self._is_closed = False
        self._taken: list[tuple[str, ...]] = []  # deliveries under way while it is closed
        self._retry_at = 0.0
        self._pause = RETRY
        self._trusted_until = 0.0

    async def ensure(self) -> None:
        """Check that what is written is found again; write a file anew that was removed.

        The system keeps a file that was removed as long as it is open, so no job is lost with it.

        Raises:
            sqlite3.Error: somebody has put another file there, its volume is not mounted, or it
                cannot be written anew.
            OSError: it cannot be written anew.

        """
        found = self._identity()
        if found == self._opened and not self._is_closed:
            return
        if not self._is_closed and found[0] not in (None, self._opened[0]):
            raise sqlite3.OperationalError("the database file was replaced by another one")
        if not self._is_closed and _device(self._path) != self._device:
            # What is written elsewhere would be missing once the volume is back.
            raise sqlite3.OperationalError("the volume of the database file is not mounted")
        now = time.monotonic()
        if now < self._retry_at:
            raise sqlite3.OperationalError("the database file was removed")
        self._retry_at = now + self._pause
        self._pause = min(2 * self._pause, LONGEST_RETRY)
        if not self._is_closed:
            await self._write_anew()
        await self._reopen()
        self._retry_at, self._pause = 0.0, RETRY
        logger.warning("%s was removed; it was written anew with all its jobs", self._path)

    def is_doubtful(self) -> bool:
        """Return whether the disk seems to be full or read-only, unless it was found not to be."""
        try:
            disk = os.statvfs(self._path.parent)
        except OSError:
            return False  # ``ensure`` says why
        seems_bad = bool(disk.f_flag & os.ST_RDONLY) or not disk.f_bavail
        return seems_bad and time.monotonic() >= self._trusted_until

    async def check_room(self) -> None:
        """Check that the disk has room for a job.

        Raises:
            OSError: it has not.

        """
        await asyncio.to_thread(_fill, self._room, ROOM)
        self._trusted_until = time.monotonic() + TRUSTED

    async def shrink(self) -> bool:
        """Give some unused space back to the disk; return whether there is more of it."""
        if _size(self._log) > LARGEST_LOG:
            await self.connection.execute_fetchall("PRAGMA wal_checkpoint(TRUNCATE)")
        free, pages = await self._pragma("freelist_count"), await self._pragma("page_count")
        excess = free - max(SPARE_PAGES, pages // SPARE_SHARE)
        if excess <= 0:
            return False
        step = min(STEP, excess)
        # As a script, because otherwise only one page is given back.
        await self.connection.executescript(f"PRAGMA incremental_vacuum({step})")
        return excess > step

    async def close(self) -> None:
        """Close the file."""
        self._holder.forget()
        await self.connection.close()

    def _identity(self) -> tuple[tuple[int, int] | None, tuple[int, int] | None]:
        """Return what identifies the file and its write-ahead log; None for what is missing."""
        return _identity(self._path), _identity(self._log)

    async def _write_anew(self) -> None:
        """Put a copy of the open file in its place, and close it."""
        taken = await self.connection.execute_fetchall("SELECT delivery_id FROM taken")
        self._taken = [tuple(row) for row in taken]
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._copy.unlink(missing_ok=True)
        make_private(self._copy)
        try:
            await self.connection.execute("VACUUM INTO ?", (str(self._copy),))
            await asyncio.to_thread(_sync, self._copy)
        except BaseException:
            self._copy.unlink(missing_ok=True)  # half a copy would keep a full disk full
            raise
        self._log.unlink(missing_ok=True)  # it does not belong to the copy
        self._copy.replace(self._path)
        await asyncio.to_thread(_sync, self._path.parent)
        # Before there is a new log, because this removes whatever has its name.
        self._is_closed = True
        await self.connection.close()

    async def _reopen(self) -> None:
        try:
            connection = await connect(self._path, self._drop, self._holder)
        except UsageError as error:
            raise sqlite3.OperationalError(error.detail) from error
        await connection.executemany("INSERT INTO taken VALUES (?)", self._taken)
        self.connection, self._opened = connection, self._identity()
        self._device = _device(self._path)
        self._is_closed = False

    async def _pragma(self, name: str) -> int:
        ((value,),) = await self.connection.execute_fetchall(f"PRAGMA {name}")
        return int(value)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _device(path: Path) -> int | None:
    """Return the device of the folder that a file is in, or of the nearest one that exists."""
    for folder in path.parents:
        with suppress(OSError):
            return folder.stat().st_dev
    return None


def _fill(path: Path, size: int) -> None:
    """Write a file of ``size`` bytes to the disk, and remove it."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, PRIVATE)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(bytes(size))
            file.flush()
            os.fsync(file.fileno())
    finally:
        path.unlink(missing_ok=True)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
