"""The events of a job, sent to a client as they happen."""

from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack

import orjson
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from potassium.errors import StoreFailed
from potassium.http import sse
from potassium.jobs.model import Event, Status
from potassium.jobs.service import JobService
from potassium.jobs.store import EVENTS_BYTES
from potassium.jobs.watch import Change

__all__ = ["following"]

AT_ONCE = 32  # events; they may be large
RETRY_STORE = 1.0  # seconds until a store that has failed is asked again


class _Following(StreamingResponse):
    """Server-sent events for a watcher, which leaves when they end."""

    media_type = "text/event-stream"

    def __init__(self, events: AsyncIterator[bytes], watching: ExitStack) -> None:
        headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        super().__init__(events, headers=headers)
        self._watching = watching

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events, until they end or the client leaves."""
        with self._watching:
            await super().__call__(scope, receive, send)


def following(service: JobService, job_id: str, last: int) -> StreamingResponse:
    """Return the response that sends the events of a job after number ``last``.

    It must be sent, as it has its place among the watchers already.

    Raises:
        TooManyWatchers: as many clients follow jobs as may.

    """
    watching = ExitStack()
    change = watching.enter_context(service.watch.over(job_id))
    return _Following(_stream(service, job_id, last, change), watching)


async def _stream(
    service: JobService, job_id: str, last: int, change: Change
) -> AsyncIterator[bytes]:
    """Yield the events after number ``last``, until the job has ended and all are sent."""
    if last == 0:
        last = 1
        yield _event(Event(id=1, kind="status", data=b'{"status":"queued","attempts":0}'))
    was_at_rest = False
    while True:
        try:
            events = await _next(service, job_id, last)
            may_rest = not was_at_rest and (not events or service.is_draining)
            is_at_rest = may_rest and await service.is_at_rest(job_id)
        except StoreFailed:  # the client waits, as the job does
            if service.is_draining:
                return
            await change.wait(RETRY_STORE)
            yield sse.KEEP_ALIVE
            continue
        if events:
            last = events[-1].id
            yield b"".join(map(_event, events))
            if _may_have_more(events):
                continue
        if was_at_rest or (events and _is_end(events[-1])):
            return
        if is_at_rest:  # there may be an end without an event
            was_at_rest = True
            continue  # with what was stored since
        while not await change.wait(sse.KEEP_ALIVE_INTERVAL):
            yield sse.KEEP_ALIVE


async def _next(service: JobService, job_id: str, last: int) -> Sequence[Event]:
    """Return the first events after number ``last``; watchers that have seen the same share it."""
    return await service.watch.read(
        job_id, last, lambda: service.store.events(job_id, after=last, limit=AT_ONCE)
    )


def _may_have_more(page: Sequence[Event]) -> bool:
    return len(page) == AT_ONCE or sum(len(event.data) for event in page) >= EVENTS_BYTES


def _is_end(event: Event) -> bool:
    return event.kind == "status" and Status(orjson.loads(event.data)["status"]).is_final


def _event(event: Event) -> bytes:
    return sse.event(event.id, event.kind, event.data)
