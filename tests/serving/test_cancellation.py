"""Calls that nobody waits for any more: what their handlers and callers see."""

import asyncio
import gc
import threading
import time
import weakref
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from support.operations import operation_on

from potassium import Limits, Potassium, Request, UsageError, current_request
from potassium.errors import ClientLeft, DeadlineExceeded
from potassium.testing import client


class Held:
    """An app whose handler runs until it is let go, and records what it sees."""

    def __init__(self, **limits: Any) -> None:
        self.app = Potassium("test", limits=Limits(**limits))
        self.ran: list[int] = []
        self.seen: list[Any] = []
        self.inside = self.most = 0
        self.begun = threading.Semaphore(0)
        self.go = threading.Event()
        self.look: Callable[[Request], Any] = lambda request: None
        self.app.handler(self._handler)

    def _handler(self, cache: dict[str, Any], request: Request) -> dict[str, Any]:
        self.inside += 1
        self.most = max(self.most, self.inside)
        self.ran.append(request.json["n"])
        self.begun.release()
        assert self.go.wait(10)
        self.seen.append(self.look(request))
        self.inside -= 1
        return {"n": request.json["n"]}

    async def has_begun(self) -> None:
        assert await asyncio.to_thread(self.begun.acquire, timeout=10)


@pytest.fixture
async def held() -> AsyncIterator[Held]:
    held = Held()
    yield held
    held.go.set()


def post(http: httpx.AsyncClient, n: int, **headers: str) -> asyncio.Task[httpx.Response]:
    return asyncio.create_task(http.post("/", json={"n": n}, headers=headers))


async def test_a_deadline_that_passes_in_the_queue_is_504_and_the_job_never_runs(
    held: Held,
) -> None:
    """The caller is answered on time, while the thread is busy with something else."""
    async with client(held.app) as http:
        first = post(http, 0)
        await held.has_begun()
        started = time.monotonic()
        response = await post(http, 1, Prefer="wait=0.05")
        assert 0.04 < time.monotonic() - started < 1
        assert (response.status_code, response.json()["code"]) == (504, "deadline_exceeded")
        held.go.set()
        await first
        await post(http, 2)
    assert held.ran == [0, 2]


async def test_a_deadline_that_passes_while_running_is_504_and_nothing_runs_beside(
    held: Held,
) -> None:
    """The thread counts as busy until the handler returns; its late result is dropped."""
    async with client(held.app) as http:
        late = post(http, 0, Prefer="wait=0.5")
        await held.has_begun()
        assert (await late).status_code == 504
        status = (await http.get("/_k/status")).json()
        assert status["running"]["handler"] == "/"
        following = post(http, 1)
        await asyncio.sleep(0.02)
        assert held.ran == [0]
        held.go.set()
        assert (await following).json() == {"n": 1}
    assert held.most == 1


async def test_a_wait_of_nothing_is_refused_at_once(held: Held) -> None:
    """wait=0 is answered without running anything."""
    async with client(held.app) as http:
        assert (await post(http, 0, Prefer="wait=0")).status_code == 504
    assert held.ran == []


@pytest.mark.parametrize("where", ["handler", "limits"])
async def test_a_timeout_of_the_servers(where: str) -> None:
    """@app.handler(timeout=...) and Limits(timeout=...) give calls a deadline."""
    app = Potassium("test", limits=Limits(timeout=0.05 if where == "limits" else 60))
    go = threading.Event()

    @app.handler(timeout=0.05 if where == "handler" else None)
    def handler(cache: dict[str, Any], json_in: dict[str, Any]) -> None:
        assert go.wait(10)

    async with client(app) as http:
        assert (await http.post("/", json={})).status_code == 504
        go.set()


@pytest.mark.parametrize("timeout", [0, -1, "5", True])
def test_a_timeout_that_cannot_be_fails_when_it_is_written(app: Potassium, timeout: Any) -> None:
    """The message names the option."""
    with pytest.raises(UsageError, match="timeout"):
        app.handler("/", timeout=timeout)(lambda cache, json_in: None)


async def test_an_async_handler_is_cancelled_by_its_deadline(app: Potassium) -> None:
    """On the event loop, a handler ends with its call."""
    ended = asyncio.Event()

    @app.handler(timeout=0.5)
    async def handler(cache: dict[str, Any], json_in: dict[str, Any]) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    async with client(app) as http:
        assert (await http.post("/", json={})).status_code == 504
        async with asyncio.timeout(5):
            await ended.wait()


async def test_an_async_handler_that_waits_past_its_deadline_is_never_run(app: Potassium) -> None:
    """A job whose deadline has passed leaves the queue of its lane."""
    go, ran = asyncio.Event(), []

    @app.handler
    async def handler(cache: dict[str, Any], json_in: dict[str, Any]) -> None:
        ran.append(json_in["n"])
        await go.wait()

    async with client(app) as http:
        first = post(http, 0)
        await asyncio.sleep(0.01)
        assert (await post(http, 1, Prefer="wait=0.03")).status_code == 504
        go.set()
        await first
        await post(http, 2)
    assert ran == [0, 2]


async def test_a_request_knows_its_deadline(held: Held) -> None:
    """request.deadline is in monotonic seconds, or None."""
    held.go.set()
    held.look = lambda request: request.deadline
    async with client(held.app) as http:
        await post(http, 0, Prefer="wait=50")
        await post(http, 1)
    assert 49 < held.seen[0] - time.monotonic() <= 50
    assert held.seen[1] is None


async def test_a_running_handler_sees_that_its_deadline_has_passed(held: Held) -> None:
    """request.cancelled becomes true, and raise_if_cancelled raises DeadlineExceeded."""
    held.look = cancelled_and_raised
    async with client(held.app) as http:
        assert (await post(http, 0, Prefer="wait=0.5")).status_code == 504
        held.go.set()
        await post(http, 1)
    assert held.seen == [(True, DeadlineExceeded), (False, None)]


async def test_a_running_handler_sees_that_its_client_has_left(held: Held) -> None:
    """request.cancelled becomes true, and raise_if_cancelled raises ClientLeft."""
    held.look = cancelled_and_raised
    async with client(held.app) as http:
        leaving = post(http, 0)
        await held.has_begun()
        leaving.cancel()
        await asyncio.wait({leaving})
        held.go.set()
        await post(http, 1)
    assert held.seen == [(True, ClientLeft), (False, None)]


def cancelled_and_raised(request: Request) -> tuple[bool, type[Exception] | None]:
    cancelled = request.cancelled
    try:
        request.raise_if_cancelled()
    except (ClientLeft, DeadlineExceeded) as error:
        return cancelled, type(error)
    return cancelled, None


async def test_a_request_that_was_never_admitted_is_not_cancelled() -> None:
    """A Request made by hand, as in a test of a handler, has no deadline."""
    request = Request("id", [], b"")
    request.raise_if_cancelled()
    assert (request.cancelled, request.deadline) == (False, None)


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_the_current_request_is_there_for_every_handler(app: Potassium, kind: str) -> None:
    """current_request() returns the request of the call that asks, however many there are."""

    def handler(cache: dict[str, Any], json_in: dict[str, Any]) -> list[str]:
        return [json_in["id"], current_request().id]

    async def async_handler(cache: dict[str, Any], json_in: dict[str, Any]) -> list[str]:
        await asyncio.sleep(0)
        return handler(cache, json_in)

    if kind == "sync":
        app.handler(handler)
    else:
        app.handler(concurrency=4)(async_handler)
    async with client(app) as http:
        calls = [
            http.post("/", json={"id": f"r-{n}"}, headers={"X-Request-Id": f"r-{n}"})
            for n in range(20)
        ]
        answers = [response.json() for response in await asyncio.gather(*calls)]
    assert all(sent == own for sent, own in answers)


def test_outside_of_a_handler_there_is_no_current_request() -> None:
    """The error says that current_request() was called outside a handler."""
    with pytest.raises(UsageError, match="outside a handler"):
        current_request()


async def test_an_idle_thread_holds_on_to_no_request(app: Potassium) -> None:
    """After a call, the GPU thread has no current request."""
    seen: list[bool] = []

    def asks() -> bool:
        try:
            current_request()
        except UsageError:
            return False
        return True

    @app.handler
    def handler(cache: dict[str, Any], json_in: dict[str, Any]) -> None:
        seen.append(asks())

    async with client(app) as http:
        await http.post("/", json={})
        running = app._runtime.services
        assert running is not None
        seen.append(await running.engine.call(operation_on("asks", lambda _: asks()), None))
    assert seen == [True, False]


async def test_calls_whose_clients_left_are_forgotten(app: Potassium) -> None:
    """Nothing is kept of a call that was called off."""
    alive: list[weakref.ref[Request]] = []
    begun = threading.Semaphore(0)

    @app.handler
    def handler(cache: dict[str, Any], request: Request) -> None:
        alive.append(weakref.ref(request))
        begun.release()
        threading.Event().wait(0.03)

    async with app.lifespan():
        for _ in range(3):
            messages: list[dict[str, Any]] = [
                {"type": "http.request", "body": b"{}"},
                {"type": "http.disconnect"},
            ]

            async def receive(left: list[dict[str, Any]] = messages) -> dict[str, Any]:
                return left.pop(0)

            async def send(_: Any) -> None: ...

            await app({"type": "http", "method": "POST", "path": "/", "headers": []}, receive, send)
        assert await asyncio.to_thread(begun.acquire, timeout=10)
        await asyncio.sleep(0.1)
        gc.collect()
        assert [one() for one in alive] == [None] * len(alive)
