"""What of a call stays in memory after it, or after one of its steps: nothing that is large."""

import asyncio
import gc
import sys
import weakref
from collections.abc import Iterator
from typing import Any

import pydantic
import pytest
from support.asgi import Exchange

from potassium import Batch, Potassium, Request, current_request
from potassium.engine import Failure


class Item(pydantic.BaseModel):
    x: int


class Tensor:
    """What ``prepare=`` returns; it may be gigabytes on the device."""


@pytest.fixture(autouse=True)
def _no_collector() -> Iterator[None]:
    """Let reference counts alone free what they can: a full collection may be minutes away."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


async def answers(app: Potassium, path: str, body: bytes) -> None:
    exchange = Exchange(app, body=body, path=path)
    assert (await exchange.next())["status"] == 200
    await exchange.rest()


def plain(cache: dict[str, Any], item: Item) -> None: ...
def whole(cache: dict[str, Any], request: Request) -> None: ...
def pushes(cache: dict[str, Any], item: Item) -> None: current_request().send("a")  # fmt: skip


def yields(cache: dict[str, Any], item: Item) -> Iterator[str]: yield from "ab"  # fmt: skip


def same(request: Request) -> Request: return request  # fmt: skip


@pytest.mark.parametrize(
    ("function", "options"),
    [(plain, {}), (whole, {}), (pushes, {}), (yields, {}), (whole, {"prepare": same})],
    ids=["plain", "whole request", "pushes", "yields", "prepared request"],
)
async def test_the_body_of_an_answered_call_is_freed(
    app: Potassium, function: Any, options: dict[str, Any]
) -> None:
    """Nothing holds on to it once the call is over."""
    app.handler("/", **options)(function)
    bodies = [b'{"x": %d}' % number for number in range(3)]
    async with app.lifespan():
        before = [sys.getrefcount(body) for body in bodies]
        for body in bodies:
            await answers(app, "/", body)
        del body
        await asyncio.sleep(0.05)  # longer than a call counts as young
        assert [sys.getrefcount(body) for body in bodies] == before


@pytest.mark.parametrize("count", [2, 100_000], ids=["small", "large"])
async def test_a_refused_body_is_freed(app: Potassium, count: int) -> None:
    """Small, or so large that it is bound beside the loop: an error holds on to nothing."""
    app.handler("/")(plain)
    body = b'{"x": [%b0]}' % (b"0," * count)
    async with app.lifespan():
        before = sys.getrefcount(body)
        for _ in range(3):
            exchange = Exchange(app, body=body)
            assert (await exchange.next())["status"] == 422
            await exchange.rest()
        del exchange
        await asyncio.sleep(0.05)
        assert sys.getrefcount(body) == before


@pytest.mark.parametrize("batch", [None, Batch(max_size=2)])
async def test_the_argument_is_freed_before_the_result_is_finished(
    app: Potassium, batch: Batch | None
) -> None:
    """Device memory that ``prepare=`` took is free for the next call while ``finish=`` runs."""
    tensors: list[weakref.ref[Tensor]] = []
    alive: list[bool] = []

    def prepare(item: dict[str, Any]) -> Tensor:
        tensor = Tensor()
        tensors.append(weakref.ref(tensor))
        return tensor

    def finish(result: Any) -> Any:
        alive.append(tensors[-1]() is not None)
        return result

    def one(cache: dict[str, Any], tensor: Tensor) -> int:
        return 1

    def several(cache: dict[str, Any], tensors: list[Tensor]) -> list[int]:
        return [1 for _ in tensors]

    function = one if batch is None else several
    app.handler("/", prepare=prepare, finish=finish, batch=batch)(function)
    async with app.lifespan():
        await answers(app, "/", b"{}")
    assert alive == [False]


async def test_a_generator_that_lets_go_of_its_argument_frees_it(app: Potassium) -> None:
    """Nothing else holds on to it during the later steps."""
    alive: list[bool] = []

    @app.handler
    def handler(cache: dict[str, Any], item: Item) -> Iterator[str]:
        reference = weakref.ref(item)
        del item
        yield "a"
        alive.append(reference() is not None)
        yield "b"

    async with app.lifespan():
        await answers(app, "/", b'{"x": 1}')
    assert alive == [False]


async def test_an_idle_async_handler_keeps_no_argument(app: Potassium) -> None:
    """The last call of a quiet day is freed like any other."""
    items: list[weakref.ref[Item]] = []

    @app.handler
    async def handler(cache: dict[str, Any], item: Item) -> None:
        items.append(weakref.ref(item))

    async with app.lifespan():
        await answers(app, "/", b'{"x": 1}')
        await asyncio.sleep(0.05)
        assert items[0]() is None


async def test_a_request_is_equal_in_all_steps_of_its_call(app: Potassium) -> None:
    """What an app notes of it in one step, by the request as a key, it finds in the next."""
    notes: dict[Request, str] = {}
    found: list[Any] = []

    def prepare(item: dict[str, Any]) -> None:
        notes[current_request()] = "prepared"

    def finish(result: Any) -> Any:
        found.append(notes[current_request()])
        return result

    @app.handler("/", prepare=prepare, finish=finish)
    def handler(cache: dict[str, Any], item: Any) -> None:
        found.append(notes[current_request()])
        found.append(current_request() is current_request())

    async with app.lifespan():
        await answers(app, "/", b"{}")
        await answers(app, "/", b"{}")
    assert found == ["prepared", True, "prepared"] * 2
    assert len(notes) == 2


async def test_what_a_failed_async_handler_held_is_freed(app: Potassium) -> None:
    """Its locals go with the answer, and so do those of what it awaited."""
    tensors: list[weakref.ref[Tensor]] = []

    async def fails() -> None:
        tensor = Tensor()
        tensors.append(weakref.ref(tensor))
        await asyncio.sleep(0)
        raise ValueError

    @app.handler
    async def handler(cache: dict[str, Any], item: Item) -> None:
        tensor = Tensor()
        tensors.append(weakref.ref(tensor))
        await fails()

    async with app.lifespan():
        exchange = Exchange(app, body=b'{"x": 1}')
        assert (await exchange.next())["status"] == 500
        await exchange.rest()
        await asyncio.sleep(0.05)
        assert [tensor() for tensor in tensors] == [None, None]


async def test_a_coroutine_that_goes_on_is_not_closed_for_an_error_that_it_caught() -> None:
    """One that has handed its error on, and is suspended, is left to go on."""
    kept: list[Exception] = []
    went_on: list[bool] = []

    async def catches() -> None:
        try:
            raise ValueError  # noqa: TRY301 - it is to be caught here
        except ValueError as error:
            kept.append(error)
        await asyncio.sleep(0.01)
        went_on.append(True)

    task = asyncio.create_task(catches())
    await asyncio.sleep(0)
    Failure(kept[0])
    await task
    assert went_on == [True]
