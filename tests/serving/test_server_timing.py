"""Server-Timing, for clients that ask for it."""

import asyncio
import re
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from starlette.exceptions import HTTPException

from potassium import Batch, Potassium
from potassium.testing import client

ASKING = {"X-Timing": "1"}
TIMES = re.compile(r"queue;dur=(\d+\.\d{3}), run;dur=(\d+\.\d{3})")
RUN = 0.02  # seconds


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
