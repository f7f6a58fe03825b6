"""Calls with large bodies: their memory is bounded, and they do not hold the event loop."""

import asyncio
import threading
import tracemalloc
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pydantic
import pytest
from support.asgi import Exchange
from support.calls import until

from potassium import Jobs, Limits, Potassium, Request
from potassium.testing import client

LARGE = 20_000  # bytes
JSON = {"Content-Type": "application/json"}
NEVER = {"Prefer": "wait=0.05"}


class Held:
    """An app whose handler runs until it is let go."""

    def __init__(self, **limits: Any) -> None:
        self.app = Potassium("test", limits=Limits(**limits))
        self.begun = threading.Semaphore(0)
        self.go = threading.Event()
        self.app.handler(self._dict)
        self.app.handler("/bytes")(self._bytes)
        self.app.handler("/request")(self._request)

    def _dict(self, cache: dict[str, Any], json_in: dict[str, Any]) -> None:
        self._wait()

    def _bytes(self, cache: dict[str, Any], body: bytes) -> None:
        self._wait()

    def _request(self, cache: dict[str, Any], request: Request) -> Any:
        return len(request.json["a"])

    def _wait(self) -> None:
        self.begun.release()
        assert self.go.wait(10)

    async def has_begun(self) -> None:
        assert await asyncio.to_thread(self.begun.acquire, timeout=10)


@pytest.fixture
async def held() -> AsyncIterator[Held]:
    held = Held(body_memory=3 * LARGE)
    yield held
    held.go.set()


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


async def test_bodies_of_waiting_calls_count_until_their_calls_end(held: Held) -> None:
    """A body that does not fit beside them is refused, and taken once they have ended."""
    async with client(held.app) as http:
        calls = [asyncio.create_task(http.post("/bytes", content=bytes(LARGE))) for _ in range(3)]
        await held.has_begun()
        answer = await http.post("/bytes", content=bytes(LARGE))
        assert code(answer) == (503, "overloaded")
        assert answer.headers["Retry-After"] == "1"
        held.go.set()
        assert {answer.status_code for answer in await asyncio.gather(*calls)} == {200}
        assert (await http.post("/bytes", content=bytes(LARGE))).status_code == 200


async def test_parsed_bodies_count_with_what_they_take() -> None:
    """Ten thousand lists in 30 kB are some 900 kB; another call must wait for them to go."""
    held = Held(body_memory=1_000_000)
    lists = b'{"a":[' + b"[]," * 10_000 + b"[]]}"
    async with client(held.app) as http:
        first = asyncio.create_task(http.post("/", content=lists, headers=JSON))
        await held.has_begun()
        answer = await http.post("/", content=lists, headers={**JSON, **NEVER})
        assert code(answer) == (503, "overloaded")
        held.go.set()
        await first
        assert (await http.post("/", content=lists, headers=JSON)).status_code == 200


@pytest.mark.parametrize("prefer", [{}, {"Prefer": "respond-async"}])
@pytest.mark.parametrize("body", [b"{", b"[" + b"0," * LARGE + b"0]"], ids=["malformed", "wrong"])
async def test_a_refused_body_counts_no_longer(prefer: dict[str, str], body: bytes) -> None:
    """Whether it was for a call or for a background job."""
    app = Potassium("test", limits=Limits(body_memory=1), jobs=Jobs(path=None))

    @app.handler
    def handler(cache: dict[str, Any], json_in: dict[str, Any]) -> None: ...

    async with client(app) as http:
        for _ in range(3):
            answer = await http.post("/", content=body, headers={**JSON, **prefer})
            assert answer.status_code in (400, 422)
        (endpoint,) = app._parts.endpoints.values()
        assert endpoint._bodies.memory.held == 0


async def test_bodies_for_background_jobs_count_too(held: Held) -> None:
    """Calls that wait keep out what is to run in the background."""
    held.app._parts.keep_jobs(Jobs(path=None), held.app)
    async with client(held.app) as http:
        calls = [asyncio.create_task(http.post("/bytes", content=bytes(LARGE))) for _ in range(3)]
        await held.has_begun()
        headers = {"Prefer": "respond-async"}
        answer = await http.post("/bytes", content=bytes(LARGE), headers=headers)
        assert code(answer) == (503, "overloaded")
        held.go.set()
        await asyncio.gather(*calls)
        answer = await http.post("/bytes", content=bytes(LARGE), headers=headers)
        assert answer.status_code == 202


async def test_the_body_of_a_stored_job_counts_no_longer(held: Held) -> None:
    """Also while its client waits for the result: others find room."""
    held.app._parts.keep_jobs(Jobs(path=None), held.app)
    async with client(held.app) as http:
        headers = {"Prefer": "respond-async, wait=60"}
        asking = http.post("/bytes", content=bytes(3 * LARGE), headers=headers)
        waiting = asyncio.create_task(asking)
        await held.has_begun()
        headers = {"Prefer": "respond-async"}
        answer = await http.post("/bytes", content=bytes(LARGE), headers=headers)
        assert answer.status_code == 202
        held.go.set()
        assert (await waiting).status_code == 200


MIB = 2**20


@pytest.mark.parametrize("waits", [False, True], ids=["a slow reader", "a job is waited for"])
async def test_a_body_is_in_memory_no_longer_than_it_counts(waits: bool) -> None:
    """Neither while its client reads the response slowly nor while it waits for its job."""
    held = Held()
    held.app._parts.keep_jobs(Jobs(path=None), held.app)
    async with held.app.lifespan():
        tracemalloc.start()
        exchange = Exchange(
            held.app, bytes(8 * MIB), "/bytes", prefer="respond-async, wait=60" if waits else ""
        )
        exchange.reads.clear()
        await held.has_begun()
        assert tracemalloc.get_traced_memory()[0] > 8 * MIB
        held.go.set()
        try:
            await until(lambda: tracemalloc.get_traced_memory()[0] < 4 * MIB)
        finally:
            tracemalloc.stop()
        exchange.reads.set()
        await exchange.rest_of_response()


async def test_too_many_values_are_refused_however_the_handler_reads_them() -> None:
    """A handler that parses the request itself has the same limit."""
    held = Held(json_values=1000)
    async with client(held.app) as http:
        for path in ("/", "/request"):
            lists = b'{"a":[' + b"[]," * 1000 + b"[]]}"
            answer = await http.post(path, content=lists, headers=JSON)
            assert code(answer) == (413, "body_too_large")
        text = {"a": "[],[{" * 10_000}
        answer = await http.post("/request", json=text)
        assert answer.json() == 50_000


class Gate:
    """An app whose validator waits until it is let go."""

    def __init__(self, **limits: Any) -> None:
        gate = self
        self.begun = threading.Semaphore(0)
        self.go = threading.Event()
        self.validated: list[str] = []

        class Item(pydantic.BaseModel):
            values: list[int]
            name: str = ""

            @pydantic.field_validator("name")
            @classmethod
            def wait(cls, name: str) -> str:
                gate.validated.append(threading.current_thread().name)
                gate.begun.release()
                assert gate.go.wait(10)
                return name

        def handler(cache: dict[str, Any], item: Any) -> None: ...

        handler.__annotations__["item"] = Item
        self.app = Potassium("test", limits=Limits(**limits))
        self.app.handler(handler)

        @self.app.handler("/other")
        def other(cache: dict[str, Any], json_in: dict[str, Any]) -> None: ...

    def body(self) -> bytes:
        return b'{"values":[' + b"0," * 100_000 + b'0],"name":"a"}'

    async def has_begun(self) -> None:
        assert await asyncio.to_thread(self.begun.acquire, timeout=10)


@pytest.fixture
async def gate() -> AsyncIterator[Gate]:
    gate = Gate()
    yield gate
    gate.go.set()


async def test_the_loop_goes_on_while_a_large_body_is_validated(gate: Gate) -> None:
    """Another call is served meanwhile."""
    async with client(gate.app) as http:
        first = asyncio.create_task(http.post("/", content=gate.body(), headers=JSON))
        await gate.has_begun()
        assert (await http.post("/other", json={})).status_code == 200
        gate.go.set()
        assert (await first).status_code == 200


async def test_a_deadline_may_pass_before_a_large_body_is_validated(gate: Gate) -> None:
    """It is 504, as in the queue."""
    async with client(gate.app) as http:
        first = asyncio.create_task(http.post("/", content=gate.body(), headers=JSON))
        await gate.has_begun()
        answer = await http.post("/", content=gate.body(), headers={**JSON, **NEVER})
        assert code(answer) == (504, "deadline_exceeded")
        await http.post("/other", json={})  # some turns of the loop
        gate.go.set()
        await first
    assert len(gate.validated) == 1


async def test_a_large_body_whose_client_has_left_is_not_validated(gate: Gate) -> None:
    """It takes no time from those of others."""
    async with gate.app.lifespan():
        calls = [Exchange(gate.app, gate.body()) for _ in range(3)]
        await gate.has_begun()
        calls[1].leave()
        async with asyncio.timeout(10):
            await calls[1].task
            await Exchange(gate.app, path="/other").task
        gate.go.set()
        for one in (calls[0], calls[2]):
            assert (await one.next())["status"] == 200
    assert len(gate.validated) == 2


async def test_a_job_with_a_large_body_is_validated_beside_the_loop(gate: Gate) -> None:
    """When it is submitted, and when it runs."""
    gate.app._parts.keep_jobs(Jobs(path=None), gate.app)
    async with client(gate.app) as http:
        gate.go.set()
        headers = {**JSON, "Prefer": "respond-async"}
        answer = await http.post("/", content=gate.body(), headers=headers)
        assert answer.status_code == 202
        await gate.has_begun()
        await gate.has_begun()
    assert gate.validated == ["potassium-intake_0"] * 2
