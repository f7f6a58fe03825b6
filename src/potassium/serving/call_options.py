"""How Python code in the same process makes a call."""

from dataclasses import dataclass

from potassium.config import check_seconds
from potassium.engine import Priority
from potassium.errors import UsageError

__all__ = ["CallOptions"]


@dataclass(frozen=True, kw_only=True, slots=True)
class CallOptions:
    """How to make a call.

    Attributes:
        timeout: maximum seconds for waiting in the queue and running; None for the handler's.
            That of a background call counts from its beginning.
        priority: its place in the queue, if the app has ``Limits(priorities=True)``.
        is_background: whether it is one for a background job: direct calls go first.

    """

    timeout: float | None = None
    priority: Priority = Priority.NORMAL
    is_background: bool = False

    @classmethod
    def of(cls, timeout: float | None, priority: str) -> "CallOptions":
        """Return the options that an app's code has given.

        Raises:
            UsageError: one of them is invalid.

        """
        if timeout is not None:
            check_seconds("timeout", timeout)
        known = [one.name.lower() for one in Priority]
        if priority not in known:
            raise UsageError(f'priority={priority!r}: write "low", "normal" or "high".')
        return cls(timeout=timeout, priority=Priority(known.index(priority)))
