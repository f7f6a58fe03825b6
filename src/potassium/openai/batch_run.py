"""Runs the requests of a batch as one background job, which goes on where the last one died."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from potassium.errors import Draining, Unavailable
from potassium.http.request import Request
from potassium.jobs.model import StoredJob
from potassium.openai.batch_call import Caller
from potassium.openai.batch_lines import (
    Line,
    LineRefused,
    count_lines,
    lines_of,
    parsed,
    read_lines,
)
from potassium.openai.batch_results import Results, let_results_expire
from potassium.openai.batches import Batch, Batches, Progress
from potassium.openai.errors import Refused
from potassium.openai.files import Files

__all__ = ["BatchRun"]

DEATHS = 3  # of the server in a row at the same request, which is given up then
AT_ONCE = 64 * 1024  # bytes of a line that is parsed on the event loop
EXPIRED = "The request was not made before the batch expired."


class BatchRun:
    """One attempt of a job at a batch.

    If the server has died at the attempt before, the job is a suspect, and one of the requests that
    it ran may be why: as many as it may have run are then run one at a time. One at which the
    server dies again and again gets an error. After these the attempt ends, as no other job runs
    beside a suspect. At the next attempt, the job is no longer one.

    Args:
        batch: what was asked for.
        job: the job, as it is claimed.
        batches: keep the batch.
        files: keep the requests and the results.
        caller: calls the handlers.
        places: how many requests may run at the same time.
        in_flight: how many these are, if no other batch runs.
        longest: maximum bytes of a line.
        most: maximum requests.

    """

    def __init__(  # noqa: PLR0913, PLR0917 - what a batch goes through
        self,
        batch: Batch,
        job: StoredJob,
        batches: Batches,
        files: Files,
        caller: Caller,
        places: asyncio.Semaphore,
        *,
        in_flight: int,
        longest: int,
        most: int,
    ) -> None:
        self._batch = batch
        self._job = job
        self._batches = batches
        self._files = files
        self._caller = caller
        self._places = places
        self._in_flight = in_flight
        self._longest = longest
        self._most = most
        self._lock = threading.Lock()
        self._progress: Progress
        self._results: Results
        self._one_by_one = 0  # how many requests more run alone
        self._gives_up = False  # the next one that is not done
        self._custom_ids: set[str] = set()

    async def run(self, request: Request) -> None:
        """Run what is left of the batch, until it has ended or expires.

        On cancellation, the results so far are kept.

        Raises:
            Draining: the server stops before the end.
            Unavailable: the job is none that may have killed the server any more; run it again.
            OSError: the disk fails.

        """
        self._progress = await asyncio.to_thread(self._batches.progress, self._batch)
        if self._progress.status:  # the server has died before it could store that the job was done
            await asyncio.to_thread(self._let_results_expire)
            return
        if self._batch.cancelling_at is not None:  # and so has the server that was asked to
            await asyncio.to_thread(self._stop, "cancelled")
            return
        try:
            path, total = await asyncio.to_thread(self._input)
        except Refused as error:
            self._progress.errors = [{"code": error.code, "message": error.detail}]
            await asyncio.to_thread(self._stop, "failed")
            return
        self._results = await asyncio.to_thread(Results, self._files, self._batch)
        try:
            await asyncio.to_thread(self._begin, total)
            await self._all(path, request)
        except asyncio.CancelledError:
            if not self._caller.is_stopping:  # a client has cancelled the batch
                self._let_results_expire()
            raise
        finally:
            self._results.close()

    def _input(self) -> tuple[Path, int]:
        """Return where the requests are, and how many.

        Raises:
            Refused: there are none, or too many.

        """
        file = self._files.get(self._batch.input_file_id, self._batch.owner or None)
        if file.purpose != "batch":
            raise Refused(f"The purpose of {file.id} is {file.purpose!r}, and not 'batch'.")
        path = self._files.content(file)
        total = count_lines(path, self._longest, self._most + 1)
        if not total:
            raise Refused("The file has no requests.", code="empty_file")
        if total > self._most:
            raise Refused(f"A batch may have {self._most} requests.", code="too_many_requests")
        return path, total

    def _stop(self, status: str) -> None:
        """Store that the batch has ended early."""
        self._progress.status, self._progress.ended_at = status, self._batches.now()
        self._batches.note(self._batch, self._progress)
        self._let_results_expire()

    def _begin(self, total: int) -> None:
        progress, done = self._progress, len(self._results.done)
        if self._job.is_suspect:
            self._one_by_one = self._in_flight
        if done != progress.done_before or not self._job.is_suspect:
            progress.done_before, progress.crashes_before = done, self._job.crashes
        self._gives_up = self._job.crashes - progress.crashes_before >= DEATHS
        progress.total = total
        progress.in_progress_at = progress.in_progress_at or self._batches.now()
        self._note()

    async def _all(self, path: Path, request: Request) -> None:
        """Run all requests that have no results, and end the batch."""
        limit = asyncio.timeout(self._batches.seconds_left(self._batch))
        try:
            async with limit:
                await self._each(path, request)
        except TimeoutError:
            if not limit.expired():
                raise
            with suppress(FileNotFoundError):  # the file has expired, too
                await asyncio.to_thread(self._give_up, path)
        await asyncio.to_thread(self._end, "expired" if limit.expired() else "completed")

    async def _each(self, path: Path, request: Request) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                async for line in lines_of(path, self._longest):
                    if self._caller.is_stopping:
                        break
                    await self._take(line, group, request)
        except ExceptionGroup as several:
            raise several.exceptions[0] from None
        if len(self._results.done) < self._progress.total:
            raise Draining("The server stopped before all requests of the batch were done.")

    async def _take(self, line: Line, group: asyncio.TaskGroup, request: Request) -> None:
        """Run a request once there is a place for it, or say what is wrong with it."""
        results, number = self._results, line.number
        try:
            custom_id, body = await self._parsed(line)
        except LineRefused as error:
            if number not in results.done:
                refused = partial(results.error, number, error.custom_id, error.code, error.detail)
                await self._keep(refused, request)
            return
        if number in results.done:
            return
        if self._gives_up:
            self._gives_up = False
            detail = f"The server died {DEATHS} times while it ran this request."
            await self._keep(
                partial(results.error, number, custom_id, "interrupted", detail), request
            )
            return
        await self._places.acquire()
        task = group.create_task(self._answer(number, custom_id, body, request))
        task.add_done_callback(lambda _: self._places.release())
        if self._one_by_one:
            self._one_by_one -= 1
            await asyncio.wait({task})
            if not self._one_by_one:
                raise Unavailable("What ran when the server died is done; the rest follows.")

    async def _parsed(self, line: Line) -> tuple[str, Any]:
        if len(line.text or b"") <= AT_ONCE:
            custom_id, body = parsed(line, self._batch.endpoint)
        else:
            custom_id, body = await asyncio.to_thread(parsed, line, self._batch.endpoint)
        if custom_id in self._custom_ids:
            detail = "A request before has the same custom_id."
            raise LineRefused(detail, custom_id, code="duplicate_custom_id")
        self._custom_ids.add(custom_id)
        return custom_id, body

    async def _answer(self, number: int, custom_id: str, body: Any, request: Request) -> None:
        answered = await self._caller.answer(body)
        if answered is not None:
            add = partial(self._results.answer, number, custom_id, request_id=request.id)
            await self._keep(partial(add, status=answered.status, body=answered.body), request)

    async def _keep(self, add: Callable[[], object], request: Request) -> None:
        """Store a result, and tell how far the batch is."""

        def keep() -> None:
            add()
            self._note(synced=False)

        await asyncio.to_thread(keep)
        done, total = self._progress.done, self._progress.total
        request.progress(min(done / total, 1), f"{done} of {total} requests are done")

    def _note(self, *, synced: bool = True) -> None:
        with self._lock:
            self._progress.completed = self._results.completed
            self._progress.failed = self._results.failed
            self._batches.note(self._batch, self._progress, synced=synced)

    def _give_up(self, path: Path) -> None:
        """Give each request that has no result an error, as the time is over."""
        for line in read_lines(path, self._longest):
            if line.number not in self._results.done:
                try:
                    custom_id, _ = parsed(line, self._batch.endpoint)
                except LineRefused as error:
                    self._results.error(line.number, error.custom_id, error.code, error.detail)
                else:
                    self._results.error(line.number, custom_id, "batch_expired", EXPIRED)

    def _end(self, status: str) -> None:
        """Store that the batch has ended."""
        self._progress.finalizing_at = self._batches.now()
        self._note()
        self._results.sync()
        self._progress.status, self._progress.ended_at = status, self._batches.now()
        self._note()
        self._let_results_expire()

    def _let_results_expire(self) -> None:
        ended_at = self._progress.ended_at or self._batches.now()
        let_results_expire(self._files, self._batch, ended_at)
