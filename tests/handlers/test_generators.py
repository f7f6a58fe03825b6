"""prepare= and finish=: the work before and after a handler that need not hold the GPU."""

import asyncio
import threading
from typing import Any

import pydantic
import pytest
import torch
from starlette.exceptions import HTTPException

from potassium import Batch, Potassium, Response, UsageError, current_request
from potassium.errors import InvalidInput
from potassium.testing import client


class Item(pydantic.BaseModel):
    text: str


@pytest.mark.parametrize("batch", [None, Batch()], ids=["one", "batch"])
async def test_a_call_goes_through_all_three(app: Potassium, batch: Batch | None) -> None:
    """prepare, handler and finish are called in this order, each with the previous result."""
    threads: list[str] = []

    @app.init
    def init() -> dict[str, Any]:
        return {"suffix": "!"}

    def prepare(item: Item) -> list[str]:
        threads.append(threading.current_thread().name)
        return item.text.split()

    def finish(cache: dict[str, Any], words: list[str]) -> str:
        threads.append(threading.current_thread().name)
        return f"{' '.join(words)}{cache['suffix']}"

    def handle(words: list[str]) -> list[str]:
        threads.append(threading.current_thread().name)
        return words[::-1]

    if batch is None:
        app.handler(prepare=prepare, finish=finish)(lambda cache, words: handle(words))
    else:
        app.handler(batch=batch, prepare=prepare, finish=finish)(
            lambda cache, items: [handle(words) for words in items]
        )
    async with client(app) as http:
        assert (await http.post("/", json={"text": "a b c"})).json() == "c b a!"
    assert threads == ["potassium-pool", "potassium-gpu", "potassium-pool"]


@pytest.mark.parametrize("step", ["prepare", "finish"])
async def test_a_step_takes_the_cache_where_it_has_two_parameters(
    app: Potassium, step: str
) -> None:
    """A step with two parameters gets the current cache as the first."""
    app.set_cache({"offset": 5})
    steps: dict[str, Any] = {step: lambda cache, value: cache["offset"]}
    app.handler("/", **steps)(lambda cache, value: value)
    async with client(app) as http:
        assert (await http.post("/", json={})).json() == 5


async def test_the_annotation_of_prepare_says_what_the_input_is(app: Potassium) -> None:
    """An input that does not match prepare's annotation is 422, and nothing runs."""
    ran: list[Any] = []

    def prepare(cache: dict[str, Any], item: Item) -> str:
        ran.append(item)
        return item.text

    @app.handler(prepare=prepare)
    def handler(cache: dict[str, Any], text: int) -> Any:
        return text

    async with client(app) as http:
        assert (await http.post("/", json={})).status_code == 422
        assert ran == []
        assert (await http.post("/", json={"text": "a"})).json() == "a"


@pytest.mark.parametrize("step", ["prepare", "cost", "finish"])
@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (HTTPException(429), 429, "too_many_requests"),
        (InvalidInput("too long"), 422, "invalid_input"),
        (ValueError("hunter2"), 500, "handler_error"),
        (SystemExit("hunter2"), 500, "handler_error"),
        (UsageError("hunter2"), 500, "handler_error"),
    ],
    ids=repr,
)
async def test_an_error_in_a_step_is_answered_as_one_of_the_handlers(
    app: Potassium, step: str, error: BaseException, status: int, code: str
) -> None:
    """The client cannot tell which step raised the error; the next call is served."""
    errors = [error]

    def fail(value: Any) -> Any:
        if errors:
            raise errors.pop()
        return 1

    options: dict[str, Any] = {step: fail}
    if step == "cost":
        options = {"batch": Batch(cost=fail)}
    batched = "batch" in options
    app.handler("/", **options)(lambda cache, value: ["done"] if batched else "done")
    async with client(app) as http:
        response = await http.post("/", json={})
        assert (response.status_code, response.json()["code"]) == (status, code)
        assert "hunter2" not in response.text
        assert (await http.post("/", json={})).status_code == 200


async def test_cost_is_told_an_item_as_it_was_prepared(app: Potassium) -> None:
    """cost gets what the handler will get, on a thread of the pool."""
    seen: list[Any] = []

    def cost(words: list[str]) -> int:
        seen.append([words, threading.current_thread().name])
        return len(words)

    def prepare(item: Item) -> list[str]:
        return item.text.split()

    app.handler(prepare=prepare, batch=Batch(cost=cost))(lambda cache, items: items)
    async with client(app) as http:
        assert (await http.post("/", json={"text": "a b"})).json() == ["a", "b"]
    assert seen == [[["a", "b"], "potassium-pool"]]


@pytest.mark.parametrize(
    "cost",
    [-1, float("inf"), float("nan"), "5", None, 10**400, 1e308],
    ids=lambda cost: repr(cost)[:9],
)
async def test_a_cost_that_cannot_be_fails_its_call(
    app: Potassium, cost: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """The call fails, and the log says what a cost must be: one that can be added up is one."""
    app.handler(batch=Batch(cost=lambda item: cost))(lambda cache, items: items)
    async with asyncio.timeout(10), client(app) as http:
        assert (await http.post("/", json={})).status_code == 500
    assert "it must return a number >= 0" in caplog.text


async def test_the_current_request_is_there_in_each_step(app: Potassium) -> None:
    """current_request() returns the call's own request, on the threads of the pool too."""

    def seen(value: Any) -> list[str]:
        return [*value, current_request().id]

    app.handler(prepare=seen, finish=seen)(lambda cache, value: value)
    async with client(app) as http:
        response = await http.post("/", json={}, headers={"X-Request-Id": "r-1"})
    assert response.json() == ["r-1", "r-1"]


async def test_what_is_finished_is_in_host_memory(app: Potassium) -> None:
    """finish gets no tensor on the device, and none that requires gradients."""
    weights = torch.ones(2, requires_grad=True)

    def finish(result: dict[str, Any]) -> list[Any]:
        return [result["weights"].requires_grad, result["weights"]]

    app.handler(finish=finish)(lambda cache, json_in: {"weights": weights})
    async with client(app) as http:
        assert (await http.post("/", json={})).json() == [False, [1, 1]]


async def test_a_generator_cannot_be_finished(
    app: Potassium, caplog: pytest.LogCaptureFixture
) -> None:
    """If a handler turns out to return a generator only when it has run, the call fails."""
    app.handler(finish=lambda result: result)(lambda cache, json_in: iter("ab"))
    async with client(app) as http:
        assert (await http.post("/", json={})).status_code == 500
    assert "finish= is for handlers that return" in caplog.text


async def test_with_prepare_the_handlers_annotation_is_its_own_business(app: Potassium) -> None:
    """With prepare=, the handler's annotation may be anything: it validates no input."""

    def prepare(item: Item) -> torch.Tensor:
        return torch.tensor([len(item.text)])

    @app.handler("/one", prepare=prepare)
    def one(cache: dict[str, Any], tensor: torch.Tensor) -> Any:
        return tensor

    @app.handler("/many", prepare=prepare, batch=Batch())
    def many(cache: dict[str, Any], tensors: list[torch.Tensor]) -> Any:
        return tensors

    async with client(app) as http:
        for path in ("/one", "/many"):
            assert (await http.post(path, json={"text": "abc"})).json() == [3]


@pytest.mark.parametrize("result", [lambda: iter(b"ab"), lambda: Response(body=iter(b"ab"))])
async def test_finish_does_not_stream(
    app: Potassium, result: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """A generator that finish returns fails the call, and the log says why."""
    app.handler(finish=lambda value: result())(lambda cache, json_in: None)
    async with client(app) as http:
        assert (await http.post("/", json={})).status_code == 500
    assert "finish= must return the answer" in caplog.text
