"""Runs the operations of many simultaneous callers in one transaction."""

import asyncio
import logging
import sqlite3
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from potassium.errors import PotassiumError, StoreFailed
from potassium.jobs.model import StoredJob
from potassium.jobs.room import Room
from potassium.jobs.sqlite.file import StoreFile
from potassium.jobs.sqlite.rows import ADD_INPUT, ADD_JOB, input_row, job_row
from potassium.jobs.sqlite.statements import USAGE

if TYPE_CHECKING:
    from aiosqlite import Connection

__all__ = ["GroupCommit"]

T = TypeVar("T")
Operation = Callable[["Connection"], Awaitable[T]]

MOST_AT_ONCE = 16 * 1024 * 1024  # bytes of jobs in one transaction; the log grows with it
PATIENCE = 10.0  # seconds until a disk that has not answered counts as lost
LOG_EVERY = 60.0  # seconds; on a full disk everything fails

logger = logging.getLogger("potassium.jobs")


class _Work:
    """What one caller waits for: an operation, or a new job to be stored."""

    def __init__(self, wanted: Operation[Any] | StoredJob, size: int = 0) -> None:
        self.wanted = wanted
        self.size = size
        self.future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def settle(self, outcome: object) -> None:
        if self.future.done():
            return  # its caller was cancelled
        if isinstance(outcome, Exception):
            self.future.set_exception(outcome)
        else:
            self.future.set_result(outcome)


class GroupCommit:
    """Runs operations on the one connection; all that wait at a time share one transaction.

    So a hundred simultaneous callers wait for one write to the disk, not for a hundred. Reads go
    the same way: nothing is ever shown that could still be lost. An operation that is cancelled
    while it waits is not begun; one that has begun harms none of the others.

    Args:
        file: it is closed at the end.
        room: is told after each transaction what the file holds.

    Attributes:
        fault: why the file could not be written, until ``prove`` succeeds; None while it can be.
            It may also be that the disk has not answered for ``PATIENCE`` seconds.

    """

    def __init__(self, file: StoreFile, room: Room) -> None:
        self.fault: str | None = None
        self._file = file
        self._room = room
        self._changes = -1
        self._logged_at: float | None = None
        self._between: list[_Work] = []
        self._waiting: list[_Work] = []
        self._shared: dict[str, _Work] = {}
        self._has_work = asyncio.Event()
        self._is_closing = False
        self._task = asyncio.create_task(self._run(), name="potassium-jobs-commits")

    async def run(self, operation: Operation[T], *, size: int = 0) -> T:
        """Run ``operation``; return its result once what it has written is durable.

        It may raise a ``PotassiumError`` of its own as long as it has not written anything.
        ``size`` is how many bytes it writes, if these may be many.

        Raises:
            StoreFailed: nothing that it wrote was kept.

        """
        result: T = await self._queue(_Work(operation, size))
        return result

    async def add(self, job: StoredJob) -> None:
        """Store a new job, before all operations that wait beside it.

        Raises:
            StoreFailed: the job was not stored.

        """
        await self._queue(_Work(job, len(job.body) if isinstance(job.body, bytes) else 0))

    async def share(self, name: str, operation: Operation[T]) -> T:
        """Run ``operation`` after all others that wait, once for all callers with this ``name``.

        Raises:
            StoreFailed: the operation failed.

        """
        work = self._shared.get(name)
        if work is None:
            self._refuse_if_closing()
            work = self._shared[name] = _Work(operation)
            self._has_work.set()
        result: T = await asyncio.shield(work.future)  # one caller must not cancel it for others
        return result

    async def between(self, operation: Operation[T]) -> T:
        """Run ``operation`` by itself, outside of any transaction.

        Raises:
            StoreFailed: the operation failed.

        """
        self._refuse_if_closing()
        work = _Work(operation)
        self._between.append(work)
        self._has_work.set()
        result: T = await work.future
        return result

    async def prove(self, write: Operation[object], *, needs_room: bool) -> None:
        """Run a small ``write``; if it succeeds, the disk can be written again.

        With ``needs_room``, or after a failure, there must also be room for a job: the small write
        may fit where no job does.

        Raises:
            StoreFailed: it failed.

        """
        await self.run(write)
        if needs_room or self.fault is not None:
            await self.between(lambda _: self._file.check_room())
        if self.fault is not None:
            self.fault = self._logged_at = None  # the next fault is another one
            logger.warning("background jobs can be stored again")

    async def close(self) -> None:
        """Finish what waits, then close the connection; cancellation does not stop this."""
        self._is_closing = True
        self._has_work.set()
        await asyncio.wait([self._task])

    async def _queue(self, work: _Work) -> Any:
        self._refuse_if_closing()
        self._waiting.append(work)
        self._has_work.set()
        return await work.future

    def _refuse_if_closing(self) -> None:
        if self._is_closing:
            raise StoreFailed("The store of background jobs is closed.")

    def _take(self) -> list[_Work]:
        """Return what waits, up to ``MOST_AT_ONCE`` bytes of it."""
        size = 0
        for number, work in enumerate(self._waiting):
            size += work.size
            if size > MOST_AT_ONCE and number:
                self._has_work.set()
                break
        else:
            number = len(self._waiting)
        taken = [*self._waiting[:number], *self._shared.values()]
        self._waiting, self._shared = self._waiting[number:], {}
        return taken

    async def _run(self) -> None:
        try:
            while self._has_work.is_set() or not self._is_closing:
                await self._has_work.wait()
                self._has_work.clear()
                with self._patience():
                    await self._commit([work for work in self._take() if not work.future.done()])
                between, self._between = self._between, []
                for work in between:
                    with self._patience():
                        await self._run_between(work)
        finally:
            self._is_closing = True
            for work in [*self._waiting, *self._shared.values(), *self._between]:
                work.settle(_failed(None))
            await self._file.close()

    @contextmanager
    def _patience(self) -> Iterator[None]:
        """Note that nothing can be stored if the disk has not done this in time."""
        error = sqlite3.OperationalError("the disk does not answer")
        loop = asyncio.get_running_loop()
        timer = loop.call_later(PATIENCE, self._note_failure, error)
        try:
            yield
        finally:
            timer.cancel()

    async def _run_between(self, work: _Work) -> None:
        try:
            await self._file.ensure()
            work.settle(await self._outcome(work.wanted))
        except Exception as error:  # noqa: BLE001 - the others go on, whatever it is
            self._note_failure(error)
            work.settle(_failed(error))

    async def _commit(self, batch: Sequence[_Work]) -> None:
        if not batch:
            return
        try:
            outcomes = await self._transaction(batch)
        except Exception as error:  # noqa: BLE001 - the others go on, whatever it is
            await self._roll_back()
            if len(batch) == 1 or _is_of_the_disk(error):
                self._note_failure(error)
                for work in batch:
                    work.settle(_failed(error))
            else:
                # One of them asked for something invalid; the others must not fail with it.
                for work in batch:
                    await self._commit([work])
        except BaseException:
            for work in batch:
                work.settle(_failed(None))
            raise
        else:
            for work, outcome in zip(batch, outcomes, strict=True):
                work.settle(outcome)

    async def _transaction(self, batch: Sequence[_Work]) -> Sequence[object]:
        await self._file.ensure()
        connection = self._file.connection
        await connection.execute("BEGIN IMMEDIATE")
        jobs = [work.wanted for work in batch if isinstance(work.wanted, StoredJob)]
        if jobs:
            await connection.executemany(ADD_JOB, [job_row(job) for job in jobs])
            await connection.executemany(ADD_INPUT, [input_row(job) for job in jobs])
        outcomes = [await self._outcome(work.wanted) for work in batch]
        changes, usage = connection.total_changes, None
        if changes != self._changes:
            (usage,) = await connection.execute_fetchall(USAGE)
        await connection.commit()
        self._changes = changes
        if usage is not None:
            self._room.queued, self._room.bytes = usage
        return outcomes

    async def _outcome(self, wanted: Operation[Any] | StoredJob) -> object:
        if isinstance(wanted, StoredJob):
            return None
        try:
            return await wanted(self._file.connection)
        except PotassiumError as error:
            return error

    async def _roll_back(self) -> None:
        try:
            await self._file.connection.rollback()
        except (sqlite3.Error, ValueError):  # the next BEGIN shows whether the disk is back
            logger.debug("a transaction of background jobs was not rolled back", exc_info=True)

    def _note_failure(self, error: Exception) -> None:
        if _is_of_the_disk(error):
            self.fault = _fault(error)
        now = time.monotonic()
        if self._logged_at is None or now - self._logged_at >= LOG_EVERY:
            self._logged_at = now
            logger.error("background jobs cannot be stored: %s", error)


def _is_of_the_disk(error: Exception) -> bool:
    return (
        isinstance(error, sqlite3.OperationalError | OSError)
        or type(error) is sqlite3.DatabaseError
    )


def _fault(error: Exception) -> str:
    """Return what is wrong, without any path: everybody may ask for it."""
    if isinstance(error, OSError):
        return (error.strerror or type(error).__name__).lower()
    if isinstance(error.__cause__, PotassiumError):
        return "the database file cannot be opened"
    return str(error)


def _failed(cause: Exception | None) -> StoreFailed:
    failed = StoreFailed("Background jobs cannot be stored or read at the moment.")
    failed.__cause__ = cause
    return failed
