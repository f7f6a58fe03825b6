"""The states of a server, and who may move it from one to the next.

::

        ┌──────────────────────────────┐
        │                              ▼
    STARTING ──► READY ──► DRAINING ──► STOPPED ──► STARTING ...
        │          │           │
        └──────────┴───────────┴──► FAILED

The engine makes every transition: ``start`` to READY, to FAILED or, called off, to STOPPED;
``stop`` to DRAINING and STOPPED. A stopped app may be started again; a failed one stays failed.
"""

import enum

from potassium.errors import Draining, Starting, Unavailable, WorkerFailed

__all__ = ["Lifecycle", "State", "refusal"]


class State(enum.Enum):
    """Where a server is in its life."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    STOPPED = "stopped"
    FAILED = "failed"


_NEXT = {
    State.STARTING: {State.READY, State.FAILED, State.STOPPED},
    State.READY: {State.DRAINING, State.FAILED},
    State.DRAINING: {State.STOPPED, State.FAILED},
    State.STOPPED: {State.STARTING},
    State.FAILED: set[State](),
}


class Lifecycle:
    """The state of one server. Belongs to the event loop; may be read from any thread."""

    def __init__(self) -> None:
        """Begin in STARTING."""
        self.state = State.STARTING

    def advance(self, state: State) -> None:
        """Move on to ``state``.

        Raises:
            RuntimeError: there is no such transition.

        """
        if state not in _NEXT[self.state]:
            raise RuntimeError(f"A server that is {self.state.value} cannot become {state.value}.")
        self.state = state


def refusal(state: State) -> Unavailable:
    """Return why nothing is admitted in ``state``."""
    if state is State.STARTING:
        return Starting("The model is still loading.", retry_after=1)
    if state is State.FAILED:
        return WorkerFailed()
    return Draining("The server is stopping.", retry_after=1)
