"""The background job of a batch: what runs it on which server, and how it is submitted."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from potassium.app import Potassium
from potassium.errors import InvalidInput, JobHasEnded, JobNotFound, Unavailable
from potassium.http.request import Request, ids_of_call
from potassium.jobs.model import StoredJob
from potassium.jobs.service import JobService
from potassium.openai.batch_call import Caller
from potassium.openai.batch_document import ENDED, status_of
from potassium.openai.batch_run import BatchRun
from potassium.openai.batches import Batch, Batches
from potassium.openai.files import Files
from potassium.openai.front import Front
from potassium.serving.composition import parts_of

__all__ = ["BatchJobs"]

AT_ONCE = 8  # batches that a server runs at the same time; they share the requests in flight
# What passes, such as a full disk, fails no batch: as the back-off doubles up to a quarter of an
# hour, this is more than ten days.
ATTEMPTS, BACKOFF = 1000, 0.001  # and seconds
LOOKS, PAUSE = 40, 0.05  # for the job of a batch, which is noted just after it is submitted


class BatchJobs:
    """Runs batches as background jobs of an app, and submits them.

    Args:
        app: has the jobs.
        path: where the handler of the jobs is.
        batches: keep what was asked for.
        files: keep the requests and the results.
        fronts: those of the endpoints that batches may have.
        in_flight: how many requests of all batches run at the same time.
        most: maximum requests of a batch.

    """

    def __init__(  # noqa: PLR0913 - what batches go through
        self,
        app: Potassium,
        path: str,
        batches: Batches,
        files: Files,
        fronts: Mapping[str, Front[Any]],
        *,
        in_flight: int,
        most: int,
    ) -> None:
        self._parts = parts_of(app)
        self._path = path
        self._batches = batches
        self._files = files
        self._fronts = fronts
        self._in_flight = in_flight
        self._most = most
        self._loop: asyncio.AbstractEventLoop | None = None
        self._places = asyncio.Semaphore(in_flight)

        @app.background(path, concurrency=AT_ONCE, attempts=ATTEMPTS, backoff=BACKOFF)
        async def run_batch(_: dict[str, Any], request: Request) -> None:
            await self._run(request)

    async def submit(self, batch: Batch) -> Batch:
        """Store a batch and the job that runs it; return the batch with the id of the job.

        Raises:
            PotassiumError: the job cannot be stored, or the server is stopping.
            OSError: the batch cannot be stored.

        """
        await asyncio.to_thread(self._batches.keep, batch)
        try:
            asked = {"batch": batch.id}
            job = await self._parts.calls.submit(
                self._path, asked, priority="normal", idempotency_key=None
            )
        except BaseException:
            await asyncio.to_thread(self._batches.drop, batch)
            raise
        batch = replace(batch, job_id=job["id"])
        await asyncio.to_thread(self._batches.keep, batch)
        return batch

    async def job_of(self, batch: Batch) -> StoredJob | None:
        """Return the job that runs a batch, or has run it; None if it was deleted since.

        Raises:
            StoreFailed: it cannot be read.

        """
        return await (await self._service()).store.get(batch.job_id)

    async def need(self, file_id: str) -> bool:
        """Return whether a file belongs to a batch that has not ended.

        Raises:
            StoreFailed: the job of a batch cannot be read.

        """
        for batch in await asyncio.to_thread(self._batches.of_file, file_id):
            job = await self.job_of(batch)  # first: if it has ended, so has what it writes
            progress = await asyncio.to_thread(self._batches.progress, batch)
            if status_of(batch, progress, job) not in ENDED:
                return True
        return False

    async def cancel(self, batch: Batch) -> None:
        """End the job of a batch, or ask it to end; if it has ended, do nothing.

        Raises:
            Unavailable: it cannot be ended now.

        """
        with suppress(JobHasEnded, JobNotFound):
            await (await self._service()).cancel(batch.job_id)

    async def _service(self) -> JobService:
        services = await self._parts.runtime.started()
        assert services.jobs is not None  # noqa: S101 - its handler has given the app some
        return services.jobs

    async def _run(self, request: Request) -> None:
        batch = await self._asked(request)
        job = await self.job_of(batch)
        assert job is not None  # noqa: S101 - it runs
        run = BatchRun(
            batch,
            job,
            self._batches,
            self._files,
            Caller(self._parts, self._fronts[batch.endpoint], request.id),
            self._free_places(),
            in_flight=self._in_flight,
            longest=self._parts.limits.body_size,
            most=self._most,
        )
        await run.run(request)

    def _free_places(self) -> asyncio.Semaphore:
        """Return the places for requests, which belong to the event loop."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop, self._places = loop, asyncio.Semaphore(self._in_flight)
        return self._places

    async def _asked(self, request: Request) -> Batch:
        """Return the batch that the job is for.

        Raises:
            InvalidInput: somebody has submitted a job of his own.
            Unavailable: the id of the job is noted late; run it again.

        """
        given = request.json
        batch_id = str(given.get("batch")) if isinstance(given, dict) else ""
        for _ in range(LOOKS):
            batch = await asyncio.to_thread(self._batches.find, batch_id)
            if batch is None or batch.job_id:
                break
            await asyncio.sleep(PAUSE)
        if batch is not None and not batch.job_id and self._batches.seconds_left(batch) > 0:
            raise Unavailable("The job of the batch has not been noted so far.")
        if batch is None or batch.job_id != ids_of_call()[1]:
            raise InvalidInput("Batches are submitted with POST /v1/batches.")
        return batch
