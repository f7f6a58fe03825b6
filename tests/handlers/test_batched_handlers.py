"""Handlers that get a list of inputs, and the steps before and after a handler."""

import asyncio
import threading
from collections.abc import Sequence
from typing import Any, List  # noqa: UP035

import httpx
import pydantic
import pytest
import torch
from starlette.exceptions import HTTPException
from support.calls import until
from support.operations import operation_on

from potassium import Batch, Potassium, Request, Response, UsageError, current_request
from potassium.errors import InvalidInput
from potassium.testing import client


class Item(pydantic.BaseModel):
    n: int


def bare(cache, items): ...  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
def of_any(cache: dict[str, Any], items: list) -> None: ...  # type: ignore[type-arg]
def of_any_typing(cache: dict[str, Any], items: List) -> None: ...  # type: ignore[type-arg]  # noqa: UP006
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
        (of_any_typing, b'{"n":1}', {"n": 1}),
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
    """Each item of the list is what an unbatched handler would have got."""
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


async def post_together(
    app: Potassium, http: httpx.AsyncClient, *bodies: Any
) -> list[asyncio.Task[httpx.Response]]:
    """Post these while the thread is busy; the valid ones wait there and form one batch."""
    begun, go = threading.Event(), threading.Event()

    def busy(_: None) -> None:
        begun.set()
        assert go.wait(10)

    running = app._runtime.services
    assert running is not None
    job = running.engine.admit(operation_on("busy", busy), None)
    assert await asyncio.to_thread(begun.wait, 10)
    calls = [asyncio.create_task(http.post("/", json=body)) for body in bodies]
    await until(lambda: len(running.engine.calls) + sum(call.done() for call in calls) > len(calls))
    go.set()
    await running.engine.outcome(job)
    return calls


async def together(app: Potassium, *bodies: Any) -> list[httpx.Response]:
    """Post these at the same time and return the responses."""
    async with client(app) as http:
        return await asyncio.gather(*await post_together(app, http, *bodies))


async def test_an_invalid_input_is_not_in_the_batch(app: Potassium) -> None:
    """The invalid input gets 422 and never reaches the handler; the others get their results."""
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
    """An exception in place of a result is answered as if an unbatched handler had raised it."""

    @app.handler(batch=Batch())
    def handler(cache: dict[str, Any], items: list[Item]) -> list[Any]:
        faults = [HTTPException(429), InvalidInput("odd"), ValueError("hunter2"), Response(201)]
        return [faults[item.n] for item in items]

    answers = await together(app, *({"n": n} for n in range(4)))
    assert [answer.status_code for answer in answers] == [429, 422, 500, 201]
    assert "hunter2" not in answers[2].text


async def test_a_result_that_cannot_be_sent_is_its_own_items_fault(app: Potassium) -> None:
    """Only the item whose result cannot be sent fails; the items beside it are answered."""

    @app.handler(batch=Batch())
    def handler(cache: dict[str, Any], items: list[Item]) -> list[Any]:
        return [object() if item.n == 1 else torch.tensor([item.n]) for item in items]

    answers = await together(app, {"n": 0}, {"n": 1}, {"n": 2})
    assert [answer.status_code for answer in answers] == [200, 500, 200]
    assert (answers[1].json()["code"], answers[2].json()) == ("unserializable_output", [2])


async def test_a_ceiling_is_in_cost_where_items_have_one(app: Potassium) -> None:
    """The weight that did not fit is the batch's size times the cost of its costliest item."""

    @app.handler(batch=Batch(cost=lambda item: item.n))
    def handler(cache: dict[str, Any], items: list[Item]) -> list[int]:
        if len(items) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return [item.n for item in items]

    answers = await together(app, {"n": 3}, {"n": 1}, {"n": 5}, {"n": 2})
    assert [answer.json() for answer in answers] == [3, 1, 5, 2]
    batching = app._parts.handlers["/"].operation.batching
    assert batching is not None
    assert batching.ceiling.value == 4 * 5 / 2


async def test_an_item_whose_client_has_left_is_not_run_again(app: Potassium) -> None:
    """The search for a culprit covers only items that somebody waits for."""
    begun, go = threading.Event(), threading.Event()
    runs: list[list[int]] = []

    @app.handler(batch=Batch())
    def handler(cache: dict[str, Any], items: list[Item]) -> list[int]:
        runs.append([item.n for item in items])
        begun.set()
        assert go.wait(10)
        raise ValueError

    async with client(app) as http:
        calls = await post_together(app, http, *({"n": n} for n in range(3)))
        assert await asyncio.to_thread(begun.wait, 10)
        calls[1].cancel()
        await asyncio.wait({calls[1]})
        go.set()
        await asyncio.wait(calls)
    assert runs == [[0, 1, 2], [0], [2]]


async def test_a_wrong_number_of_results_is_on_the_log(
    app: Potassium, caplog: pytest.LogCaptureFixture
) -> None:
    """All items get 500, and the log says how many results were expected and how many came."""

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
        (generates, {"finish": unary}, "not for generators"),
        (plain, {"prepare": async_step}, "prepare= runs in a thread of the pool"),
        (plain, {"finish": async_step}, "finish= runs in a thread of the pool"),
        (plain, {"prepare": lambda: None}, "cannot be a prepare= step"),
        (plain, {"prepare": 5}, "prepare=5 must be a function"),
        (plain, {"finish": "strip"}, "finish='strip' must be a function"),
        (one_argument, {"prepare": unary}, "cannot be a handler"),
        (no_list, {"prepare": unary, "batch": Batch()}, "not a list"),
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
    """The mistake is reported at decoration, and the message says what is wrong."""
    with pytest.raises(UsageError, match=message):
        app.handler("/", **options)(function)


@pytest.mark.parametrize("result", [lambda: iter("ab"), lambda: Response(body=iter("ab"))])
async def test_a_batched_handler_does_not_stream(
    app: Potassium, result: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """A generator in place of a result fails that item, and the log says why."""

    @app.handler(batch=Batch())
    def handler(cache: dict[str, Any], items: list[Item]) -> list[Any]:
        return [result() if item.n == 1 else item.n for item in items]

    answers = await together(app, {"n": 0}, {"n": 1}, {"n": 2})
    assert [answer.status_code for answer in answers] == [200, 500, 200]
    assert "a batched handler must return its results" in caplog.text


async def test_a_step_that_only_calls_async_code_is_told(
    app: Potassium, caplog: pytest.LogCaptureFixture
) -> None:
    """Decoration cannot see that a ``prepare=`` returns a coroutine; its first call can."""

    async def prepared(item: Any) -> Any:
        return item

    app.handler(prepare=lambda item: prepared(item))(lambda cache, item: item)  # noqa: PLW0108
    async with client(app) as http:
        assert (await http.post("/", json={})).status_code == 500
    assert "prepare= returned a coroutine" in caplog.text


async def test_a_batched_handler_has_no_current_request(
    app: Potassium, caplog: pytest.LogCaptureFixture
) -> None:
    """It serves several, and the error says how to get them."""

    @app.handler(batch=Batch())
    def handler(cache: dict[str, Any], items: list[Item]) -> list[Any]:
        return [current_request().id for _ in items]

    answers = await together(app, {"n": 0}, {"n": 1})
    assert [answer.status_code for answer in answers] == [500, 500]
    assert "requests: list[Request]" in caplog.text
