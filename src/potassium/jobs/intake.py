"""Stores calls as new jobs."""

import asyncio
import hashlib
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import replace

from potassium.engine import Priority
from potassium.errors import InvalidInput, StoreFailed
from potassium.handlers.handler import Handler
from potassium.http.content_hash import content_hash
from potassium.http.message import MULTIPART, Message
from potassium.http.multipart import boundary_of, can_parse
from potassium.http.request_line import request_line_of
from potassium.http.trace_headers import NO_TRACE, TraceHeaders
from potassium.jobs.inputs import is_large
from potassium.jobs.model import NewJob, Status, StoredJob
from potassium.jobs.store import JobStore
from potassium.jobs.terms import Terms

__all__ = ["Intake"]

# Credentials are not stored. A handler sees all other headers when its job runs.
CREDENTIALS = frozenset(
    {"authorization", "cookie", "proxy-authorization", "x-api-key", "x-banana-api-key"}
)
LONGEST_KEY = 255  # characters


class Intake:
    """Accepts jobs: once one is accepted, it is stored.

    Args:
        stored: called after a job is stored, with the path of its handler.
        trace: what continues the trace of whoever submits a job, in place of the client's headers.

    """

    def __init__(
        self,
        store: JobStore,
        terms: Terms,
        stored: Callable[[str], object],
        trace: TraceHeaders = NO_TRACE,
    ) -> None:
        self._trace = trace
        self._store = store
        self._terms = terms
        self._stored = stored

    async def submit(  # noqa: PLR0913 - what a client asks for
        self,
        handler: Handler,
        message: Message,
        *,
        priority: Priority,
        idempotency_key: str | None,
        webhook_url: Callable[[], Awaitable[str]] | None,
        owner: str = "",
    ) -> tuple[StoredJob, int | None]:
        """Store a call to run in the background; return the job and its position in the queue.

        The job is stored when this returns. The position is None if the job is not queued, or if
        the position cannot be read.

        Args:
            handler: runs the job.
            message: the call.
            priority: of the job.
            idempotency_key: given by the client.
            webhook_url: returns the client's webhook URL, or raises if it refuses the URL; None if
                there is none. A job that has the idempotency key already has its URL, too.
            owner: whom the job belongs to, and its idempotency key with it.

        Raises:
            InvalidInput: the idempotency key is empty or too long.
            IdempotencyKeyReused: the key belongs to a job with different content.
            StoreFailed: the job is not stored; ``StoreFull`` if as many are as ``Jobs`` allows.

        """
        if idempotency_key is not None and not 0 < len(idempotency_key) <= LONGEST_KEY:
            raise InvalidInput(f"Idempotency-Key must have 1 to {LONGEST_KEY} characters.")
        content = await _fingerprint(message)
        new = self._new(handler, message, priority, idempotency_key, owner, content)
        if webhook_url is not None:
            known = None if idempotency_key is None else await self._store.known(new)
            if known is not None:
                self._trace.submitted(known.id)
                return known, await self._position(known)
            new = replace(new, webhook_url=await webhook_url())
        job, queued = await self._add(new)
        self._stored(handler.path)
        self._trace.submitted(job.id)
        if job.id == new.id and priority <= Priority.NORMAL:
            return job, max(queued, 1)  # it is the last one, except for some of low priority
        return job, await self._position(job)

    def _new(  # noqa: PLR0913, PLR0917 - what a job is made of
        self,
        handler: Handler,
        message: Message,
        priority: Priority,
        idempotency_key: str | None,
        owner: str,
        content: bytes,
    ) -> NewJob:
        now = self._store.clock()
        return NewJob(
            id=secrets.token_hex(16),
            handler=handler.path,
            body=message.content,
            headers=self._headers(message),
            request_line=request_line_of(message.scope),
            request_id=message.id,
            priority=priority.value,
            attempts_limit=self._terms.attempts(handler.path),
            created_at=now,
            expires_at=self._terms.expires_at(now),
            idempotency_key=idempotency_key,
            fingerprint=content,
            owner=owner,
        )

    def _headers(self, message: Message) -> list[tuple[str, str]]:
        trace = self._trace.current()
        dropped = {*CREDENTIALS, *(self._trace.names() if trace else ())}
        return [*(one for one in message.headers.items() if one[0] not in dropped), *trace]

    async def _add(self, new: NewJob) -> tuple[StoredJob, int]:
        """Store a job; return it, and how many of its handler are queued.

        Both are done in one transaction, but not with gather(): an error would keep the body in
        memory until the garbage collector finds the cycle.
        """
        counting = asyncio.ensure_future(self._store.count(Status.QUEUED, new.handler))
        try:
            return await self._store.submit(new), await counting
        except BaseException:
            counting.cancel()
            await asyncio.gather(counting, return_exceptions=True)
            raise

    async def _position(self, job: StoredJob) -> int | None:
        """Return the position of a job that is stored, whether or not it can be read."""
        if job.status is not Status.QUEUED:
            return None
        try:
            return await self._store.position(job)
        except StoreFailed:
            return None


async def _fingerprint(message: Message) -> bytes:
    """Return a hash of what a client sent: of the body, and of the query if there is one.

    That of a large body, or of a form, is computed on another thread: its boundary may be a letter.
    """
    boundary = b""
    if message.media_type == MULTIPART and can_parse():
        boundary = boundary_of(message.content_type)  # another one at each attempt
    if is_large(message.content) or boundary:
        found = await asyncio.to_thread(content_hash, message.content, without=boundary)
    else:
        found = content_hash(message.content, without=boundary)
    query: bytes = message.scope.get("query_string", b"")
    return hashlib.sha256(found + query).digest() if query else found
