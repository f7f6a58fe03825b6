"""Handlers that get a list of inputs, and the steps before and after a handler."""

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import pydantic
import pytest
import torch
from starlette.exceptions import HTTPException

from potassium import Batch, Potassium, Request, Response, UsageError
from potassium.errors import InvalidInput
from potassium.testing import client


class Item(pydantic.BaseModel):
    n: int


def bare(cache, items): ...  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
def of_any(cache: dict[str, Any], items: list) -> None: ...  # type: ignore[type-arg]
def of_dicts(cache: dict[str, Any], items: list[dict[str, Any]]) -> None: ...
def of_requests(cache: dict[str, Any], items: list[Request]) -> None: ...
def of_items(cache: dict[str, Any], items: Sequence[Item]) -> None: ...
def of_bytes(cache: dict[str, Any], items: list[bytes]) -> None: ...
def of_numbers(cache: dict[str, Any], items: "list[int]") -> None: ...


@pytest.mark.parametrize(
    ("signature", "body", "seen"),
    [
        (bare, b'{"n":1}', {"n": 1}),
        (of_any, b'{"n":1}', {"n": 1}),
        (of_dicts, b'{"n":1}', {"n": 1}),
        (of_requests, b'{"n":1}', Request),
        (of_items, b'{"n":1}', Item(n=1)),
        (of_bytes, b'{"n":1}', b'{"n":1}'),
        (of_numbers, b"7", 7),
    ],
)
async def test_the_annotation_of_a_list_says_what_an_item_is(
    app: Potassium, signature: Any, body: bytes, seen: Any
) -> None:
    """Each item of the list is what a handler of one would have got."""
    got: list[Any] = []

    def handler(cache: dict[str, Any], items: Any) -> list[None]:
        got.extend(items)
        return [None] * len(items)

    handler.__annotations__ = signature.__annotations__
    app.handler(batch=Batch())(handler)
    async with client(app) as http:
        headers = {"Content-Type": "application/json"}
        assert (await http.post("/", content=body, headers=headers)).status_code == 200
    assert [isinstance(one, seen) if seen is Request else one == seen for one in got] == [True]


async def together(app: Potassium, *bodies: Any) -> list[Any]:
    """Post these at the same time; the handler at ``/`` gets the valid ones as one batch."""
    begun, go = threading.Event(), threading.Event()

    @app.handler("/busy")
    def busy(cache: dict[str, Any], json_in: dict[str, Any]) -> None:
        begun.set()
        assert go.wait(10)

    async with client(app) as http:
        first = asyncio.create_task(http.post("/busy", json={}))
        assert await asyncio.to_thread(begun.wait, 10)
        calls = [asyncio.create_task(http.post("/", json=body)) for body in bodies]
        await asyncio.sleep(0.03)
        go.set()
        await first
        return await asyncio.gather(*calls)


async def test_an_invalid_input_is_not_in_the_batch(app: Potassium) -> None:
    """It alone gets 422, and the handler never sees it; the others have their own results."""
    batches: list[list[int]] = []

    @app.handler(batch=Batch())
    def handler(cache: dict[str, Any], items: list[Item]) -> list[int]:
        batches.append([item.n for item in items])
        return [item.n * 10 for item in items]

    answers = await together(app, {"n": 1}, {"n": "many"}, {"n": 2}, [], {"n": 3})
    assert [answer.status_code for answer in answers] == [200, 422, 200, 422, 200]
    assert [answers[index].json() for index in (0, 2, 4)] == [10, 20, 30]
    assert batches == [[1, 2, 3]]


async def test_an_exception_in_a_list_of_results_answers_its_caller(app: Potassium) -> None:
    """Each is answered as if a handler of one had raised it."""

    @app.handler(batch=Batch())
    def handler(cache: dict[str, Any], items: list[Item]) -> list[Any]:
        faults = [HTTPException(429), InvalidInput("odd"), ValueError("hunter2"), Response(201)]
        return [faults[item.n] for item in items]

    answers = await together(app, *({"n": n} for n in range(4)))
    assert [answer.status_code for answer in answers] == [429, 422, 500, 201]
    assert "hunter2" not in answers[2].text


async def test_a_result_that_cannot_be_sent_is_its_own_items_fault(app: Potassium) -> None:
    """Those beside it are answered."""

    @app.handler(batch=Batch())
    def handler(cache: dict[str, Any], items: list[Item]) -> list[Any]:
        return [object() if item.n == 1 else torch.tensor([item.n]) for item in items]

    answers = await together(app, {"n": 0}, {"n": 1}, {"n": 2})
    assert [answer.status_code for answer in answers] == [200, 500, 200]
    assert (answers[1].json()["code"], answers[2].json()) == ("unserializable_output", [2])


async def test_a_wrong_number_of_results_is_on_the_log(
    app: Potassium, caplog: pytest.LogCaptureFixture
) -> None:
    """All get 500, and the log says what was expected and what came."""

    @app.handler(batch=Batch())
    def handler(cache: dict[str, Any], items: list[Item]) -> list[int]:
        return [1]

    answers = await together(app, {"n": 0}, {"n": 1})
    assert [answer.status_code for answer in answers] == [500, 500]
    assert "expected 2 results, got 1" in caplog.text


def no_list(cache: dict[str, Any], item: Item) -> None: ...
def a_dict(cache: dict[str, Any], items: dict[str, Any]) -> None: ...
def one_argument(items: list[Item]) -> None: ...
def unvalidatable(cache: dict[str, Any], items: list[torch.Tensor]) -> None: ...


@pytest.mark.parametrize("function", [no_list, a_dict, one_argument, unvalidatable])
def test_a_signature_that_takes_no_list_shows_the_right_form(app: Potassium, function: Any) -> None:
    """The error names the function and shows signatures that work."""
    with pytest.raises(UsageError, match=r"cache: dict, items: list\[Item\]") as caught:
        app.handler(batch=Batch())(function)
    assert f"{function.__name__} cannot be a batched handler" in str(caught.value)


def generates(cache: dict[str, Any], json_in: Any) -> Any:
    yield 1


async def asynchronous(cache: dict[str, Any], json_in: Any) -> None: ...
def plain(cache: dict[str, Any], items: list[Any]) -> None: ...
def unary(value: Any) -> Any: ...
async def async_step(value: Any) -> Any: ...


@pytest.mark.parametrize(
    ("function", "options", "message"),
    [
        (plain, {"batch": 32}, r"write batch=Batch\(max_size=32\)"),
        (plain, {"streams": 0}, "streams=0"),
        (plain, {"concurrency": 2}, "one GPU thread"),
        (plain, {"batch": Batch(), "streams": 2}, "streams= and batch="),
        (generates, {"finish": unary}, "a generator yields as it goes"),
        (plain, {"prepare": async_step}, "prepare= runs in a thread of the pool"),
        (plain, {"finish": async_step}, "finish= runs in a thread of the pool"),
        (plain, {"prepare": lambda: None}, "cannot be a prepare= step"),
        (plain, {"finish": lambda: None}, "finish= takes one argument"),
        (plain, {"finish": lambda a, b, c: None}, "finish= takes one argument"),
        (asynchronous, {"streams": 2}, "for plain handlers"),
        (asynchronous, {"batch": Batch()}, "for plain handlers"),
        (asynchronous, {"prepare": unary}, "for plain handlers"),
        (asynchronous, {"finish": unary}, "for plain handlers"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    app: Potassium, function: Any, options: Any, message: str
) -> None:
    """The mistake shows at decoration, and the message says what is wrong."""
    with pytest.raises(UsageError, match=message):
        app.handler("/", **options)(function)
