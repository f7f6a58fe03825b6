"""Accepts calls as background jobs: 202, or its result if the client waits long enough."""

from collections.abc import Awaitable, Callable
from functools import partial

import orjson
from starlette.types import Receive, Scope

from potassium.engine import Priority
from potassium.errors import JobNotFound, StoreFailed, TooManyWatchers, WebhookUrlRefused
from potassium.handlers.handler import Handler
from potassium.http.codec import encode
from potassium.http.connection import while_connected
from potassium.http.exchange import note_error
from potassium.http.message import Message
from potassium.http.owner import owner_of
from potassium.http.preferences import wait_of, wants_job
from potassium.http.problem import PROBLEM
from potassium.http.reply import JSON, Reply
from potassium.jobs.document import content_type_of, document
from potassium.jobs.model import StoredJob
from potassium.jobs.outputs import Output
from potassium.jobs.service import LONGEST_WAIT, JobService

__all__ = ["Submissions"]

ACCEPTED = 202


class Submissions:
    """Answers calls to run in the background.

    ``Prefer: respond-async`` and ``wait`` are defined in RFC 7240, ``Idempotency-Key`` in the IETF
    draft of that name.

    Args:
        check_url: returns a client's webhook URL as it will be posted to, or raises if it refuses
            the URL. None if clients may not name webhook URLs.

    """

    def __init__(
        self, service: JobService, check_url: Callable[[str], Awaitable[str]] | None
    ) -> None:
        self._service = service
        self._check_url = check_url

    async def submit(
        self, handler: Handler, message: Message, scope: Scope, priority: Priority
    ) -> tuple[StoredJob, int | None]:
        """Store a call as a job; return the job without its input, and its position.

        Once the job is stored, it runs even if this is cancelled.

        Raises:
            WebhookUrlRefused: the client's webhook URL is not permitted.
            PotassiumError: whatever ``Intake.submit`` raises.

        """
        job, position = await self._service.intake.submit(
            handler,
            message,
            priority=priority,
            idempotency_key=_header(scope, b"idempotency-key"),
            webhook_url=self._webhook_url(scope),
            owner=owner_of(scope) or "",
        )
        return job.light, position

    async def answer(
        self, job: StoredJob, position: int | None, scope: Scope, receive: Receive
    ) -> Reply:
        """Return the answer to a call that is stored, once the client has waited for its result.

        Raises:
            ClientLeft: the client has disconnected while it waited for the result.

        """
        output: Output | None = None
        wait = wait_of(scope)
        if wait is not None:
            wait = min(wait, LONGEST_WAIT)
            try:
                latest = await while_connected(receive, self._service.wait(job.id, wait))
                output = await self._service.outputs.of(latest)
                job = latest  # not before: a result that cannot be read now is fetched later
                position = await self._service.position(job)
            except TooManyWatchers:
                wait = None  # a preference, not a condition
            except (StoreFailed, JobNotFound):
                pass  # the job is stored, and that is what matters
        root_path = scope.get("root_path", "")
        location = f"{root_path}/jobs/{job.id}"
        headers = [(b"location", location.encode())]
        if wants_job(scope) or wait is not None:
            applied = [b"respond-async"] if wants_job(scope) else []
            applied += [] if wait is None else [b"wait=%g" % wait]
            headers.append((b"preference-applied", b", ".join(applied)))
        if wait is not None and job.status.is_final and (output or job.error):
            return _ended(job, output, headers, scope)
        clock = self._service.store.clock
        shown = document(job, clock, position=position, root_path=root_path)
        return Reply(ACCEPTED, encode(shown), JSON, *headers)

    def _webhook_url(self, scope: Scope) -> Callable[[], Awaitable[str]] | None:
        """Return what checks the client's webhook URL, or None if the client names none."""
        url = _header(scope, b"webhook-url")
        if url is None:
            return None
        if self._check_url is None:
            raise WebhookUrlRefused("This server does not accept webhook URLs from clients.")
        return partial(self._check_url, url)


def _ended(
    job: StoredJob, output: Output | None, headers: list[tuple[bytes, bytes]], scope: Scope
) -> Reply:
    """Return the reply that a direct call of the handler would have received."""
    if output is not None:
        return Reply(200, output.data, content_type_of(job), *headers)
    error = job.error or b"{}"
    problem = orjson.loads(error)
    note_error(scope, problem.get("code", ""))
    return Reply(problem.get("status", 500), error, PROBLEM, *headers)


def _header(scope: Scope, wanted: bytes) -> str | None:
    for name, value in scope["headers"]:
        if name == wanted:
            return bytes(value).decode("latin-1").strip()
    return None
