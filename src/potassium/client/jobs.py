"""What can be done with background jobs, as flows of steps."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import partial
from typing import Any
from urllib.parse import quote

import httpx
import orjson

from potassium.client.attempts import Attempts
from potassium.client.calls import reading
from potassium.client.errors import ConnectionFailed, JobFailed
from potassium.client.formats import EventParser
from potassium.client.job_record import FINAL, JobEvent, JobRecord, Status
from potassium.client.options import Settings
from potassium.client.problems import deadline_exceeded, problem_of, unexpected
from potassium.client.results import answer_as, check_type, value_as
from potassium.client.steps import Emit, Flow, Sleep
from potassium.http.codec import encode

__all__ = ["ask", "events", "found", "pages", "purged", "started", "wait"]

LONGEST_WAIT = 30.0  # seconds for which one request waits for the end of a job
GRACE = 1.0  # seconds for the answer to the last of these requests
SILENCE = httpx.Timeout(60.0, connect=5.0, pool=None)  # a server that lives sends something
PATIENCE = 300.0  # seconds without an answer after which a server is taken to be gone for good
PAUSE = 1.0  # seconds between two requests, at least, if the server does not let them wait
ACCEPTED, NO_CONTENT = 202, 204
MEMBERS = ("id", "handler", "status")


def started(response: httpx.Response, path: str) -> JobRecord:
    """Return the job that a response to a submission acknowledges.

    Raises:
        UnexpectedAnswer: the server answered the call instead.

    """
    if response.status_code != ACCEPTED:
        raise unexpected(
            "The server answered the call itself instead of keeping it as a background job: its "
            "app has no jobs. Use call(), or give the app jobs=Jobs(...).",
            response,
        )
    document = _document(response)
    # A mounted app has its jobs beside its handlers, below the same prefix.
    path = path.partition("?")[0].rstrip("/")
    prefix = path.removesuffix(str(document["handler"]).rstrip("/"))
    mounted = prefix if prefix != path or document["handler"] == "/" else ""
    return JobRecord(f"{mounted}/jobs/{document['id']}", document)


def found(settings: Settings, job_id: str) -> Flow[JobRecord]:
    """Return the job with this id."""
    path = f"/jobs/{quote(job_id, safe='')}"
    return JobRecord(path, (yield from ask(settings, "GET", path)))


def ask(settings: Settings, method: str, path: str, *members: str) -> Flow[dict[str, Any]]:
    """Send a request about jobs; return the document that answers it, which has ``members``.

    By default, they are those of a job's document.
    """
    attempts = Attempts(
        settings=settings,
        deadline=settings.ends_at(None),
        idempotent=method == "GET",
        retries=settings.retries,
    )
    response = yield from attempts.answer(partial(settings.build, method, path))
    return _document(response, *members)


def pages(settings: Settings, status: Status | None) -> Flow[None]:
    """Emit all jobs, newest first, one page after the other."""
    filters = {} if status is None else {"status": status}
    after: dict[str, str] = {}
    while True:
        query = httpx.QueryParams({**filters, **after})
        page = yield from ask(settings, "GET", f"/jobs?{query}", "jobs", "next")
        for document in page["jobs"]:
            yield Emit(JobRecord(f"/jobs/{document['id']}", document))
        if page["next"] is None:
            return
        after = {"after": page["next"]}


def purged(settings: Settings, status: Status, older_than: int) -> Flow[int]:
    """Delete the jobs that ended as ``status``, some at a time; return how many there were."""
    query = httpx.QueryParams({"status": status, "older_than": older_than})
    deleted = 0
    while True:
        attempts = Attempts(
            settings=settings,
            deadline=settings.ends_at(None),
            idempotent=True,
            retries=settings.retries,
        )
        response = yield from attempts.answer(partial(settings.build, "DELETE", f"/jobs?{query}"))
        some = _document(response, "deleted")["deleted"]
        if not some:
            return deleted
        deleted += some


def wait(settings: Settings, job: JobRecord, timeout: float | None, into: Any) -> Flow[Any]:
    """Wait until a job has ended; return its output as ``into``, and bring the record up to date.

    Raises:
        JobFailed: the job ended without an output.
        DeadlineExceeded: it has not ended within ``timeout`` seconds; it goes on.

    """
    check_type(into)
    clock = settings.clock
    end = None if timeout is None else clock() + timeout
    while True:
        left = LONGEST_WAIT if end is None else min(LONGEST_WAIT, max(0.0, end - clock()))
        headers = {"Prefer": f"wait={left:.3f}"}
        build = partial(settings.build, "GET", job.path, headers=headers, timeout=SILENCE)
        latest = clock() + PATIENCE if end is None else end + GRACE
        response = yield from _patiently(settings, latest).answer(build)
        job.document = _document(response)
        if job.has_ended:
            return (yield from _outcome(settings, job, into, response))
        if end is not None and clock() >= end:
            raise deadline_exceeded(f"The job is still {job.status}.")
        if "preference-applied" not in response.headers:  # too many wait already
            yield Sleep(PAUSE * (1 + settings.jitter()))


def _outcome(settings: Settings, job: JobRecord, into: Any, response: httpx.Response) -> Flow[Any]:
    if job.status == "succeeded":
        if "output_url" in job.document:  # it is large, or not JSON
            attempts = _patiently(settings, settings.clock() + PATIENCE)
            build = partial(settings.build, "GET", f"{job.path}/output")
            return answer_as(into, (yield from attempts.answer(build)))
        if into is httpx.Response:
            return response
        output = job.document.get("output")
        return output if into is None else value_as(into, encode(output), response)
    error = job.document.get("error") or {
        "code": f"job_{job.status}",
        "status": None,
        "detail": f"The job is {job.status}.",
    }
    raise JobFailed(problem_of(error, response), job.document)


def events(settings: Settings, job: JobRecord, after: int) -> Flow[None]:
    """Emit the events of a job that follow number ``after``, until the job has ended.

    A stream that breaks off, because the server restarts for example, is taken up where it ended.

    Raises:
        ConnectionFailed: the server cannot be reached for ``PATIENCE`` seconds.
        CallFailed: the server does not know the job, or refuses to show it.

    """
    parser = _JobEvents(after)
    while not parser.is_over:
        headers = {"Accept": "text/event-stream", "Last-Event-ID": str(parser.last)}
        path = f"{job.path}/events"
        build = partial(settings.build, "GET", path, headers=headers, timeout=SILENCE)
        attempts = _patiently(settings, settings.clock() + PATIENCE)
        response = yield from attempts.answer(build, load=False)
        if response.status_code == NO_CONTENT:
            return
        if not response.headers.get("content-type", "").startswith("text/event-stream"):
            raise unexpected("The answer is not a stream of events.", response)
        parser = _JobEvents(parser.last)
        with suppress(ConnectionFailed):
            yield from reading(settings, None, parser)
        if not parser.is_over:
            yield Sleep(PAUSE * settings.jitter())


class _JobEvents:
    """The events of a job, and how far they have come."""

    def __init__(self, last: int) -> None:
        self.last = last
        self.is_over = False
        self._events = EventParser()

    def feed(self, received: bytes) -> Iterator[JobEvent]:
        """Yield the events that ``received`` completes."""
        for event in self._events.feed(received):
            data = orjson.loads(event.data)
            self.last = int(event.id)
            self.is_over = event.kind == "status" and _is_final(data)
            yield JobEvent(id=self.last, kind=event.kind, data=data)


def _document(response: httpx.Response, *members: str) -> dict[str, Any]:
    """Return the document that a response is.

    Raises:
        UnexpectedAnswer: it is none, or lacks ``members``: another server has answered.

    """
    document = answer_as(None, response)
    if not isinstance(document, dict) or not set(members or MEMBERS) <= document.keys():
        raise unexpected("The answer does not describe a background job.", response)
    return document


def _is_final(data: Mapping[str, Any]) -> bool:
    return data.get("status") in FINAL


def _patiently(settings: Settings, deadline: float) -> Attempts:
    """Return attempts that go on for as long as there is time: servers restart."""
    return Attempts(settings=settings, deadline=deadline, idempotent=True, retries=None)
