"""The client for asyncio. What is not said here is as in ``Client``."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, Unpack, overload
from urllib.request import getproxies

import httpx

from potassium.client import calls, jobs
from potassium.client.job_record import JobEvent, JobRecord, Status
from potassium.client.options import (
    LIMITS,
    CallOptions,
    ClientOptions,
    ClientSettings,
    Options,
    StreamOptions,
    SubmitOptions,
    given_as,
)
from potassium.client.pools import Pools
from potassium.client.runs import AsyncRun, AsyncRunner

if TYPE_CHECKING:
    from typing_extensions import TypeForm

__all__ = ["AsyncClient", "AsyncJob", "AsyncStream"]

T = TypeVar("T")


class AsyncClient:
    """Calls a Potassium server from asyncio; the methods are those of ``Client``.

    ::

        async with AsyncClient("http://localhost:8000") as client:
            result = await client.call("/embed", {"texts": ["hello"]}, into=Result)

    Up to 2000 calls run at a time; others wait for them. A call that is cancelled closes its
    connection at once, so that the server stops as well. A client belongs to the event loop in
    which it is first used.

    Args:
        base_url: of the server; with a path, if the app is mounted below one.
        transport: in place of httpx's own; ``httpx.ASGITransport(app)`` calls an app in the same
            process.
        options: those of ``ClientOptions``.

    Raises:
        ValueError: as for ``Client``.

    """

    def __init__(
        self,
        base_url: str,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        **options: Unpack[ClientOptions],
    ) -> None:
        given = given_as(ClientSettings, options)
        # With a proxy for all, which the environment may name, there is one pool: the proxy's.
        mounts = (
            {"all://": Pools(LIMITS)} if transport is None and "all" not in getproxies() else {}
        )
        arguments = given.arguments(base_url)
        http = httpx.AsyncClient(transport=transport, mounts=mounts, **arguments)
        self._run = AsyncRunner(http, given.settings(http.build_request))

    def __repr__(self) -> str:
        """Show which server it calls."""
        url = self._run.http.base_url.copy_with(userinfo=b"")  # which may be a password
        return f"<{type(self).__name__} {url}>"

    async def __aenter__(self) -> Self:
        """Return the client."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the client."""
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections; streams that are still open break off."""
        await self._run.http.aclose()

    @overload
    async def call(
        self, path: str, item: Any = None, *, into: None = None, **options: Unpack[CallOptions]
    ) -> Any: ...
    @overload
    async def call(
        self, path: str, item: Any = None, *, into: "TypeForm[T]", **options: Unpack[CallOptions]
    ) -> T: ...
    async def call(
        self, path: str, item: Any = None, *, into: Any = None, **options: Unpack[CallOptions]
    ) -> Any:
        """Call a handler and return its result, as ``Client.call``."""
        flow = calls.call(self._run.settings, path, item, into, given_as(Options, options))
        return await self._run(flow).result()

    @overload
    def stream(
        self, path: str, item: Any = None, *, into: None = None, **options: Unpack[StreamOptions]
    ) -> "AsyncStream[Any]": ...
    @overload
    def stream(
        self, path: str, item: Any = None, *, into: "TypeForm[T]", **options: Unpack[StreamOptions]
    ) -> "AsyncStream[T]": ...
    def stream(
        self, path: str, item: Any = None, *, into: Any = None, **options: Unpack[StreamOptions]
    ) -> "AsyncStream[Any]":
        """Call a handler that streams and return an iterator over its chunks, as ``Client.stream``.

        Use it as an async context manager if you may leave the loop early: an iterator that is
        only dropped is closed by the event loop, a little later.
        """
        flow = calls.stream(self._run.settings, path, item, into, given_as(Options, options))
        return AsyncStream(self._run(flow))

    async def submit(
        self, path: str, item: Any = None, **options: Unpack[SubmitOptions]
    ) -> "AsyncJob":
        """Submit a call as a background job, as ``Client.submit``."""
        flow = calls.submission(self._run.settings, path, item, given_as(Options, options))
        return AsyncJob(self._run, jobs.started(await self._run(flow).result(), path))

    async def job(self, job_id: str) -> "AsyncJob":
        """Return the background job with this id, as ``Client.job``."""
        return AsyncJob(self._run, await self._run(jobs.found(self._run.settings, job_id)).result())

    async def jobs(self, *, status: Status | None = None) -> AsyncIterator["AsyncJob"]:
        """Yield the background jobs, newest first, as ``Client.jobs``."""
        async with aclosing(self._run(jobs.pages(self._run.settings, status)).items()) as records:
            async for record in records:
                yield AsyncJob(self._run, record)

    async def purge(self, status: Status, *, older_than: int = 0) -> int:
        """Delete the jobs that ended as ``status``, as ``Client.purge``."""
        return int(await self._run(jobs.purged(self._run.settings, status, older_than)).result())


class AsyncStream(Generic[T]):
    """An async iterator over the chunks of a stream; a context manager that ends it."""

    def __init__(self, run: AsyncRun) -> None:
        self._run = run
        self._items = run.items()

    def __aiter__(self) -> Self:
        """Return the iterator itself."""
        return self

    async def __anext__(self) -> T:
        """Return the next chunk. If this is cancelled, the stream ends.

        Raises:
            CallFailed: the stream, or the call before it, has failed.

        """
        item: T = await anext(self._items)
        return item

    @property
    def response(self) -> httpx.Response | None:
        """The response, with its headers, once the first chunk has been asked for."""
        return self._run.response

    async def __aenter__(self) -> Self:
        """Return the iterator."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """End the stream."""
        await self.aclose()

    async def aclose(self) -> None:
        """End the stream. A handler that is still running is stopped."""
        await self._items.aclose()


class AsyncJob(JobRecord):
    """A background job. Its attributes are what the server said last; ``refresh`` asks again."""

    def __init__(self, run: AsyncRunner, record: JobRecord) -> None:
        super().__init__(record.path, record.document)
        self._run = run

    @overload
    async def wait(self, timeout: float | None = None, *, into: None = None) -> Any: ...  # noqa: ASYNC109
    @overload
    async def wait(self, timeout: float | None = None, *, into: "TypeForm[T]") -> T: ...  # noqa: ASYNC109
    async def wait(self, timeout: float | None = None, *, into: Any = None) -> Any:  # noqa: ASYNC109
        """Wait until the job has ended, and return its output, as ``Job.wait``.

        A wait that is cancelled does not cancel the job.
        """
        flow = jobs.wait(self._run.settings, self, timeout, into)
        return await self._run(flow).result()

    def events(self, *, after: int = 0) -> AsyncStream[JobEvent]:
        """Return an iterator over what happens to the job, as ``Job.events``."""
        return AsyncStream(self._run(jobs.events(self._run.settings, self, after)))

    async def refresh(self) -> Self:
        """Ask the server for the job's current state."""
        return await self._ask("GET", self.path)

    async def cancel(self) -> Self:
        """Cancel the job, as ``Job.cancel``."""
        return await self._ask("DELETE", self.path)

    async def retry(self) -> Self:
        """Queue a failed job again, as ``Job.retry``."""
        return await self._ask("POST", f"{self.path}/retry")

    async def _ask(self, method: str, path: str) -> Self:
        flow = jobs.ask(self._run.settings, method, path)
        self.document = await self._run(flow).result()
        return self
