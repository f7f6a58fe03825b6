"""Refusing many calls without holding up everything else."""

import asyncio
from itertools import pairwise
from typing import Any

import httpx
from support.job_bench import Bench

from potassium import Limits
from potassium.serving.refusals import AT_ONCE, Refusals


class Crowd:
    """Calls that are refused at the same moment, in the order in which they are answered."""

    def __init__(self, refusals: Refusals, size: int) -> None:
        self.answered: list[int] = []
        self.tasks = [asyncio.create_task(self._call(refusals, n)) for n in range(size)]

    async def _call(self, refusals: Refusals, number: int) -> None:
        await refusals.turn()
        self.answered.append(number)

    async def watch(self) -> list[int]:
        """Return how many were answered in each turn, until all were."""
        counts = [0]
        while not all(task.done() for task in self.tasks):
            await asyncio.sleep(0)
            counts.append(len(self.answered))
        return [after - before for before, after in pairwise(counts)]


async def test_a_few_refusals_are_answered_at_once() -> None:
    """Nothing is scheduled for the turns after that."""
    refusals = Refusals()
    for _ in range(3):
        assert await Crowd(refusals, AT_ONCE).watch() == [AT_ONCE]
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not refusals._is_due


async def test_many_refusals_are_spread_over_turns_of_the_loop() -> None:
    """So many in each, in the order of the calls, until all are answered."""
    crowd = Crowd(Refusals(), 5 * AT_ONCE)
    counts = await crowd.watch()
    assert max(counts) == AT_ONCE
    assert len(counts) <= 7
    assert crowd.answered == list(range(5 * AT_ONCE))


async def test_a_call_that_comes_later_does_not_go_first() -> None:
    """Nobody waits for ever."""
    refusals = Refusals()
    first = Crowd(refusals, 2 * AT_ONCE)
    await asyncio.sleep(0)
    late = Crowd(refusals, 1)
    await first.watch()
    await late.watch()
    assert len(first.answered) == 2 * AT_ONCE
    assert late.answered == [0]


async def test_a_call_that_was_cancelled_takes_no_place() -> None:
    """The one behind it is answered in its turn."""
    crowd = Crowd(Refusals(), 3 * AT_ONCE)
    await asyncio.sleep(0)
    for task in crowd.tasks[AT_ONCE : 2 * AT_ONCE]:
        task.cancel()
    counts = await crowd.watch()
    assert sum(counts) == 2 * AT_ONCE
    assert len(counts) <= 4


async def test_a_full_queue_refuses_so_many_calls_in_a_turn() -> None:
    """All get their 503, and others have their turn in between."""
    bench = Bench(limits=Limits(queue_size=1))
    ended: list[int] = []

    async def call(http: httpx.AsyncClient, turn: list[int]) -> Any:
        answer = await http.post("/gated", json=0)
        ended.append(turn[0])
        return answer.status_code

    async with bench.client() as http:
        running = asyncio.create_task(http.post("/gated", json=0))
        await bench.has_begun()
        waiting = asyncio.create_task(http.post("/gated", json=0))
        await asyncio.sleep(0.01)
        turn = [0]
        calls = [asyncio.create_task(call(http, turn)) for _ in range(10 * AT_ONCE)]
        while not all(task.done() for task in calls):
            await asyncio.sleep(0)
            turn[0] += 1
        assert {await one for one in calls} == {503}
        assert max(ended.count(one) for one in set(ended)) <= AT_ONCE
        bench.gate.release(2)
        assert [(await one).status_code for one in (running, waiting)] == [200, 200]
