"""The two ways to do what a flow wants done: by blocking, and by awaiting."""

import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from contextlib import AbstractContextManager, aclosing
from typing import Any

import anyio
import httpx

from potassium.client.options import Settings
from potassium.client.steps import Emit, Flow, Load, Read, Send, Sleep

__all__ = ["AsyncRun", "AsyncRunner", "Run", "Runner"]

CLOSING = 2.0  # seconds that closing a connection may take once the call is over


class Runner:
    """Runs flows by blocking."""

    def __init__(self, http: httpx.Client, settings: Settings) -> None:
        self.http = http
        self.settings = settings

    def __call__(self, flow: Flow[Any]) -> "Run":
        """Return a run of ``flow``, which has not begun."""
        return Run(self.http, self.settings.clock, flow)


class AsyncRunner:
    """Runs flows by awaiting."""

    def __init__(self, http: httpx.AsyncClient, settings: Settings) -> None:
        self.http = http
        self.settings = settings

    def __call__(self, flow: Flow[Any]) -> "AsyncRun":
        """Return a run of ``flow``, which has not begun."""
        return AsyncRun(self.http, self.settings.clock, flow)


class Run:
    """Does what a flow wants done, step by step."""

    def __init__(self, http: httpx.Client, clock: Callable[[], float], flow: Flow[Any]) -> None:
        self._http = http
        self._clock = clock
        self._flow = flow
        self._chunks: Iterator[bytes] = iter(())
        self._value: Any = None
        self.response: httpx.Response | None = None

    def result(self) -> Any:
        """Run to the end, and return what the flow returns."""
        for _ in self.items():
            raise AssertionError  # pragma: no cover - a flow that emits has no result
        return self._value

    def items(self) -> Generator[Any, None, None]:
        """Yield what the flow emits. The response is closed at the end, however it comes."""
        try:
            step = next(self._flow)
            while True:
                if isinstance(step, Emit):
                    yield step.item
                    step = next(self._flow)
                    continue
                try:
                    result = self._perform(step)
                except (httpx.RequestError, TimeoutError) as error:
                    step = self._flow.throw(error)
                else:
                    step = self._flow.send(result)
        except StopIteration as end:
            self._value = end.value
        finally:
            self._flow.close()
            self._leave()

    def _perform(self, step: Send | Load | Read | Sleep) -> Any:
        match step:
            case Send(request, deadline):
                self._leave()
                self._limit(request, deadline)
                self.response = self._http.send(request, stream=True)
                self.response.stream = _Timed(self.response.stream, deadline, self._clock)
                self._chunks = self.response.iter_bytes()
                return self.response
            case Load():
                assert self.response is not None  # noqa: S101 - it follows Send
                return self.response.read()
            case Read():
                return next(self._chunks, b"")
            case Sleep(seconds):
                return time.sleep(seconds)

    def _limit(self, request: httpx.Request, deadline: float | None) -> None:
        """Let no step of the connection take longer than there is time."""
        if deadline is None:
            return
        left = deadline - self._clock()
        if left <= 0:
            raise TimeoutError
        limits = request.extensions["timeout"]
        request.extensions["timeout"] = {
            name: left if seconds is None else min(seconds, left)
            for name, seconds in limits.items()
        }

    def _leave(self) -> None:
        if self.response is not None:
            self.response.close()


class _Timed(httpx.SyncByteStream):
    """A body that ends with a ``TimeoutError`` once ``deadline`` has passed.

    A server that sends a little from time to time would otherwise never be timed out.
    """

    def __init__(self, body: Any, deadline: float | None, clock: Callable[[], float]) -> None:
        self._body = body
        self._deadline = deadline
        self._clock = clock

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._body:
            if self._deadline is not None and self._clock() > self._deadline:
                raise TimeoutError
            yield chunk

    def close(self) -> None:
        self._body.close()


class AsyncRun:
    """Does what a flow wants done, step by step; if it is cancelled, it closes its response."""

    def __init__(
        self, http: httpx.AsyncClient, clock: Callable[[], float], flow: Flow[Any]
    ) -> None:
        self._http = http
        self._clock = clock
        self._flow = flow
        self._chunks: AsyncIterator[bytes] | None = None
        self._value: Any = None
        self.response: httpx.Response | None = None

    async def result(self) -> Any:
        """Run to the end, and return what the flow returns."""
        async with aclosing(self.items()) as items:
            async for _ in items:
                raise AssertionError  # pragma: no cover - a flow that emits has no result
        return self._value

    async def items(self) -> AsyncGenerator[Any, None]:
        """Yield what the flow emits. The response is closed at the end, however it comes."""
        try:
            step = next(self._flow)
            while True:
                if isinstance(step, Emit):
                    yield step.item
                    step = next(self._flow)
                    continue
                try:
                    result = await self._perform(step)
                except (httpx.RequestError, TimeoutError) as error:
                    step = self._flow.throw(error)
                else:
                    step = self._flow.send(result)
        except StopIteration as end:
            self._value = end.value
        finally:
            self._flow.close()
            await self._leave()

    async def _perform(self, step: Send | Load | Read | Sleep) -> Any:
        match step:
            case Send(request, deadline):
                await self._leave()
                with self._until(deadline):
                    self.response = await self._http.send(request, stream=True)
                self._chunks = self.response.aiter_bytes()
                return self.response
            case Load(deadline):
                assert self.response is not None  # noqa: S101 - it follows Send
                with self._until(deadline):
                    return await self.response.aread()
            case Read(deadline):
                assert self._chunks is not None  # noqa: S101 - it follows Send
                with self._until(deadline):
                    return await anext(self._chunks, b"")
            case Sleep(seconds):
                return await anyio.sleep(seconds)

    def _until(self, deadline: float | None) -> AbstractContextManager[Any]:
        return anyio.fail_after(None if deadline is None else max(0.0, deadline - self._clock()))

    async def _leave(self) -> None:
        if self.response is not None:
            with anyio.move_on_after(CLOSING, shield=True):
                await self.response.aclose()
