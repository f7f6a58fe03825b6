"""The client for code that blocks."""

from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, Unpack, overload

import httpx

from potassium.client import calls, jobs
from potassium.client.job_record import JobEvent, JobRecord, Status
from potassium.client.options import (
    CallOptions,
    ClientOptions,
    ClientSettings,
    Options,
    StreamOptions,
    SubmitOptions,
    given_as,
)
from potassium.client.runs import Run, Runner

if TYPE_CHECKING:
    from typing_extensions import TypeForm

__all__ = ["Client", "Job", "Stream"]

T = TypeVar("T")


class Client:
    """Calls a Potassium server.

    ::

        with Client("http://localhost:8000") as client:
            result = client.call("/embed", {"texts": ["hello"]}, into=Result)

    A client keeps connections open for further calls, and may be used by many threads. Close it, or
    use it as a context manager.

    Args:
        base_url: of the server; with a path, if the app is mounted below one.
        transport: in place of httpx's own, for proxies and private certificates for example:
            ``httpx.HTTPTransport(proxy=..., verify=...)``.
        options: those of ``ClientOptions``.

    Raises:
        ValueError: ``base_url`` is not that of a server, or an option is invalid.

    """

    def __init__(
        self,
        base_url: str,
        *,
        transport: httpx.BaseTransport | None = None,
        **options: Unpack[ClientOptions],
    ) -> None:
        given = given_as(ClientSettings, options)
        http = httpx.Client(transport=transport, **given.arguments(base_url))
        self._run = Runner(http, given.settings(http.build_request))

    def __repr__(self) -> str:
        """Show which server it calls."""
        url = self._run.http.base_url.copy_with(userinfo=b"")  # which may be a password
        return f"<{type(self).__name__} {url}>"

    def __enter__(self) -> Self:
        """Return the client."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the client."""
        self.close()

    def close(self) -> None:
        """Close all connections; streams that are still open break off."""
        self._run.http.close()

    @overload
    def call(
        self, path: str, item: Any = None, *, into: None = None, **options: Unpack[CallOptions]
    ) -> Any: ...
    @overload
    def call(
        self, path: str, item: Any = None, *, into: "TypeForm[T]", **options: Unpack[CallOptions]
    ) -> T: ...
    def call(
        self, path: str, item: Any = None, *, into: Any = None, **options: Unpack[CallOptions]
    ) -> Any:
        """Call a handler and return its result.

        Args:
            path: of the handler.
            item: what it is called with: a dict, a list, a pydantic model, a dataclass, a numpy
                array, or anything else that the server can return as JSON; bytes are sent as they
                are; None is an empty object.
            into: the type of the result: a pydantic model, dataclass, TypedDict, ``list[...]`` or
                whatever else pydantic knows. ``bytes`` is the body as it is, and
                ``httpx.Response`` the whole response. By default, what the JSON says.
            options: those of ``CallOptions``.

        Raises:
            CallFailed: the call got no result; see its subclasses.
            TypeError: ``item`` or a file cannot be sent.
            ValueError: ``path`` is a URL. The API key is for this server alone.

        """
        return self._run(
            calls.call(self._run.settings, path, item, into, given_as(Options, options))
        ).result()

    @overload
    def stream(
        self, path: str, item: Any = None, *, into: None = None, **options: Unpack[StreamOptions]
    ) -> "Stream[Any]": ...
    @overload
    def stream(
        self, path: str, item: Any = None, *, into: "TypeForm[T]", **options: Unpack[StreamOptions]
    ) -> "Stream[T]": ...
    def stream(
        self, path: str, item: Any = None, *, into: Any = None, **options: Unpack[StreamOptions]
    ) -> "Stream[Any]":
        """Call a handler that streams and return an iterator over its chunks.

        The call begins with the first chunk that is asked for. The iterator raises ``CallFailed``,
        also in the middle of the stream. To end the call early, leave the loop, or close the
        iterator: then the handler is stopped, too.

        Args:
            path: of the handler.
            item: as for ``call``.
            into: the type of a chunk. By default each is a ``str``: events do not tell text from
                other values. ``bytes`` is the body as it arrives. With ``lines=True``, the default
                is what the JSON says.
            options: those of ``StreamOptions``.

        Raises:
            TypeError: ``item`` cannot be sent.

        """
        flow = calls.stream(self._run.settings, path, item, into, given_as(Options, options))
        return Stream(self._run(flow))

    def submit(self, path: str, item: Any = None, **options: Unpack[SubmitOptions]) -> "Job":
        """Submit a call as a background job, which the server keeps until it has ended.

        Args:
            path: of the handler.
            item: as for ``call``.
            options: those of ``SubmitOptions``.

        Raises:
            CallFailed: the job has not been accepted.
            TypeError: ``item`` cannot be sent.

        """
        flow = calls.submission(self._run.settings, path, item, given_as(Options, options))
        return Job(self._run, jobs.started(self._run(flow).result(), path))

    def job(self, job_id: str) -> "Job":
        """Return the background job with this id.

        Raises:
            NotFound: there is none, or no longer.

        """
        return Job(self._run, self._run(jobs.found(self._run.settings, job_id)).result())

    def jobs(self, *, status: Status | None = None) -> Iterator["Job"]:
        """Yield the background jobs, newest first and without their outputs."""
        for record in self._run(jobs.pages(self._run.settings, status)).items():
            yield Job(self._run, record)

    def purge(self, status: Status, *, older_than: int = 0) -> int:
        """Delete the jobs that ended as ``status``; return how many.

        Jobs with webhooks to be delivered are kept, and with ``older_than``, those that ended less
        than so many seconds ago.
        """
        return int(self._run(jobs.purged(self._run.settings, status, older_than)).result())


class Stream(Generic[T]):
    """An iterator over the chunks of a stream; a context manager that ends it.

    Attributes:
        response: the ``httpx.Response``, once the first chunk has been asked for.

    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._items = run.items()

    def __iter__(self) -> Self:
        """Return the iterator itself."""
        return self

    def __next__(self) -> T:
        """Return the next chunk.

        Raises:
            CallFailed: the stream, or the call before it, has failed.

        """
        item: T = next(self._items)
        return item

    @property
    def response(self) -> httpx.Response | None:
        """The response, with its headers."""
        return self._run.response

    def __enter__(self) -> Self:
        """Return the iterator."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the stream."""
        self.close()

    def close(self) -> None:
        """End the stream. A handler that is still running is stopped."""
        self._items.close()


class Job(JobRecord):
    """A background job. Its attributes are what the server said last; ``refresh`` asks again."""

    def __init__(self, run: Runner, record: JobRecord) -> None:
        super().__init__(record.path, record.document)
        self._run = run

    @overload
    def wait(self, timeout: float | None = None, *, into: None = None) -> Any: ...
    @overload
    def wait(self, timeout: float | None = None, *, into: "TypeForm[T]") -> T: ...
    def wait(self, timeout: float | None = None, *, into: Any = None) -> Any:
        """Wait until the job has ended, and return its output.

        The server may be down or restart meanwhile, for as long as ``timeout`` allows, or for five
        minutes without one.

        Args:
            timeout: seconds to wait.
            into: the type of the output, as for ``Client.call``.

        Raises:
            JobFailed: the job has failed, was cancelled, or has expired.
            DeadlineExceeded: it has not ended in time. It goes on.
            CallFailed: the server does not know the job, or cannot be reached.

        """
        return self._run(jobs.wait(self._run.settings, self, timeout, into)).result()

    def events(self, *, after: int = 0) -> Stream[JobEvent]:
        """Return an iterator over what happens to the job, from its beginning to its end.

        If the connection breaks, or the server restarts, it goes on where it was.

        Args:
            after: the number of an event; only those that follow it are of interest.

        """
        return Stream(self._run(jobs.events(self._run.settings, self, after)))

    def refresh(self) -> Self:
        """Ask the server for the job's current state."""
        return self._ask("GET", self.path)

    def cancel(self) -> Self:
        """Cancel the job: now if it is queued, or as soon as its handler notices if it runs.

        Raises:
            CallFailed: with the code ``job_has_ended``, if it has.

        """
        return self._ask("DELETE", self.path)

    def retry(self) -> Self:
        """Queue a failed job again.

        Raises:
            CallFailed: with the code ``job_has_ended``, if it has not failed.

        """
        return self._ask("POST", f"{self.path}/retry")

    def _ask(self, method: str, path: str) -> Self:
        self.document = self._run(jobs.ask(self._run.settings, method, path)).result()
        return self
