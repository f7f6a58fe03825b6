"""Refusals are spread over turns of the event loop."""

import asyncio

from potassium.serving.refusals import PER_TURN, Refusals


async def test_few_refusals_go_at_once() -> None:
    """As many refusals as a turn may have do not wait."""
    refusals = Refusals()
    for _ in range(PER_TURN):
        turn = refusals.turn()
        try:
            turn.send(None)
        except StopIteration:
            continue
        raise AssertionError("a refusal waited")


async def test_many_refusals_are_spread_over_turns() -> None:
    """Of a thousand refusals in one moment, a bounded number goes in each turn, and all go."""
    refusals, gone = Refusals(), 0

    async def refuse() -> None:
        nonlocal gone
        await refusals.turn()
        gone += 1

    tasks = [asyncio.create_task(refuse()) for _ in range(1000)]
    most = before = 0
    while gone < len(tasks):
        await asyncio.sleep(0)
        most, before = max(most, gone - before), gone
    assert most <= 2 * PER_TURN  # those of one turn and, in the first one, those that did not wait


async def test_a_cancelled_refusal_takes_no_turn() -> None:
    """Requests that are cancelled while they wait do not hold up the others."""
    refusals = Refusals()
    tasks = [asyncio.create_task(refusals.turn()) for _ in range(20 * PER_TURN)]
    await asyncio.sleep(0)
    for task in tasks[PER_TURN:-1]:
        task.cancel()
    async with asyncio.timeout(5):
        await tasks[-1]
