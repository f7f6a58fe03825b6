"""What an attempt at a job comes to, and what makes attempts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from potassium.jobs.attempt import Attempt

__all__ = ["Cancelled", "Done", "Failed", "Lane", "NotDone", "Outcome", "Work"]


@dataclass(frozen=True, slots=True)
class Done:
    """It has succeeded, with this JSON."""

    output: bytes


@dataclass(frozen=True, slots=True)
class Failed:
    """It has failed, with this problem document; where it ``may_retry``, it may do better later."""

    error: bytes
    may_retry: bool


@dataclass(frozen=True, slots=True)
class Cancelled:
    """It was cancelled, with this problem document."""

    error: bytes


@dataclass(frozen=True, slots=True)
class NotDone:
    """The server stopped before it came to an end."""


Outcome = Done | Failed | Cancelled | NotDone


class Lane(Protocol):
    """Jobs that wait for one another: those of the GPU thread, of one batch, of one async handler.

    Attributes:
        handlers: whose jobs they are.

    """

    handlers: Sequence[str]

    def room(self, waiting: int, claimed: int, quiet: float) -> int:
        """Return how many more may be claimed.

        ``claimed`` are, and have not come to an outcome; ``waiting`` of them have not begun. For
        ``quiet`` seconds none has begun or come to one.
        """


class Work(Protocol):
    """What runs jobs."""

    lanes: Sequence[Lane]

    async def run(self, attempt: "Attempt") -> Outcome:
        """Run a job to its end; never raises for what the handler does."""
