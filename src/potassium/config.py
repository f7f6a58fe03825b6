"""Groups of options: frozen, and validated when they are built."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from math import isfinite
from typing import Any

from potassium.errors import UsageError

__all__ = ["Batch", "Limits", "check_count", "check_options", "check_seconds"]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one server takes on at a time, and for how long.

    Attributes:
        queue_size: jobs that may wait; one more is refused with 503 ``queue_full``.
        body_size: bytes in a request's body; a longer one is refused with 413.
        body_timeout: seconds from a request's headers to the end of its body; a slower one is
            refused with 408.
        timeout: seconds for queueing and running together, after which the caller gets 504;
            None for no limit. ``@app.handler(timeout=...)`` goes before it.
        grace_period: seconds that calls have to end in once the server is asked to stop; what is
            left then gets 503.
        hang_timeout: seconds after which a call that has not come back means that the GPU thread
            is stuck for good: the server fails, and liveness goes red. None for never.
        stream_stall_timeout: seconds in which a client has to take something of its stream; one
            that does not loses it.
        priorities: let clients send ``X-Priority: low``, ``normal`` or ``high``; a job is
            overtaken by a bounded number of others, so that none starves.

    Raises:
        UsageError: a value that cannot be.

    """

    queue_size: int = 256
    body_size: int = 10 * 1024 * 1024
    body_timeout: float = 30.0
    timeout: float | None = None
    grace_period: float = 30.0
    hang_timeout: float | None = None
    stream_stall_timeout: float = 30.0
    priorities: bool = False

    def __post_init__(self) -> None:
        """Check every value."""
        check_count("queue_size", self.queue_size)
        check_count("body_size", self.body_size)
        check_seconds("body_timeout", self.body_timeout)
        check_seconds("grace_period", self.grace_period)
        check_seconds("stream_stall_timeout", self.stream_stall_timeout)
        if self.timeout is not None:
            check_seconds("timeout", self.timeout)
        if self.hang_timeout is not None:
            check_seconds("hang_timeout", self.hang_timeout)
        if type(self.priorities) is not bool:
            raise UsageError(f"priorities={self.priorities!r}: True or False is needed.")


@dataclass(frozen=True, kw_only=True)
class Batch:
    """How calls of one handler are put together into one run of it.

    A batch leaves as soon as nothing more is to be expected, and never later than ``max_delay``
    after its first call, if the GPU thread is free by then.

    Attributes:
        max_size: items in a batch.
        max_delay: seconds that an item may wait for others while the GPU thread has nothing to do.
        cost: called with an item, off the GPU thread; returns what it costs to run, such as its
            number of tokens. A batch is put together of items of like cost.
        max_cost: what a batch may cost: its number of items times the cost of its costliest, as
            padding makes it. An item that costs more goes alone.

    Raises:
        UsageError: a value that cannot be.

    """

    max_size: int = 32
    max_delay: float = 0.005
    cost: Callable[[Any], float] | None = None
    max_cost: float | None = None

    def __post_init__(self) -> None:
        """Check every value."""
        check_count("max_size", self.max_size)
        if self.max_delay != 0:
            check_seconds("max_delay", self.max_delay)
        if self.cost is not None and not callable(self.cost):
            raise UsageError(f"cost={self.cost!r}: a function of an item is needed.")
        if self.max_cost is not None:
            if self.cost is None:
                raise UsageError("max_cost=... needs cost=..., a function of an item.")
            check_seconds("max_cost", self.max_cost, "a number")


def check_count(name: str, value: object) -> None:
    """Accept a whole number above zero.

    Raises:
        UsageError: it is something else; ``name`` says what.

    """
    if type(value) is not int or value < 1:
        raise UsageError(f"{name}={value!r}: a whole number above zero is needed.")


def check_seconds(name: str, value: object, what: str = "a number of seconds") -> None:
    """Accept a number of seconds above zero.

    Raises:
        UsageError: it is something else; ``name`` says what.

    """
    if type(value) not in (int, float) or not isfinite(value) or value <= 0:  # type: ignore[arg-type,operator]
        raise UsageError(f"{name}={value!r}: {what} above zero is needed.")


def check_options(call: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Accept option names of ``call`` that are ``known``.

    Raises:
        UsageError: one is not; the message names it, and the known one that is nearest.

    """
    known = list(known)
    for name in given:
        if name not in known:
            nearest = get_close_matches(name, known, n=1)
            hint = f"did you mean {nearest[0]}?" if nearest else f"there are {', '.join(known)}."
            raise UsageError(f"{call}({name}=...): no such option; {hint}")
