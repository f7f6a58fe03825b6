"""Results that are probably mistakes: each is said once, where silence would cost hours."""

import asyncio
import functools
import logging
from collections.abc import Callable, Iterator
from typing import Any, Optional

import pytest

from potassium import Batch, Jobs, Limits, Potassium, Request, Response
from potassium.testing import client

Lines = Callable[[], list[str]]


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Lines:
    def warnings() -> list[str]:
        return [one.getMessage() for one in caplog.records if one.levelno == logging.WARNING]

    return warnings


async def post(app: Potassium, count: int = 3, **sent: Any) -> list[Any]:
    """Make some calls; return the statuses."""
    async with client(app) as http:
        return [(await http.post("/", **sent or {"json": {}})).status_code for _ in range(count)]


def nothing(cache: dict[str, Any], json_in: dict[str, Any]):  # type: ignore[no-untyped-def]  # noqa: ANN201
    pass


async def nothing_async(cache: dict[str, Any], json_in: dict[str, Any]):  # type: ignore[no-untyped-def]  # noqa: ANN201
    pass


def nothings(cache: dict[str, Any], items: list[Any]):  # type: ignore[no-untyped-def]  # noqa: ANN201
    return [None for _ in items]


@pytest.mark.parametrize(
    ("function", "options"),
    [
        (nothing, {}),
        (nothing_async, {}),
        (nothings, {"batch": Batch(max_size=4)}),
        (lambda cache, item: item, {"finish": lambda _: None}),
    ],
    ids=["plain", "async", "batch", "finish"],
)
async def test_a_handler_that_returns_nothing_is_told_once(
    app: Potassium, lines: Lines, function: Callable[..., Any], options: Any
) -> None:
    """The line names the handler, what clients get, and how to say that it is meant."""
    app.handler(**options)(function)
    assert await post(app) == [200, 200, 200]
    (line,) = lines()
    assert line.startswith("/ returned nothing, so its clients get null")
    assert "-> None" in line


def declared(cache: dict[str, Any], json_in: dict[str, Any]) -> None: ...


def maybe(cache: dict[str, Any], json_in: dict[str, Any]) -> dict[str, Any] | None: ...


def optional(cache: dict[str, Any], json_in: dict[str, Any]) -> Optional[str]: ...  # noqa: UP045


def sends(cache: dict[str, Any], request: Request):  # type: ignore[no-untyped-def]  # noqa: ANN201
    request.send("a chunk")


def streams(cache: dict[str, Any], json_in: dict[str, Any]) -> Iterator[str]:
    yield "a chunk"


@pytest.mark.parametrize("function", [declared, maybe, optional, sends, streams])
async def test_nothing_is_said_of_a_handler_that_means_it(
    app: Potassium, lines: Lines, function: Callable[..., Any]
) -> None:
    """By its annotation, or because it has sent its result already."""
    app.handler(function)
    await post(app)
    assert lines() == []


async def test_a_background_job_may_return_nothing(lines: Lines) -> None:
    """It may only have an effect."""
    app = Potassium("test", jobs=Jobs(path=None))
    app.background(nothing)
    async with client(app) as http:
        answer = await http.post("/", json={}, headers={"prefer": "wait=5"})
        assert answer.status_code == 200
    assert lines() == []


@pytest.mark.parametrize(
    "result", [({"error": "no"}, 404), ([1], 201), ("text", 400, {"x-own": "1"}), (None, 204)]
)
async def test_a_body_with_a_status_is_told_once(app: Potassium, lines: Lines, result: Any) -> None:
    """``return body, status`` sets no status here: the line says what does."""
    app.handler(lambda cache, json_in: result)
    assert await post(app) == [200, 200, 200]
    (line,) = lines()
    assert line.startswith("/ returned a tuple, so its clients get a JSON list and status 200")
    assert f"Response(json=..., status={result[1]})" in line


def pair(cache: dict[str, Any], json_in: dict[str, Any]) -> tuple[str, int]:
    return "cat", 200


@pytest.mark.parametrize(
    "function",
    [
        pair,
        lambda cache, json_in: ["cat", 200],
        lambda cache, json_in: ("cat", 0.97),
        lambda cache, json_in: ("cat", 7),
        lambda cache, json_in: ("cat", True),
        lambda cache, json_in: (1, 2, 3, 4),
        lambda cache, json_in: Response(json={}, status=201),
    ],
)
async def test_nothing_is_said_of_other_tuples(
    app: Potassium, lines: Lines, function: Callable[..., Any]
) -> None:
    """A number that is no status, or a pair that the annotation declares."""
    app.handler(function)
    await post(app)
    assert lines() == []


async def double(number: int) -> int:
    await asyncio.sleep(0)
    return 2 * number


def plain(cache: dict[str, Any], json_in: dict[str, Any]) -> Any:
    return double(1)


async def forgets(cache: dict[str, Any], json_in: dict[str, Any]) -> Any:
    return double(1)


def batched(cache: dict[str, Any], items: list[Any]) -> Any:
    return [double(1) for _ in items]


def whole_batch(cache: dict[str, Any], items: list[Any]) -> Any:
    return double(1)


COROUTINES: list[Any] = [
    pytest.param(plain, {}, id="plain"),
    pytest.param(forgets, {}, id="async"),
    pytest.param(batched, {"batch": Batch(max_size=4)}, id="items of a batch"),
    pytest.param(whole_batch, {"batch": Batch(max_size=4)}, id="batch"),
    pytest.param(lambda _, item: {}, {"prepare": lambda _: double(1)}, id="prepare"),
    pytest.param(lambda _, item: item, {"finish": lambda _: double(1)}, id="finish"),
    pytest.param(plain, {"finish": lambda result: {}}, id="before finish"),
]


@pytest.mark.parametrize(("function", "options"), COROUTINES)
@pytest.mark.parametrize("in_process", [False, True], ids=["over HTTP", "in the process"])
async def test_a_coroutine_is_no_result(
    app: Potassium,
    caplog: pytest.LogCaptureFixture,
    function: Callable[..., Any],
    options: Any,
    in_process: bool,
) -> None:
    """The call fails, wherever the coroutine comes from, and the log says that nobody awaits it."""
    app.handler(**options)(function)
    if in_process:
        async with app.lifespan():
            with pytest.raises(Exception):  # noqa: B017, PT011
                await app.call("/", {})
    else:
        assert await post(app, 1) == [500]
    assert "returned a coroutine, which nobody awaits" in caplog.text or (
        "got a coroutine, which nobody awaits" in caplog.text
    )


@pytest.mark.parametrize(
    ("limits", "body", "option"),
    [
        (Limits(body_size=10), b'{"text": "long"}', "body_size"),
        (Limits(json_values=3), b'{"numbers": [1, 2, 3, 4]}', "json_values"),
    ],
)
async def test_a_body_over_a_limit_is_told_once_with_the_option_that_raises_it(
    lines: Lines, limits: Limits, body: bytes, option: str
) -> None:
    """Once for each handler: any client can send such bodies."""
    app = Potassium("test", limits=limits)
    app.handler(lambda cache, json_in: {})
    sent: Any = {"content": body, "headers": {"content-type": "application/json"}}
    assert await post(app, **sent) == [413, 413, 413]
    (line,) = lines()
    assert line.startswith("/ refused a body: ")
    assert f"Limits({option}=...)" in line


def reads_it(cache: dict[str, Any], json_in: dict[str, Any]) -> dict[str, Any]:
    return {"loaded": "model" in cache}


def reads_it_inside(cache: dict[str, Any], json_in: dict[str, Any]) -> list[Any]:
    return sorted(json_in, key=lambda name: str(cache.get(name)))


def reads_it_in_chunks(cache: dict[str, Any], json_in: dict[str, Any]) -> Iterator[Any]:
    yield cache.get("model")


async def reads_it_async(cache: dict[str, Any], json_in: dict[str, Any]) -> Any:
    return cache.get("model")


class Owner:
    def reads_it(self, cache: dict[str, Any], json_in: dict[str, Any]) -> Any:
        return cache.get("model")

    def ignores_it(self, cache: dict[str, Any], json_in: dict[str, Any]) -> Any:
        return {"self": type(self).__name__, **json_in}


@functools.wraps(reads_it)
def wrapped(*args: Any) -> Any:
    return reads_it(*args)


@pytest.mark.parametrize(
    "function",
    [reads_it, reads_it_inside, reads_it_in_chunks, reads_it_async, Owner().reads_it, wrapped],
)
async def test_an_init_that_returns_nothing_is_told_if_a_handler_uses_the_cache(
    app: Potassium, lines: Lines, function: Callable[..., Any]
) -> None:
    """The model is lost then, and the handler gets an empty dict."""
    app.init(lambda: None)
    app.handler("/chat")(function)
    async with app.lifespan():
        pass
    (line,) = lines()
    assert line.startswith("init returned nothing and set no cache, but /chat uses it")


@pytest.mark.parametrize(
    ("init", "function"),
    [
        (lambda app: None, declared),
        (lambda app: None, Owner().ignores_it),
        (lambda app: None, functools.partial(reads_it)),  # its code is out of reach
        (lambda app: app.set_cache({"model": 1}), reads_it),
        (lambda app: {"model": 1}, reads_it),
        (lambda app: {}, reads_it),
    ],
)
async def test_nothing_is_said_of_an_init_whose_result_nobody_uses(
    app: Potassium, lines: Lines, init: Callable[..., Any], function: Callable[..., Any]
) -> None:
    """The model may be a global, and the cache may be set by hand."""
    app.init(lambda: init(app))
    app.handler(function)
    async with app.lifespan():
        pass
    assert lines() == []
