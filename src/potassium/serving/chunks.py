"""The chunks of a call that Python code makes, as they come."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any, Self

from potassium.engine import Engine, Job, Stream
from potassium.errors import UsageError
from potassium.handlers.in_process import Value

__all__ = ["Chunks"]

Outcome = tuple[Engine, Stream[Job] | Value]


class Chunks(AsyncIterator[Any]):
    """The chunks of one call: ``async for chunk in app.stream("/chat", item)``.

    The call is made when the first chunk is asked for or, so that its refusal is raised earlier,
    when this is awaited or entered as a context manager. It is called off when this is closed,
    when the context exits, when an iteration is cancelled, and when nothing refers to this any
    more, as after a ``break``. A handler that returns has one chunk, its result.

    Args:
        call: makes the call, and waits for its first chunk.
        failure: returns what to raise for an error in the middle of the stream.

    """

    def __init__(
        self,
        call: Callable[[], Awaitable[Outcome]],
        failure: Callable[[Exception], Exception],
    ) -> None:
        self._call: Callable[[], Awaitable[Outcome]] | None = call
        self._failure = failure
        self._ready: deque[Any] = deque()
        self._stream: Stream[Job] | None = None
        self._engine: Engine | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_closed = False
        self._is_asked = False  # somebody waits for the next chunk

    @property
    def is_stream(self) -> bool:
        """Whether the call, which must have been made, streams."""
        return self._stream is not None

    async def __anext__(self) -> Any:
        """Return the next chunk.

        Raises:
            StopAsyncIteration: there are no more, or this is closed.
            PotassiumError: the call was refused or called off, or has failed.
            UsageError: another task waits for a chunk of this.

        """
        if not self._ready:
            with self._asking():
                await self._wait()
        return self._ready.popleft()

    def __await__(self) -> Generator[Any, None, Self]:
        """Make the call, and wait until it has its first chunk."""
        with self._asking():
            yield from self._begin().__await__()
        return self

    async def __aenter__(self) -> Self:
        """Make the call, and wait until it has its first chunk."""
        return await self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close this."""
        await self.aclose()

    async def aclose(self) -> None:
        """Call the call off, unless it is over; there are no more chunks."""
        self._call = None
        self._is_closed = True
        self._ready.clear()
        if self._stream is not None and self._engine is not None:
            stream, self._stream = self._stream, None
            self._engine.release(stream)

    def __del__(self) -> None:
        """Call the call off, if this was dropped; maybe on another thread."""
        if self._stream is not None and self._engine is not None and self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._engine.release, self._stream)

    @contextmanager
    def _asking(self) -> Iterator[None]:
        if self._is_asked:
            raise UsageError("Another task waits for a chunk of this stream; let one task read it.")
        self._is_asked = True
        try:
            yield
        finally:
            self._is_asked = False

    async def _wait(self) -> None:
        await self._begin()
        while not self._ready:
            taken = None if self._stream is None else await self._take(self._stream)
            if taken is None:
                await self.aclose()
                raise StopAsyncIteration
            self._ready += taken

    async def _begin(self) -> None:
        call, self._call = self._call, None
        if call is None:
            return
        self._loop = asyncio.get_running_loop()
        self._engine, outcome = await call()
        if isinstance(outcome, Stream):
            self._stream = outcome
        else:
            self._ready.append(outcome.value)
        if self._is_closed:  # by another task, meanwhile
            await self.aclose()

    async def _take(self, stream: Stream[Job]) -> list[Any] | None:
        try:
            taken: list[Any] | None = await stream.take()
        except Exception as error:  # noqa: BLE001 - as for HTTP calls
            if self._is_closed:  # by another task, which has called the call off
                return None
            failed = self._failure(error)
        except BaseException:  # cancelled
            await self.aclose()
            raise
        else:
            return None if taken is None else [chunk.value for chunk in taken]
        await self.aclose()
        try:
            raise failed
        finally:
            del failed  # it refers to this frame
