"""Runs the operations of many simultaneous callers in one transaction."""

import asyncio
import logging
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from potassium.errors import PotassiumError, StoreFailed
from potassium.jobs.model import StoredJob
from potassium.jobs.sqlite.rows import ADD_INPUT, ADD_JOB, input_row, job_row

if TYPE_CHECKING:
    from aiosqlite import Connection

__all__ = ["GroupCommit"]

T = TypeVar("T")
Operation = Callable[["Connection"], Awaitable[T]]

logger = logging.getLogger("potassium.jobs")


class _Work:
    """What one caller waits for: an operation, or a new job to be stored."""

    def __init__(self, wanted: Operation[Any] | StoredJob) -> None:
        self.wanted = wanted
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
        connection: in autocommit mode; it is closed at the end.
        is_there: returns whether the file is still where it was opened. What is written to a file
            that nobody finds again is not kept.

    """

    def __init__(self, connection: "Connection", is_there: Callable[[], bool]) -> None:
        self._connection = connection
        self._is_there = is_there
        self._waiting: list[_Work] = []
        self._shared: dict[str, _Work] = {}
        self._has_work = asyncio.Event()
        self._is_closing = False
        self._task = asyncio.create_task(self._run(), name="potassium-jobs-commits")

    async def run(self, operation: Operation[T]) -> T:
        """Run ``operation``; return its result once what it has written is durable.

        It may raise a ``PotassiumError`` of its own as long as it has not written anything.

        Raises:
            StoreFailed: nothing that it wrote was kept.

        """
        result: T = await self._queue(operation)
        return result

    async def add(self, job: StoredJob) -> None:
        """Store a new job, before all operations that wait beside it.

        Raises:
            StoreFailed: the job was not stored.

        """
        await self._queue(job)

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

    async def close(self) -> None:
        """Finish what waits, then close the connection; cancellation does not stop this."""
        self._is_closing = True
        self._has_work.set()
        await asyncio.wait([self._task])

    async def _queue(self, wanted: Operation[Any] | StoredJob) -> Any:
        self._refuse_if_closing()
        work = _Work(wanted)
        self._waiting.append(work)
        self._has_work.set()
        return await work.future

    def _refuse_if_closing(self) -> None:
        if self._is_closing:
            raise StoreFailed("The store of background jobs is closed.")

    def _take(self) -> list[_Work]:
        """Return all work that waits, and begin new collections."""
        taken = [*self._waiting, *self._shared.values()]
        self._waiting, self._shared = [], {}
        return taken

    async def _run(self) -> None:
        try:
            while self._waiting or self._shared or not self._is_closing:
                await self._has_work.wait()
                self._has_work.clear()
                await self._commit([work for work in self._take() if not work.future.done()])
        finally:
            self._is_closing = True
            for work in self._take():
                work.settle(_failed(None))
            await self._connection.close()

    async def _commit(self, batch: Sequence[_Work]) -> None:
        if not batch:
            return
        try:
            outcomes = await self._transaction(batch)
        except Exception as error:  # noqa: BLE001 - the others go on, whatever it is
            await self._roll_back()
            if len(batch) == 1 or _is_of_the_disk(error):
                logger.error(  # noqa: TRY400 - the stack is ours and says nothing
                    "background jobs cannot be stored: %s", error
                )
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
        if not self._is_there():
            raise sqlite3.OperationalError("the database file was removed or replaced")
        await self._connection.execute("BEGIN IMMEDIATE")
        jobs = [work.wanted for work in batch if isinstance(work.wanted, StoredJob)]
        if jobs:
            await self._connection.executemany(ADD_JOB, [job_row(job) for job in jobs])
            await self._connection.executemany(ADD_INPUT, [input_row(job) for job in jobs])
        outcomes = [await self._outcome(work.wanted) for work in batch]
        await self._connection.commit()
        return outcomes

    async def _outcome(self, wanted: Operation[Any] | StoredJob) -> object:
        if isinstance(wanted, StoredJob):
            return None
        try:
            return await wanted(self._connection)
        except PotassiumError as error:
            return error

    async def _roll_back(self) -> None:
        try:
            await self._connection.rollback()
        except sqlite3.Error:  # the next BEGIN shows whether the disk is back
            logger.exception("a transaction of background jobs could not be rolled back")


def _is_of_the_disk(error: Exception) -> bool:
    return isinstance(error, sqlite3.OperationalError) or type(error) is sqlite3.DatabaseError


def _failed(cause: Exception | None) -> StoreFailed:
    failed = StoreFailed("Background jobs cannot be stored or read at the moment.")
    failed.__cause__ = cause
    return failed
