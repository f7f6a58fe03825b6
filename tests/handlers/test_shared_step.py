"""Handlers whose streams make a step together: ``yield Step(row)``, and their ``step=``."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from support.asgi import EVENTS, LINES, Exchange

from potassium import Potassium, Request, Rows, Step, StepError, UsageError, current_request
from potassium.engine import Ceiling
from potassium.handlers import shared_step
from potassium.testing import client

Forward = Callable[[list[Any]], Any]


def doubled(rows: list[int]) -> list[int]:
    return [2 * row for row in rows]


class Bench:
    """An app whose streams double numbers together.

    A call ``{"n": 3, "steps": 2}`` doubles 3 and then 6, and sends what it gets.
    """

    def __init__(self, forward: Forward = doubled, **options: Any) -> None:
        self.app = Potassium("test")
        self.forward = forward
        self.steps: list[list[Any]] = []  # the rows of each
        self.caught: list[Exception] = []  # what was raised at steps
        self.ended: list[str] = []  # by which thread each generator was
        self.go = threading.Event()
        self.app.init(lambda: {"factor": 1})
        self.app.handler("/hold")(lambda cache, json_in: self.go.wait(10))
        self.app.handler("/double", **{"streams": 8, "step": self.step, **options})(self.double)

    def step(self, cache: dict[str, Any], rows: list[Any]) -> Any:
        assert cache == {"factor": 1}
        self.steps.append(rows)
        return self.forward(rows)

    def double(self, cache: dict[str, Any], json_in: dict[str, Any]) -> Iterator[Any]:
        number = json_in["n"]
        try:
            for _ in range(json_in.get("steps", 1)):
                try:
                    number = yield Step(number, cost=json_in.get("cost", 1))
                except Exception as error:
                    self.caught.append(error)
                    if not json_in.get("goes_on"):
                        raise
                yield number
        finally:
            self.ended.append(threading.current_thread().name)

    async def together(self, *bodies: dict[str, Any]) -> list[list[Any]]:
        """Make calls at once, and return what each has sent."""
        async with self.app.lifespan():
            hold = Exchange(self.app, path="/hold")
            await asyncio.sleep(0)
            calls = [
                Exchange(self.app, json.dumps(body).encode(), path="/double", accept=LINES)
                for body in bodies
            ]
            while (await status(self.app))["queue"]["length"] < len(calls):  # noqa: ASYNC110
                await asyncio.sleep(0.001)
            self.go.set()
            await hold.rest_of_response()
            return [
                [json.loads(line) for line in (await call.rest_of_response()).splitlines()]
                for call in calls
            ]


async def status(app: Potassium) -> dict[str, Any]:
    exchange = Exchange(app, path="/_k/status", method="GET")
    found: dict[str, Any] = json.loads(await exchange.rest_of_response())
    return found


async def test_calls_that_stream_make_each_step_together() -> None:
    """Each goes on with its own result, on the GPU thread."""
    bench = Bench()
    sent = await bench.together(*({"n": n, "steps": 2} for n in (1, 2, 3)))
    assert sent == [[2, 4], [4, 8], [6, 12]]
    assert bench.steps == [[1, 2, 3], [2, 4, 6]]
    assert bench.ended == ["potassium-gpu"] * 3


async def test_a_step_without_the_cache(app: Potassium) -> None:
    """Its only parameter are the rows."""

    @app.handler(streams=4, step=doubled)
    def handler(cache: dict[str, Any], json_in: dict[str, Any]) -> Iterator[Any]:
        yield (yield Step(21))

    async with client(app) as http:
        assert (await http.post("/", json={}, headers={"Accept": LINES})).text == "42\n"


async def test_nothing_is_sent_for_a_step(app: Potassium) -> None:
    """So a long input may be taken in parts, between the steps of others."""

    @app.handler(streams=4, step=doubled)
    def handler(cache: dict[str, Any], json_in: dict[str, Any]) -> Iterator[Any]:
        yield Step(1)
        yield Step(2)
        yield "ready"

    async with client(app) as http:
        answer = await http.post("/", json={}, headers={"Accept": EVENTS})
        assert answer.text == "id: 1\ndata: ready\n\nevent: end\ndata:\n\n"


@pytest.mark.parametrize(("most", "sizes"), [(2, [2, 1]), (None, [3])])
async def test_rows_say_how_many_go_together(most: int | None, sizes: list[int]) -> None:
    bench = Bench(rows=Rows(max_size=most))
    assert await bench.together(*({"n": n} for n in (1, 2, 3))) == [[2], [4], [6]]
    assert list(map(len, bench.steps)) == sizes


async def test_rows_say_what_a_step_may_cost() -> None:
    """The number of rows, times the cost of the costliest."""
    bench = Bench(rows=Rows(max_cost=8))
    bodies = [{"n": n, "cost": cost} for n, cost in ((1, 2), (2, 4), (3, 5))]
    assert await bench.together(*bodies) == [[2], [4], [6]]
    assert bench.steps == [[1, 2], [3]]


async def test_an_exception_in_the_place_of_a_result_is_raised_in_that_stream() -> None:
    """It may go on after it; the others have no part in it."""
    bench = Bench(lambda rows: [ValueError("odd") if row % 2 else row for row in rows])
    fails, even, goes_on = await bench.together({"n": 1}, {"n": 2}, {"n": 3, "goes_on": True})
    assert fails[0]["code"] == "handler_error"
    assert even == [2]
    assert goes_on == [3]
    assert list(map(repr, bench.caught)) == ["ValueError('odd')"] * 2


async def test_a_step_that_raises_fails_all_of_its_rows(caplog: pytest.LogCaptureFixture) -> None:
    """As an error of its own, whose cause is what it raised; the next step is a new one."""

    def forward(rows: list[int]) -> list[int]:
        if len(bench.steps) == 1:
            raise LookupError("no such layer")
        return doubled(rows)

    bench = Bench(forward)
    fails, goes_on = await bench.together({"n": 1}, {"n": 2, "steps": 2, "goes_on": True})
    assert fails[0]["code"] == "handler_error"
    assert goes_on == [2, 4]
    assert bench.steps == [[1, 2], [2]]
    assert [type(error) for error in bench.caught] == [StepError] * 2
    assert bench.caught[0] is not bench.caught[1]
    why = "step= of /double raised, and failed all of its 2 rows"
    assert {str(error) for error in bench.caught} == {why}
    assert {repr(error.__cause__) for error in bench.caught} == {"LookupError('no such layer')"}
    assert "LookupError: no such layer" in caplog.text


@pytest.mark.parametrize(
    ("forward", "why"),
    [
        (lambda rows: rows[:1], "expected 2 results, got 1"),
        (lambda rows: None, "expected a list of 2 results, got NoneType"),
        (lambda rows: {1: 1, 2: 2}, "expected a list of 2 results, got dict"),
    ],
)
async def test_a_step_returns_a_result_for_each_row(
    forward: Forward, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Otherwise callers would get what belongs to others."""
    sent = await Bench(forward).together({"n": 1}, {"n": 2})
    assert [chunks[0]["code"] for chunks in sent] == ["handler_error"] * 2
    assert why in caplog.text


class Memory:
    """Doubles rows, as many as fit."""

    def __init__(self, fits: int) -> None:
        self.fits = fits
        self.tried: list[int] = []

    def __call__(self, rows: Sequence[int]) -> list[int]:
        self.tried.append(len(rows))
        if len(rows) > self.fits:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return [2 * row for row in rows]


async def test_without_memory_the_rows_are_halved_and_fewer_go_together_then() -> None:
    """As for batches; nobody notices but by the time."""
    memory = Memory(2)
    sent = await Bench(memory).together(*({"n": n, "steps": 2} for n in (1, 2, 3, 4)))
    assert sent == [[2, 4], [4, 8], [6, 12], [8, 16]]
    assert memory.tried[:3] == [4, 2, 2]
    assert max(memory.tried[3:]) == 2


async def test_a_row_that_does_not_fit_alone_is_tried_again_and_fails(app: Potassium) -> None:
    """With the refusal of a call that does not fit; it may come again."""
    memory = Memory(0)

    @app.handler(streams=4, step=memory)
    def handler(cache: dict[str, Any], json_in: dict[str, Any]) -> Iterator[Any]:
        yield (yield Step(1))

    async with client(app) as http:
        answer = await http.post("/", json={})
        assert (answer.status_code, answer.json()["code"]) == (503, "out_of_memory")
        assert answer.headers["retry-after"] == "1"
    assert memory.tried == [1, 1]


@pytest.mark.parametrize("how", ["leaves", "deadline"])
async def test_a_stream_that_nobody_wants_takes_its_row_along(how: str) -> None:
    """Its ``finally`` runs on the GPU thread, and the others go on."""
    bench = Bench(lambda rows: rows)
    async with bench.app.lifespan():
        prefer = "wait=1" if how == "deadline" else "wait=30"
        body = b'{"n": 1, "steps": 1000000}'
        gone = Exchange(bench.app, body, path="/double", accept=EVENTS, prefer=prefer)
        stays = Exchange(bench.app, b'{"n": 2, "steps": 1000000}', path="/double", accept=LINES)
        await gone.next()
        await stays.next()
        if how == "leaves":
            gone.leave()
        told = await gone.rest()
        assert (b"deadline_exceeded" in told) == (how == "deadline")
        while not bench.ended:
            await stays.body()
        assert bench.ended == ["potassium-gpu"]
        seen = len(bench.steps)
        while len(bench.steps) < seen + 3:
            await stays.body()
        assert bench.steps[seen + 1 :][:2] == [[2], [2]]
        stays.leave()
        await stays.rest()


async def test_modes_of_a_stream_do_not_reach_the_step(app: Potassium) -> None:
    """Nor those of the step the streams; each has its own."""
    seen: list[bool] = []

    def forward(rows: list[int]) -> list[int]:
        seen.append(torch.is_inference_mode_enabled())
        return rows

    @app.handler(streams=4, step=forward)
    def handler(cache: dict[str, Any], json_in: dict[str, Any]) -> Iterator[Any]:
        with torch.inference_mode():
            yield Step(1)
            yield torch.is_inference_mode_enabled()

    async with client(app) as http:
        assert (await http.post("/", json={}, headers={"Accept": LINES})).text == "true\n"
    assert seen == [False]


async def test_each_stream_has_its_own_request(app: Potassium) -> None:
    """Before and after a step."""

    @app.handler(streams=4, step=lambda rows: rows)
    def handler(cache: dict[str, Any], request: Request) -> Iterator[Any]:
        yield current_request() is request
        yield Step(1)
        yield current_request() is request

    async with client(app) as http:
        calls = [http.post("/", json={}, headers={"Accept": LINES}) for _ in range(3)]
        assert {call.text for call in await asyncio.gather(*calls)} == {"true\ntrue\n"}


async def test_a_call_in_code_streams_in_the_same_steps() -> None:
    bench = Bench()
    async with bench.app.lifespan():
        chunks = bench.app.stream("/double", {"n": 1, "steps": 3})
        assert [chunk async for chunk in chunks] == [2, 4, 8]


async def test_a_step_without_its_function_is_a_mistake(
    app: Potassium, caplog: pytest.LogCaptureFixture
) -> None:
    """The message says what to write."""

    @app.handler
    def handler(cache: dict[str, Any], json_in: dict[str, Any]) -> Iterator[Any]:
        yield Step(1)

    async with client(app) as http:
        assert (await http.post("/", json={})).status_code == 500
    assert "yield Step(...) needs step=: write @app.handler(..., streams=16, step=" in caplog.text


async def test_a_step_of_what_is_no_generator_is_a_mistake(
    app: Potassium, caplog: pytest.LogCaptureFixture
) -> None:
    """Its result could not be sent back."""

    @app.handler(streams=2, step=doubled)
    def handler(cache: dict[str, Any], json_in: dict[str, Any]) -> Iterator[Any]:
        return map(Step, [1, 2])

    async with client(app) as http:
        assert (await http.post("/", json={})).status_code == 500
    assert "yield Step(...) works in a generator" in caplog.text


async def test_a_function_that_returns_a_generator_steps_too(app: Potassium) -> None:
    def generate() -> Iterator[Any]:
        yield (yield Step(21))

    @app.handler(streams=2, step=doubled)
    def handler(cache: dict[str, Any], json_in: dict[str, Any]) -> Iterator[Any]:
        return generate()

    async with client(app) as http:
        assert (await http.post("/", json={}, headers={"Accept": LINES})).text == "42\n"


async def test_nothing_is_run_on_a_device_that_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even the other half of a step that has run out of memory."""
    tried: list[int] = []

    def forward(rows: list[int]) -> list[int]:
        tried.append(len(rows))
        raise (
            torch.OutOfMemoryError("CUDA out of memory") if len(rows) > 1 else RuntimeError("lost")
        )

    monkeypatch.setattr(shared_step, "is_fatal", lambda error: "lost" in str(error))
    steps = [SimpleNamespace(row=n, cost=1, job=None) for n in range(4)]
    results = shared_step.SharedRun("/", forward)(steps, Ceiling())  # type: ignore[arg-type]
    assert [str(error) for error in results] == ["lost"] * 4
    assert tried == [4, 2, 1]


def plain(cache: dict[str, Any], json_in: dict[str, Any]) -> Iterator[Any]:
    yield Step(1)


async def on_loop(cache: dict[str, Any], json_in: dict[str, Any]) -> str:
    return "a"


async def async_step(rows: list[Any]) -> list[Any]:
    return rows


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"step": doubled}, "say of how many, as in streams=16"),
        ({"step": 1, "streams": 2}, "step=1 must be a function"),
        ({"step": async_step, "streams": 2}, "write def, not async def"),
        (
            {"step": doubled, "streams": 2, "finish": str},
            "finish= is for handlers that return a result",
        ),
        ({"rows": Rows(), "streams": 2}, "rows= says how many rows go together in step="),
        ({"step": doubled, "streams": 2, "rows": 8}, r"write rows=Rows\(max_size=8\)"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    app: Potassium, options: dict[str, Any], why: str
) -> None:
    with pytest.raises(UsageError, match=why):
        app.handler("/", **options)(plain)


def test_a_step_is_not_for_handlers_on_the_event_loop(app: Potassium) -> None:
    with pytest.raises(UsageError, match="step=, batch=, prepare= and finish= are for plain"):
        app.handler("/", step=doubled)(on_loop)


@pytest.mark.parametrize("cost", [0, -1, float("nan"), float("inf"), "1", True, None])
def test_a_cost_is_a_number_above_zero(cost: Any) -> None:
    with pytest.raises(UsageError, match=r"Step\(cost="):
        Step(1, cost=cost)


@pytest.mark.parametrize("options", [{"max_size": 0}, {"max_size": 1.5}, {"max_cost": 0}])
def test_rows_are_checked_when_they_are_written(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Rows(**options)
