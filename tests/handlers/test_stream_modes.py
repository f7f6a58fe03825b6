"""Torch modes, context variables and memory of generators between their steps."""

import asyncio
import contextvars
import json
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from support.asgi import EVENTS, Exchange

from potassium import Potassium, Request
from potassium.testing import client

OUT_OF_MEMORY = "CUDA out of memory. Tried to allocate 20.00 GiB"


def modes() -> list[bool]:
    return [torch.is_inference_mode_enabled(), torch.is_grad_enabled()]


MODES: list[tuple[Callable[[], Any], list[bool]]] = [
    (torch.inference_mode, [True, False]),
    (torch.no_grad, [False, False]),
    (torch.enable_grad, [False, True]),
]


@pytest.mark.parametrize(("mode", "inside"), MODES, ids=["inference", "no_grad", "enable_grad"])
@pytest.mark.parametrize("grad", [True, False])
async def test_a_mode_around_a_yield_does_not_leak(
    app: Potassium, mode: Any, inside: list[bool], grad: bool
) -> None:
    """Calls between two steps see the mode that init has set; the stream's steps see its own."""
    go = threading.Event()
    app.init(lambda: torch.set_grad_enabled(grad) and None)

    @app.handler
    def handler(cache: dict[str, Any], json_in: dict[str, Any]) -> Iterator[list[bool]]:
        with mode():
            yield modes()
            assert go.wait(10)
            yield modes()
        yield modes()

    app.handler("/other")(lambda cache, json_in: modes())

    async with app.lifespan():
        exchange = Exchange(app, accept="application/x-ndjson")
        await exchange.next()
        seen = [json.loads(await exchange.body())]
        other = Exchange(app, path="/other")
        await asyncio.sleep(0.03)
        go.set()
        await other.next()
        assert json.loads(await other.rest()) == [False, grad]
        seen += map(json.loads, (await exchange.rest()).splitlines())
    assert seen == [inside, inside, [False, grad]]


@pytest.mark.parametrize("ends", ["by itself", "raises", "is closed"])
async def test_streams_that_take_turns_keep_their_own_modes(app: Potassium, ends: str) -> None:
    """Two streams that enter and leave modes in any order each see their own in every step."""
    mixed: list[Any] = []

    def steps(outer: Any, inner: Any, expected: list[list[bool]]) -> Iterator[str]:
        try:
            with outer():
                yield "a"
                for _ in range(3):
                    with inner():
                        yield "b"
                        mixed.append(modes() == expected[1])
                    mixed.append(modes() == expected[0])
                    yield "c"
                try:
                    if ends == "raises":
                        raise ValueError
                    while ends == "is closed":
                        yield "d"
                finally:
                    mixed.append(modes() == expected[0])
        finally:
            mixed.append(modes() == [False, True])

    @app.handler(streams=2)
    def handler(cache: dict[str, Any], request: Request) -> Iterator[str]:
        if request.json["first"]:
            return steps(torch.inference_mode, torch.enable_grad, [[True, False], [True, True]])
        return steps(torch.no_grad, torch.inference_mode, [[False, False], [True, False]])

    app.handler("/other")(lambda cache, json_in: modes())
    async with app.lifespan():
        both = [Exchange(app, body, accept=EVENTS) for body in (b'{"first":1}', b'{"first":0}')]
        for one in both:
            body = b""
            await one.next()
            while b"data: d" not in body and b"event:" not in body:
                body += await one.body()
        for one in both:
            one.leave()
            await one.rest()
        after = Exchange(app, path="/other")
        await after.next()
        assert json.loads(await after.rest()) == [False, True]
    assert mixed == [True] * 16


async def test_context_variables_are_a_streams_own(app: Potassium) -> None:
    """What a generator sets is visible in its next step, and nowhere else."""
    variable = contextvars.ContextVar("variable", default="none")

    @app.handler(streams=2)
    def handler(cache: dict[str, Any], request: Request) -> Iterator[str]:
        yield variable.get()
        variable.set(request.id)
        for _ in range(5):
            yield variable.get()

    app.handler("/other")(lambda cache, json_in: variable.get())
    async with app.lifespan():
        both = [Exchange(app, x_request_id=name) for name in "ab"]
        for one in both:
            await one.next()
        assert [await one.rest() for one in both] == [b"noneaaaaa", b"nonebbbbb"]
        after = Exchange(app, path="/other")
        await after.next()
        assert await after.rest() == b'"none"'


@pytest.mark.parametrize("chunks", [0, 1])
async def test_a_stream_that_is_out_of_memory_says_so(app: Potassium, chunks: int) -> None:
    """Before the first chunk it is 503 with Retry-After, later an event; the server stays up."""

    @app.handler
    def handler(cache: dict[str, Any], json_in: dict[str, Any]) -> Iterator[str]:
        yield from "a" * chunks
        raise torch.OutOfMemoryError(OUT_OF_MEMORY)

    async with client(app) as http:
        response = await http.post("/", json={}, headers={"Accept": EVENTS})
        assert (await http.get("/healthz")).status_code == 200
    if chunks == 0:
        assert (response.status_code, response.headers["Retry-After"]) == (503, "1")
    problem = json.loads(response.text.rpartition("data: ")[2])
    assert (problem["status"], problem["code"]) == (503, "out_of_memory")


async def test_a_handler_that_has_sent_is_not_run_again_for_memory(app: Potassium) -> None:
    """The client gets what was sent once, and then the error."""
    ran = []

    @app.handler
    def handler(cache: dict[str, Any], request: Request) -> None:
        ran.append(1)
        request.send("a")
        raise torch.OutOfMemoryError(OUT_OF_MEMORY)

    async with client(app) as http:
        response = await http.post("/", json={}, headers={"Accept": EVENTS})
    assert (ran, response.text.count("data: a")) == ([1], 1)
    assert "out_of_memory" in response.text


async def test_memory_of_a_stream_that_needs_too_much_is_given_back(
    app: Potassium, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the stream held is gone when torch frees its cache, so that the next call has it."""

    class Tensor: ...

    held: list[weakref.ref[Tensor]] = []
    given_back: list[bool] = []

    @app.handler
    def handler(cache: dict[str, Any], json_in: dict[str, Any]) -> Iterator[str]:
        tensor = Tensor()
        held.append(weakref.ref(tensor))
        yield "a"
        raise torch.OutOfMemoryError(OUT_OF_MEMORY)

    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: given_back.append(held[0]() is None))
    async with client(app) as http:
        await http.post("/", json={}, headers={"Accept": EVENTS})
    assert given_back == [True]
