"""Sharing places out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from potassium.webhooks.shares import Shares


def fill(shares: Shares, *owners: str) -> dict[str, int]:
    """Let the owners take, in turns, all that they may; return how many each has."""
    taken = dict.fromkeys(owners, 0)
    while any(shares.has_room(owner) for owner in owners):
        for owner in owners:
            if shares.has_room(owner):
                shares.take(owner)
                taken[owner] += 1
    return taken


@pytest.mark.parametrize("greedy", [1, 2, 7, 9, 30])
def test_nobody_gets_more_than_is_left_free(greedy: int) -> None:
    """However many take all that they may, there are places for the next one."""
    shares = Shares(64)
    taken = fill(shares, *(f"{number}" for number in range(greedy)))
    assert shares.free >= 1
    assert max(taken.values()) <= shares.free + 1
    assert shares.has_room("next")


def test_a_single_place_can_be_taken() -> None:
    """With one place, or few, the first who asks gets one."""
    assert fill(Shares(1), "a") == {"a": 1}
    assert fill(Shares(1), "a", "b") == {"a": 1, "b": 0}


def test_what_is_given_back_can_be_taken_again() -> None:
    """Nobody is remembered who has no place."""
    shares = Shares(4)
    shares.take("a", 2)
    assert shares.full() == ["a"]
    shares.give_back("a", 2)
    assert (shares.free, list(shares.full())) == (4, [])
    assert shares.has_room("a", 4)
    assert not shares.has_room("a", 5)


@given(st.lists(st.sampled_from("abcde"), max_size=40), st.integers(1, 16))
def test_room_for_all_is_room_for_all(takers: list[str], places: int) -> None:
    """As many places as it says can be taken one by each, whoever takes them, in any order."""
    shares = Shares(places)
    for owner in takers:
        if shares.has_room(owner):
            shares.take(owner)
    room = shares.room_for_all()
    assert (room == 0) == (shares.free == 0)
    eligible = [one for one in (*"edcba", *map(str, range(16))) if one not in shares.full()]
    for owner in eligible[:room]:
        assert shares.has_room(owner)
        shares.take(owner)
