"""Pieces of bodies."""

import sys

from hypothesis import given
from hypothesis import strategies as st

from potassium.serving.pieces import SMALL, Pieces

PIECES = st.lists(st.one_of(st.binary(max_size=20), st.binary(min_size=SMALL, max_size=SMALL + 20)))


@given(PIECES, PIECES)
def test_they_are_returned_as_they_came(first: list[bytes], second: list[bytes]) -> None:
    """And only once."""
    pieces = Pieces()
    for some in (first, second):
        for piece in some:
            pieces.add(piece)
        whole = b"".join(some)
        assert (pieces.size, pieces.joined(), pieces.size) == (len(whole), whole, len(whole))
        assert (pieces.take(), pieces.size) == (whole, 0)


def test_small_ones_do_not_take_much_more_than_they_have() -> None:
    """A byte by itself would take forty."""
    pieces = Pieces()
    for _ in range(100_000):
        pieces.add(b"a")
    assert sum(map(sys.getsizeof, pieces._pieces)) < 150_000


def test_a_large_one_is_not_copied() -> None:
    pieces, large = Pieces(), bytes(SMALL)
    pieces.add(large)
    assert pieces.take() is large
