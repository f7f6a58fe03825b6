"""The states of a server."""

import itertools

import pytest

from potassium.engine.lifecycle import Lifecycle, State

ALLOWED = {
    (State.STARTING, State.READY),
    (State.STARTING, State.FAILED),
    (State.STARTING, State.STOPPED),
    (State.READY, State.DRAINING),
    (State.READY, State.FAILED),
    (State.DRAINING, State.STOPPED),
    (State.DRAINING, State.FAILED),
    (State.STOPPED, State.STARTING),
}


@pytest.mark.parametrize(("before", "after"), list(itertools.product(State, State)))
def test_only_the_drawn_transitions_exist(before: State, after: State) -> None:
    """Every transition that is not in the diagram raises and changes nothing."""
    lifecycle = Lifecycle()
    lifecycle.state = before
    if (before, after) in ALLOWED:
        lifecycle.advance(after)
        assert lifecycle.state is after
    else:
        with pytest.raises(RuntimeError, match=before.value):
            lifecycle.advance(after)
        assert lifecycle.state is before
