"""The outcomes of an attempt at a job, and the interfaces of what runs attempts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from potassium.jobs.model import Status

if TYPE_CHECKING:
    from potassium.jobs.attempt import Attempt
    from potassium.jobs.model import StoredJob

__all__ = [
    "AttemptObserver",
    "Cancelled",
    "Crashed",
    "Done",
    "Failed",
    "Lane",
    "NotDone",
    "Outcome",
    "Work",
    "status_after",
]


@dataclass(frozen=True, slots=True)
class Done:
    """The attempt succeeded, with this output; ``media_type`` is its type, None for JSON."""

    output: bytes
    media_type: str | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """The attempt failed, with this problem document; ``may_retry`` if another one may succeed."""

    error: bytes
    may_retry: bool


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The attempt was cancelled, with this problem document."""

    error: bytes


@dataclass(frozen=True, slots=True)
class NotDone:
    """The server stopped before the attempt ended."""


@dataclass(frozen=True, slots=True)
class Crashed:
    """The worker process that ran the attempt died, while the server lives.

    Attributes:
        error: the problem document of the attempt.
        was_alone: whether that worker ran no other job.

    """

    error: bytes
    was_alone: bool


Outcome = Done | Failed | Cancelled | NotDone | Crashed


class Lane(Protocol):
    """Jobs that wait for one another: on the GPU thread, in one batch, or in one async handler.

    Attributes:
        handlers: the paths of the handlers whose jobs they are.
        has_workers: whether they run in worker processes, so that the server survives them.

    """

    handlers: Sequence[str]
    has_workers: bool

    def room(self, waiting: int, claimed: int, quiet: float) -> int:
        """Return how many more jobs may be claimed.

        Args:
            waiting: how many of the claimed jobs have not begun.
            claimed: how many jobs are claimed and have no outcome yet.
            quiet: seconds since a job last began or had its outcome.

        """

    def memory(self, job: "StoredJob") -> int:
        """Return how many bytes the input of a claimed job takes in memory."""


class Work(Protocol):
    """Runs jobs.

    Attributes:
        lanes: the jobs that it runs, by what they wait for.

    """

    lanes: Sequence[Lane]

    async def run(self, attempt: "Attempt") -> Outcome:
        """Run a job and return its outcome; never raise because of the handler."""


class AttemptObserver(Protocol):
    """Is told of each attempt. It must not block and must not raise."""

    def attempted(self, attempt: "Attempt", status: Status, error: bytes | None) -> None:
        """Note that an attempt has ended and that its outcome is stored.

        Args:
            attempt: the attempt, with its times.
            status: that of the job now: queued if it will be tried again.
            error: the problem document of an attempt that did not succeed; None if it did, or if
                the server stopped before its end.

        """


def status_after(outcome: Outcome, *, is_cancelled: bool, is_queued: bool) -> Status:
    """Return the status of a job after an attempt with this outcome.

    Args:
        outcome: that of the attempt.
        is_cancelled: whether somebody has asked to end the job early.
        is_queued: whether it will be tried again.

    """
    if isinstance(outcome, Done):
        return Status.SUCCEEDED
    if isinstance(outcome, Cancelled) or is_cancelled:
        return Status.CANCELLED
    return Status.QUEUED if is_queued else Status.FAILED
