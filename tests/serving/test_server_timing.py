"""Server-Timing, for clients that ask for it, or for all."""

import asyncio
import re
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any
from unittest.mock import ANY

import pytest
from starlette.exceptions import HTTPException

from potassium import Batch, Potassium, UsageError
from potassium.testing import client

ASKING = {"X-Timing": "1"}
TIMES = re.compile(r"queue;dur=(\d+\.\d{3}), run;dur=(\d+\.\d{3})(?:, finish;dur=\d+\.\d{3})?")
PHASE = re.compile(r"(\w+);dur=(\d+\.\d{3})")
RUN = 0.08  # seconds; far more than a busy machine takes to get to a call


def times(header: str) -> tuple[float, float]:
    """Return the milliseconds in the queue and of the run."""
    match = TIMES.fullmatch(header)
    assert match is not None, header
    return float(match[1]), float(match[2])


def waiting(cache: dict[str, Any], json_in: Any) -> Any:
    threading.Event().wait(RUN)
    return json_in


async def waiting_on_the_loop(cache: dict[str, Any], json_in: Any) -> Any:
    await asyncio.sleep(RUN)
    return json_in


def batched(cache: dict[str, Any], items: list[dict[str, Any]]) -> list[Any]:
    threading.Event().wait(RUN)
    return items


def streaming(cache: dict[str, Any], json_in: Any) -> Iterator[str]:
    threading.Event().wait(RUN)
    yield "a"
    threading.Event().wait(RUN)  # by now, the response has begun
    yield "b"


async def streaming_on_the_loop(cache: dict[str, Any], json_in: Any) -> AsyncIterator[str]:
    await asyncio.sleep(RUN)
    yield "a"


def failing(cache: dict[str, Any], json_in: Any) -> None:
    threading.Event().wait(RUN)
    raise HTTPException(409)


@pytest.mark.parametrize(
    ("handler", "options"),
    [
        (waiting, {}),
        (batched, {"batch": Batch(max_size=4)}),
        (waiting_on_the_loop, {}),
        (streaming, {}),
        (streaming_on_the_loop, {}),
        (failing, {}),
    ],
    ids=["thread", "batch", "loop", "stream", "stream on the loop", "failure"],
)
async def test_the_time_in_the_queue_and_of_the_run_is_told(
    app: Potassium, handler: Any, options: dict[str, Any]
) -> None:
    """The second call waits for the first, and then takes as long as that."""
    app.handler("/", **options)(handler)
    async with client(app) as http:
        calls = [http.post("/", json={}, headers=ASKING) for _ in range(2)]
        answers = [times(one.headers["server-timing"]) for one in await asyncio.gather(*calls)]
    (first_wait, first_run), (_, second_run) = sorted(answers)
    assert min(first_run, second_run) >= RUN * 1000 * 0.9
    assert first_wait < RUN * 1000 * 0.9 or "batch" in options


async def test_a_call_waits_for_those_before_it(app: Potassium) -> None:
    """What it has waited is no part of its run."""
    app.handler(waiting)
    async with client(app) as http:
        calls = [http.post("/", json={}, headers=ASKING) for _ in range(3)]
        waits = sorted(
            times(one.headers["server-timing"])[0] for one in await asyncio.gather(*calls)
        )
    assert waits[2] >= 2 * RUN * 1000 * 0.9


async def test_a_call_that_never_began_has_no_run(app: Potassium) -> None:
    """Its deadline has passed in the queue."""
    app.handler(waiting)
    async with client(app) as http:
        first = asyncio.create_task(http.post("/", json={}))
        await asyncio.sleep(0.005)
        hasty = {**ASKING, "Prefer": "wait=0.005"}
        late = await http.post("/", json={}, headers=hasty)
        await first
    assert late.status_code == 504
    assert re.fullmatch(r"queue;dur=\d+\.\d{3}", late.headers["server-timing"])


@pytest.mark.parametrize("headers", [{}, {"X-Timing": "0"}])
async def test_nobody_else_is_told(app: Potassium, headers: dict[str, str]) -> None:
    """A header that nobody reads costs time."""
    app.handler(waiting)
    async with client(app) as http:
        response = await http.post("/", json={}, headers=headers)
    assert "server-timing" not in response.headers


async def shown(
    app: Potassium, path: str = "/", *, headers: dict[str, str] = ASKING, **options: Any
) -> tuple[int, dict[str, float]]:
    """Make one call; return its status and what the response says of each phase."""
    async with client(app) as http:
        response = await http.post(path, headers=headers, **{"json": {}, **options})
    header = response.headers.get("server-timing", "")
    phases = {name: float(time) for name, time in PHASE.findall(header)}
    assert header == ", ".join(f"{name};dur={time:.3f}" for name, time in phases.items())
    return response.status_code, phases


async def test_a_failed_preparation_is_told(app: Potassium) -> None:
    """The call never ran."""

    def prepare(json_in: dict[str, Any]) -> None:
        raise HTTPException(409)

    app.handler(prepare=prepare)(waiting)
    status, phases = await shown(app)
    assert (status, list(phases)) == (409, ["queue", "prepare"])


@pytest.fixture
def timed() -> Potassium:
    """An app whose responses all tell their times."""
    return Potassium("test", server_timing=True, api_keys=["key"])


KEY = {"X-Api-Key": "key"}


async def test_each_phase_is_told(timed: Potassium) -> None:
    """In order, and no time is told twice: together they are no more than the total."""

    def slow(time: float, value: Any) -> Any:
        threading.Event().wait(time)
        return value

    timed.handler(
        prepare=lambda json_in: slow(0.03, json_in), finish=lambda _: slow(0.04, "finished")
    )(lambda cache, prepared: slow(RUN, prepared))
    status, phases = await shown(timed, headers=KEY)
    assert (status, list(phases)) == (200, ["queue", "prepare", "run", "finish", "total"])
    assert phases["prepare"] >= 27
    assert phases["run"] >= RUN * 900
    assert phases["finish"] >= 36
    assert sum(phases.values()) <= 2 * phases["total"] + 0.01


@pytest.mark.parametrize(
    ("handler", "phases"),
    [
        (waiting, ["queue", "run", "total"]),
        (waiting_on_the_loop, ["queue", "run", "total"]),
        (streaming, ["queue", "run", "total"]),
        (streaming_on_the_loop, ["queue", "run", "total"]),
        (failing, ["queue", "run", "total"]),
    ],
    ids=["thread", "loop", "stream", "stream on the loop", "failure"],
)
async def test_the_option_tells_all(timed: Potassium, handler: Any, phases: list[str]) -> None:
    """Nobody has to ask, and whoever does is not told twice. The total includes the phases."""
    timed.handler(handler)
    for headers in (KEY, {**KEY, **ASKING}):
        _, told = await shown(timed, headers=headers)
        assert list(told) == phases
        assert told["run"] >= RUN * 900
        assert told["total"] >= told["queue"] + told["run"] - 0.002


@pytest.mark.parametrize(
    ("path", "headers", "options", "status"),
    [
        ("/", {}, {}, 401),
        ("/", KEY, {"content": b"{", "json": None}, 415),
        ("/nothing", KEY, {}, 404),
        ("/_k/warmup", {}, {}, 200),
    ],
)
async def test_with_the_option_what_is_no_call_has_a_total(
    timed: Potassium, path: str, headers: dict[str, str], options: Any, status: int
) -> None:
    """Refusals too: what they took is all that is known of them."""
    timed.handler(waiting)
    assert await shown(timed, path, headers=headers, **options) == (status, {"total": ANY})


@pytest.mark.parametrize("option", [1, "yes", None])
def test_the_option_is_a_bool(option: Any) -> None:
    """Anything else is a mistake that shows at once."""
    with pytest.raises(UsageError, match="server_timing=True"):
        Potassium("test", server_timing=option)


async def test_a_refusal_says_nothing_to_those_who_ask(app: Potassium) -> None:
    """There is no call whose times could be told."""
    app.handler(waiting)
    assert await shown(app, content=b"{", json=None) == (415, {})
