"""``/v1/batches``: clients let the requests in a file run, and see how far they are."""

import asyncio
import re
from collections.abc import Collection
from dataclasses import replace
from typing import Annotated, Any

from pydantic import BaseModel, Field, TypeAdapter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from potassium.errors import InvalidInput
from potassium.handlers.validated import Validated
from potassium.http.owner import owner_of
from potassium.openai.batch_document import ENDED, batch_document, status_of
from potassium.openai.batch_jobs import BatchJobs
from potassium.openai.batch_results import let_results_expire
from potassium.openai.batches import Batch, Batches
from potassium.openai.errors import Refused, answering
from potassium.openai.file_routes import seconds_of
from potassium.openai.files import Files
from potassium.openai.received import limit_of, page, read_body
from potassium.serving.assembly import Assembly

__all__ = ["BatchRoutes"]

LARGEST_PAGE, PAGE = 100, 20  # batches
WINDOW = re.compile(r"([1-9][0-9]{0,5})([smhd])")
UNITS = {"s": 1, "m": 60, "h": 60 * 60, "d": 24 * 60 * 60}  # seconds
LARGEST_BODY = 64 * 1024  # bytes

Text = Annotated[str, Field(max_length=512)]
Key = Annotated[str, Field(max_length=64)]


class NewBatch(BaseModel):
    """The body of ``POST /v1/batches``."""

    input_file_id: str
    endpoint: str
    completion_window: str
    metadata: Annotated[dict[Key, Text], Field(max_length=16)] | None = None
    output_expires_after: dict[str, Any] | None = None


class BatchRoutes:
    """Answers requests about batches. Where jobs have owners, a batch of another one is not found.

    Args:
        parts: those of the app.
        batches: keep what was asked for.
        files: keep the requests and the results.
        jobs: run the batches.
        endpoints: those that batches may have.

    """

    def __init__(
        self,
        parts: Assembly,
        batches: Batches,
        files: Files,
        jobs: BatchJobs,
        endpoints: Collection[str],
    ) -> None:
        self._parts = parts
        self._batches = batches
        self._files = files
        self._jobs = jobs
        self._endpoints = endpoints
        self._bind = Validated(TypeAdapter(NewBatch))

    def routes(self, prefix: str) -> list[Route]:
        """Return a route for each endpoint."""
        all_of_them, one = f"{prefix}/batches", f"{prefix}/batches/{{id}}"
        return [
            Route(all_of_them, answering(self._create), methods=["POST"]),
            Route(all_of_them, answering(self._list), methods=["GET"]),
            Route(one, answering(self._get), methods=["GET"]),
            Route(f"{one}/cancel", answering(self._cancel), methods=["POST"]),
        ]

    async def _create(self, request: Request) -> Response:
        async with read_body(self._parts, request, LARGEST_BODY) as message:
            try:
                asked: NewBatch = self._bind(message)
            except InvalidInput as error:
                raise Refused.invalid(error) from None
        batch = await asyncio.to_thread(self._new, asked, owner_of(request.scope))
        return JSONResponse(await self._shown(await self._jobs.submit(batch)))

    def _new(self, asked: NewBatch, owner: str | None) -> Batch:
        """Return the batch that a client asks for.

        Raises:
            Refused: a value is invalid, or there is no such file.

        """
        if asked.endpoint not in self._endpoints:
            known = ", ".join(self._endpoints)
            raise Refused(f"Batches may have these endpoints: {known}.", param="endpoint")
        window = WINDOW.fullmatch(asked.completion_window)
        if window is None:
            raise Refused('Write the window like "24h".', param="completion_window")
        kept = asked.output_expires_after
        self._files.get(asked.input_file_id, owner)
        now = self._batches.now()
        return Batch(
            owner=owner or "",
            input_file_id=asked.input_file_id,
            endpoint=asked.endpoint,
            completion_window=asked.completion_window,
            metadata=asked.metadata,
            created_at=now,
            expires_at=now + int(window[1]) * UNITS[window[2]],
            keeps_results=None if kept is None else seconds_of(kept, "output_expires_after"),
        )

    async def _list(self, request: Request) -> Response:
        limit = limit_of(request, most=LARGEST_PAGE, default=PAGE)
        found = self._batches.newest_first(owner_of(request.scope))
        after = request.query_params.get("after")
        some, has_more = await asyncio.to_thread(page, found, after, limit)
        data = [await self._shown(batch) for batch in some]
        ends = {"first_id": data[0]["id"], "last_id": data[-1]["id"]} if data else {}
        return JSONResponse({"object": "list", "data": data, **ends, "has_more": has_more})

    async def _get(self, request: Request) -> Response:
        return JSONResponse(await self._shown(await self._found(request)))

    async def _cancel(self, request: Request) -> Response:
        """End a batch early; what is done stays.

        Raises:
            Refused: it has ended.
            Unavailable: the job cannot be ended now.

        """
        batch = await self._found(request)
        progress = await asyncio.to_thread(self._batches.progress, batch)
        status = status_of(batch, progress, await self._jobs.job_of(batch))
        if status in ENDED:
            raise Refused(f"A batch that is {status} cannot be cancelled.", code="batch_has_ended")
        await self._jobs.cancel(batch)
        if batch.cancelling_at is None:  # if the server dies now, the next one goes by this
            batch = replace(batch, cancelling_at=self._batches.now())
            await asyncio.to_thread(self._batches.keep, batch)
            await asyncio.to_thread(let_results_expire, self._files, batch, self._batches.now())
        return JSONResponse(await self._shown(batch))

    async def _found(self, request: Request) -> Batch:
        owner = owner_of(request.scope)
        return await asyncio.to_thread(self._batches.get, request.path_params["id"], owner)

    async def _shown(self, batch: Batch) -> dict[str, Any]:
        job = await self._jobs.job_of(batch)  # first: if it has ended, so has what it writes

        def shown() -> dict[str, Any]:
            progress = self._batches.progress(batch)
            ids = (batch.output_id, batch.errors_id)
            return batch_document(batch, progress, job, set(filter(self._files.has, ids)))

        return await asyncio.to_thread(shown)
