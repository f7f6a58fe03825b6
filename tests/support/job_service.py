"""Background jobs without an engine: a service whose store and ``Work`` a test controls."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from potassium import Jobs
from potassium.engine import Priority
from potassium.handlers.cache import Cache
from potassium.handlers.handler import Handler
from potassium.handlers.options import HandlerOptions
from potassium.http.message import Message
from potassium.jobs.attempt import Attempt
from potassium.jobs.model import StoredJob
from potassium.jobs.outcome import NotDone
from potassium.jobs.service import JobService
from potassium.webhooks.service import WebhookService
from support.job_doubles import FakeWebhooks
from support.job_runs import FakeWork, FlakyStore

__all__ = ["ServiceBench", "new_handler", "new_request"]


def new_handler(path: str = "/train", *, webhook_url: str | None = None, **options: Any) -> Handler:
    """Return a handler whose function is never called."""
    return Handler.of(
        lambda cache, json_in: json_in,
        path,
        HandlerOptions(**options),  # type: ignore[typeddict-item]  # the test's own
        Cache(),
        webhook_url=webhook_url,
    )


def new_request(body: bytes = b"{}", /, **headers: str) -> Message:
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Message("r-1", pairs, body)


class ServiceBench:
    """A service with one handler, ``/train``; the test chooses the outcomes of its jobs."""

    def __init__(
        self,
        handlers: Mapping[str, Handler] | None = None,
        *,
        run: bool = True,
        webhooks: WebhookService | None = None,
        **options: Any,
    ) -> None:
        self.store = FlakyStore()
        self.work = FakeWork()
        self.webhooks = FakeWebhooks()
        self.handlers = {"/train": new_handler()} if handlers is None else dict(handlers)
        self.service = JobService(
            self.store,
            Jobs(path=None, **options),
            self.handlers,
            self.work,
            webhooks or self.webhooks,
        )
        self._runs_jobs = run

    async def submit(self, body: bytes = b"{}", **given: Any) -> StoredJob:
        return (await self.submitted(body, **given))[0]

    async def submitted(
        self, body: bytes = b"{}", *, webhook_url: str | None = None, **given: Any
    ) -> tuple[StoredJob, int | None]:
        async def check() -> str:
            assert webhook_url is not None
            return webhook_url

        options: dict[str, Any] = {
            "idempotency_key": None,
            "webhook_url": None if webhook_url is None else check,
            "priority": Priority.NORMAL,
        }
        request = given.pop("request", None) or new_request(body)
        return await self.service.intake.submit(
            self.handlers["/train"], request, **{**options, **given}
        )

    async def begun(self) -> Attempt:
        """Wait until the next job runs."""
        run = await self.work.next()
        run.began()
        return run

    @asynccontextmanager
    async def running(self) -> AsyncIterator[JobService]:
        """Start the service unless ``run`` is False, and close it at the end."""
        if self._runs_jobs:
            await self.service.start()
        try:
            yield self.service
        finally:
            self.service.drain()
            self.work.end_all(NotDone())
            await self.service.close()
