"""``Server-Timing``: how long a call has waited, and how long each of its steps took.

See https://www.w3.org/TR/server-timing/.
"""

import time
from typing import Protocol

__all__ = ["Timed", "server_timing"]


class Timed(Protocol):
    """A call whose times are known. All are in monotonic seconds.

    Attributes:
        admitted_at: when it was admitted.
        preparation: when its preparation began and ended; None if there was none so far.
        began_at: when it began to run; None until then.
        ended_at: when it ended running; None until then.
        finishing: when finishing its result began and ended; None if that was not needed so far.
        stream: not None if it streams: then it runs on after the head of its response.

    """

    admitted_at: float
    preparation: tuple[float, float] | None
    began_at: float | None
    ended_at: float | None
    finishing: tuple[float, float] | None

    @property
    def stream(self) -> object: ...  # noqa: D102 - above


def server_timing(call: Timed | None, arrived_at: float | None = None) -> bytes:
    """Return the value of the header in the head of a response that is sent now.

    Args:
        call: the call that the response is to; None if it was refused, or no handler ran.
        arrived_at: when the request arrived, to tell the total as well; None to leave it out.

    """
    now = time.monotonic()
    phases = [] if call is None else _phases(call, now)
    if arrived_at is not None:
        phases.append((b"total", now - arrived_at))
    return b", ".join(b"%b;dur=%.3f" % (name, max(time, 0) * 1000) for name, time in phases)


def _phases(call: Timed, now: float) -> list[tuple[bytes, float]]:
    began = call.began_at
    waited = (now if began is None else began) - call.admitted_at
    phases = []
    if call.preparation is not None:
        prepared = call.preparation[1] - call.preparation[0]
        waited -= prepared
        phases.append((b"prepare", prepared))
    phases.insert(0, (b"queue", waited))
    if began is not None:
        ended = None if call.stream is not None else call.ended_at
        phases.append((b"run", (now if ended is None else ended) - began))
    if call.finishing is not None:
        phases.append((b"finish", call.finishing[1] - call.finishing[0]))
    return phases
