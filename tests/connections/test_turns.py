"""Refusals are spread over turns of the event loop."""

import asyncio

from potassium.connections.turns import PER_TURN, Turns


async def test_few_refusals_go_at_once() -> None:
    """As many refusals as a turn may have do not wait."""
    turns = Turns(asyncio.get_running_loop())
    gone: list[int] = []
    for number in range(PER_TURN):
        turns.take(lambda number=number: gone.append(number))  # type: ignore[misc]
    assert gone == list(range(PER_TURN))


async def test_many_refusals_are_spread_over_turns() -> None:
    """Of a thousand refusals in one moment, a bounded number goes in each turn, and all go."""
    turns = Turns(asyncio.get_running_loop())
    gone = most = before = 0

    def go() -> None:
        nonlocal gone
        gone += 1

    for _ in range(1000):
        turns.take(go)
    while gone < 1000:
        most, before = max(most, gone - before), gone
        await asyncio.sleep(0)
    assert most <= PER_TURN


async def test_refusals_go_in_the_order_in_which_they_came() -> None:
    """Who is refused first is answered first, whoever asks again meanwhile."""
    turns = Turns(asyncio.get_running_loop())
    gone: list[int] = []
    for number in range(5 * PER_TURN):
        turns.take(lambda number=number: gone.append(number))  # type: ignore[misc]
        if number % PER_TURN == 0:
            await asyncio.sleep(0)
    for _ in range(5):
        await asyncio.sleep(0)
    assert gone == list(range(5 * PER_TURN))


async def test_a_refusal_that_fails_holds_up_no_others() -> None:
    """Its error is reported, and those behind it go in the next turns."""
    loop = asyncio.get_running_loop()
    reported: list[object] = []
    loop.set_exception_handler(lambda _, context: reported.append(context["exception"]))
    turns = Turns(loop)
    gone: list[int] = []

    def fail() -> None:
        raise OSError

    for _ in range(PER_TURN):
        turns.take(lambda: None)
    turns.take(fail)
    for number in range(PER_TURN):
        turns.take(lambda number=number: gone.append(number))  # type: ignore[misc]
    for _ in range(3):
        await asyncio.sleep(0)
    assert (gone, len(reported)) == (list(range(PER_TURN)), 1)
