"""The HTTP endpoints of background jobs."""

from collections.abc import Awaitable, Callable, Iterator
from itertools import groupby
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from potassium.errors import ClientLeft, InvalidInput, JobNotFound, TooManyWatchers
from potassium.http.codec import encode
from potassium.http.connection import while_connected
from potassium.http.owner import owner_of
from potassium.http.preferences import wait_of
from potassium.jobs.document import document, rfc3339
from potassium.jobs.download import Download, Part
from potassium.jobs.event_stream import following
from potassium.jobs.model import StoredJob
from potassium.jobs.outputs import Output
from potassium.jobs.queries import (
    LARGEST_PAGE,
    final_status_of,
    last_event_of,
    limit_of,
    seconds_of,
    status_of,
)
from potassium.jobs.service import LONGEST_WAIT, JobService

__all__ = ["JobRoutes"]

Endpoint = Callable[[Request], Awaitable[Response]]

PIECE = 256 * 1024  # bytes of an output sent at a time


class JobRoutes:
    """Answers requests about background jobs, which clients name by unguessable ids.

    If jobs have owners, a job of another owner is not found.

    Args:
        service: returns the job service; it may have to start the app first.

    """

    def __init__(self, service: Callable[[], Awaitable[JobService]]) -> None:
        self._service = service

    def routes(self) -> list[Route]:
        """Return a route for each endpoint."""
        return [
            Route("/jobs", self.find, methods=["GET"], name="jobs"),
            Route("/jobs", self.purge, methods=["DELETE"], name="purge_jobs"),
            Route("/jobs/{id}", self._owned(self.get), methods=["GET"], name="job"),
            Route("/jobs/{id}", self._owned(self.cancel), methods=["DELETE"], name="cancel_job"),
            Route(
                "/jobs/{id}/output", self._owned(self.output), methods=["GET"], name="job_output"
            ),
            Route("/jobs/{id}/retry", self._owned(self.retry), methods=["POST"], name="retry_job"),
            Route(
                "/jobs/{id}/events", self._owned(self.events), methods=["GET"], name="job_events"
            ),
            Route(
                "/jobs/{id}/deliveries",
                self._owned(self.deliveries),
                methods=["GET"],
                name="job_deliveries",
            ),
        ]

    async def find(self, request: Request) -> Response:
        """List jobs, newest first; the ``next`` of one page is the ``after`` of the next page.

        Raises:
            InvalidInput: ``status``, ``limit`` or ``after`` is invalid.

        """
        service = await self._service()
        limit = limit_of(request.query_params.get("limit"))
        after = request.query_params.get("after")
        if after is not None and not (after.isascii() and after.isalnum()):
            raise InvalidInput("after must be the id of a job.")
        jobs = await service.store.find(
            status=status_of(request.query_params.get("status")),
            owner=owner_of(request.scope),
            limit=limit + 1,
            after=after,
        )
        shown = jobs[:limit]
        more = shown[-1].id if len(jobs) > limit else None
        clock, root_path = service.store.clock, _root(request)
        documents = [document(job, clock, root_path=root_path) for job in shown]
        return _json({"jobs": documents, "next": more})

    async def purge(self, request: Request) -> Response:
        """Delete jobs that ended in one way; ``deleted`` is how many, and 0 once none is left.

        The status has to be named: what forgets the id of ``DELETE /jobs/{id}`` deletes nothing.

        Raises:
            InvalidInput: ``status``, ``older_than`` or ``limit`` is invalid.

        """
        service, query = await self._service(), request.query_params
        deleted = await service.purge(
            final_status_of(query.get("status")),
            older_than=seconds_of(query.get("older_than", "0")),
            owner=owner_of(request.scope),
            limit=limit_of(query.get("limit"), LARGEST_PAGE),
        )
        return _json({"deleted": deleted})

    def _owned(self, endpoint: Endpoint) -> Endpoint:
        """Return an endpoint that answers only about jobs of the request's owner, if it has one."""

        async def answer(request: Request) -> Response:
            owner = owner_of(request.scope)
            if owner is not None:
                service = await self._service()
                await service.get(request.path_params["id"], owner)
            return await endpoint(request)

        return answer

    async def get(self, request: Request) -> Response:
        """Show a job; with ``Prefer: wait``, once it has ended or the time is over.

        If too many clients wait already, the preference is not applied.
        """
        service = await self._service()
        wait, job_id = wait_of(request.scope), request.path_params["id"]
        if wait is None:
            return await _shown(service, request, await service.get(job_id))
        try:
            await request.body()
        except ClientDisconnect:
            raise ClientLeft from None
        wait = min(wait, LONGEST_WAIT)
        try:
            job = await while_connected(request.receive, service.wait(job_id, wait))
        except TooManyWatchers:  # the wait is a preference, not a condition
            return await _shown(service, request, await service.get(job_id))
        return await _shown(service, request, job, {"Preference-Applied": f"wait={wait:g}"})

    async def output(self, request: Request) -> Response:
        """Send the output of a job that has succeeded, or the part that ``Range`` asks for.

        Raises:
            JobNotFound: the job has no output.
            RangeNotSatisfiable: the range begins behind the end of the output.

        """
        service = await self._service()
        job = await service.get(request.path_params["id"])
        if job.output_size is None:
            raise JobNotFound(f"The job has no output: it is {job.status}.")
        part = Part.asked_by(request, job)
        output = await service.outputs.of(job) if part.is_sent else None
        return Download(part, job, output)

    async def cancel(self, request: Request) -> Response:
        """Cancel a job: at once if it is queued, or as soon as its handler notices if it runs."""
        service = await self._service()
        job = await service.cancel(request.path_params["id"])
        shown = await service.document(job, _root(request))
        return _json(shown, 200 if job.status.is_final else 202)

    async def retry(self, request: Request) -> Response:
        """Queue a failed job again."""
        service = await self._service()
        job = await service.retry(request.path_params["id"])
        return _json(await service.document(job, _root(request)), 202)

    async def events(self, request: Request) -> Response:
        """Stream the events of a job (WHATWG HTML, section 9.2) that follow ``Last-Event-ID``.

        If the client has seen all events of a job that has ended, it is told not to come back.

        Raises:
            InvalidInput: ``Last-Event-ID`` is not a number.
            TooManyWatchers: as many clients follow jobs as may.

        """
        service = await self._service()
        job = await service.get(request.path_params["id"])
        seen = last_event_of(request)
        last = await service.store.last_event(job.id)
        if job.status.is_final and seen >= last:
            return Response(status_code=204)  # an EventSource then does not reconnect
        return following(service, job.id, min(seen, last))

    async def deliveries(self, request: Request) -> Response:
        """Show every attempt to deliver a webhook about a job."""
        service = await self._service()
        clock = service.store.clock
        attempts = await service.deliveries(request.path_params["id"])
        by_delivery = sorted(attempts, key=lambda attempt: attempt.delivery_id)
        shown = [
            {
                "id": delivery_id,
                "url": some[0].url,
                "attempts": [
                    {
                        "number": one.number,
                        "at": rfc3339(one.at, clock),
                        "duration": round(one.duration, 3),
                        "status": one.status,
                        "error": one.error,
                        "next_at": rfc3339(one.next_at, clock),
                    }
                    for one in some
                ],
            }
            for delivery_id, group in groupby(by_delivery, key=lambda one: one.delivery_id)
            if (some := list(group))
        ]
        return _json({"deliveries": shown})


class _WithOutput(Response):
    """A job document that ends with the output, which is sent piece by piece and never copied."""

    media_type = "application/json"

    def __init__(self, document: bytes, output: Output, headers: dict[str, str] | None) -> None:
        super().__init__(document.removesuffix(b"}") + b',"output":', headers=headers)
        self._output = output  # held until it is sent
        self.headers["Content-Length"] = str(len(self.body) + len(output.data) + 1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response."""
        del scope, receive
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        await send(start)
        for piece in self._pieces():
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _pieces(self) -> Iterator[bytes]:
        head, output = bytes(self.body), self._output.data
        if len(output) <= PIECE:
            yield b"%b%b}" % (head, output)
            return
        yield head
        for first in range(0, len(output), PIECE):
            yield output[first : first + PIECE]
        yield b"}"


async def _shown(
    service: JobService, request: Request, job: StoredJob, headers: dict[str, str] | None = None
) -> Response:
    shown = await service.document(job, _root(request))
    output = None if job.is_linked else await service.outputs.of(job)
    if output is None:
        return _json(shown, headers=headers)
    return _WithOutput(encode(shown), output, headers)


def _root(request: Request) -> str:
    """Return the path at which a parent has mounted the app."""
    return str(request.scope.get("root_path", ""))


def _json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(encode(value), status, headers, media_type="application/json")
