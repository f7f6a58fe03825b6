"""How late the event loop is."""

import asyncio
import time
from collections.abc import Iterator

import pytest
from support.manual_time import ManualLoop
from support.metrics import scrape

from potassium import Potassium
from potassium.observe.metrics.loop_lag import INTERVAL, MOST, LoopLag
from potassium.observe.metrics.shown import Shown
from potassium.testing import client


@pytest.fixture
def loop() -> Iterator[ManualLoop]:
    loop = ManualLoop()
    yield loop
    loop.close()


def counts(lag: LoopLag) -> dict[str, float]:
    (family,) = lag.families(Shown("test"))
    return {sample.labels["le"]: sample.value for sample in family.samples if "le" in sample.labels}


def begun(loop: ManualLoop) -> LoopLag:
    lag = LoopLag(clock=loop.time)

    async def begin() -> None:
        lag.begin()

    loop.run_until_complete(begin())
    return lag


def test_a_loop_that_is_in_time_has_no_lag(loop: ManualLoop) -> None:
    lag = begun(loop)
    for _ in range(10):
        loop.now += INTERVAL
        loop.rest()
    assert counts(lag)["0.001"] == 10
    lag.end()


def test_a_loop_that_was_held_counts_for_as_long_as_it_was(loop: ManualLoop) -> None:
    """Held for a second, it would have called back late ten times: by 1 s, by 0.9 s and so on."""
    lag = begun(loop)
    loop.now += INTERVAL + 0.95
    loop.rest()
    assert counts(lag)["+Inf"] == 10
    assert counts(lag)["0.5"] == 5
    assert counts(lag)["0.001"] == 0
    lag.end()


def test_a_loop_that_is_early_has_no_lag() -> None:
    """Its clock is coarser than ours: the sum of what is counted must not fall."""
    times = iter((100.0, 100.0 + INTERVAL / 2, 200.0))
    lag, loop = LoopLag(clock=lambda: next(times)), ManualLoop()

    async def begin() -> None:
        lag.begin()

    loop.run_until_complete(begin())
    loop.now += INTERVAL
    loop.rest()
    (family,) = lag.families(Shown("test"))
    assert [one.value for one in family.samples if one.name.endswith("_sum")] == [0]
    lag.end()
    loop.close()


def test_what_is_made_up_for_is_bounded(loop: ManualLoop) -> None:
    """A process that was stopped for a week goes on at once."""
    lag = begun(loop)
    loop.now += 7 * 86400
    loop.rest()
    assert counts(lag)["+Inf"] == MOST + 1
    lag.end()


def test_nothing_is_measured_after_the_end(loop: ManualLoop) -> None:
    lag = begun(loop)
    lag.end()
    loop.now += 100
    loop.rest()
    assert counts(lag)["+Inf"] == 0


async def test_a_loop_is_measured_while_its_app_runs() -> None:
    """And no longer: a timer that goes on would keep the app for ever."""
    app = Potassium("test", metrics=True)
    app.handler(lambda cache, json_in: None)
    assert app._parts.observation._figures is not None
    lag = app._parts.observation._figures.loop_lag
    async with client(app):
        assert lag._timer is not None
    assert lag._timer is None


async def test_a_handler_that_blocks_is_seen() -> None:
    """The lag of a running app is on its page."""
    app = Potassium("test", metrics=True)

    @app.handler
    async def handler(cache: object, json_in: object) -> None:
        await asyncio.sleep(INTERVAL / 2)
        time.sleep(2 * INTERVAL)  # noqa: ASYNC251 - that is the point

    async with client(app) as http:
        await http.post("/", json={})
        await asyncio.sleep(0.01)
        buckets = (await scrape(http)).values("potassium_event_loop_lag_seconds_bucket")
    assert buckets["+Inf",] > buckets["0.05",]
