"""The states of a server, and what moves it from one to the next.

::

        ┌──────────────────────────────┐
        │                              ▼
    STARTING ──► READY ──► DRAINING ──► STOPPED ──► STARTING ...
        │          │           │
        └──────────┴───────────┴──► FAILED

The engine makes every transition except the one back to STARTING: ``start`` leads to READY, to
FAILED or, if cancelled, to STOPPED; ``stop`` to DRAINING and STOPPED; ``fail`` to FAILED. A stopped
app may be started again; a failed one stays failed.
"""

import enum
import time
from collections.abc import Callable

from potassium.errors import Draining, Starting, Unavailable, WorkerFailed

__all__ = ["Lifecycle", "State", "refusal"]


class State(enum.Enum):
    """The state of a server.

    Attributes:
        STARTING: ``init`` is running; nothing is admitted yet.
        READY: jobs are admitted.
        DRAINING: nothing more is admitted; open calls may finish.
        STOPPED: the engine has stopped; the app may be started again.
        FAILED: ``init`` raised, or the GPU thread is unusable; the process must be restarted.

    """

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
    """The state of one server. Belongs to the event loop; may be read from any thread.

    Attributes:
        state: the current state.
        changed_at: since when, in monotonic seconds.

    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.state = State.STARTING
        self.changed_at = clock()

    def advance(self, state: State) -> None:
        """Move on to ``state``.

        Raises:
            RuntimeError: the current state has no transition to it.

        """
        if state not in _NEXT[self.state]:
            raise RuntimeError(f"A server that is {self.state.value} cannot become {state.value}.")
        self.state = state
        self.changed_at = self._clock()


def refusal(state: State) -> Unavailable:
    """Return the error that refuses jobs in ``state``, which is not READY."""
    if state is State.STARTING:
        return Starting("The model is still loading.", retry_after=1)
    if state is State.FAILED:
        return WorkerFailed()
    return Draining("The server is stopping.", retry_after=1)
