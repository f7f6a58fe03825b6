"""The calls that a worker has, as the front knows them."""

from collections.abc import Iterable
from dataclasses import dataclass

from potassium.engine import Job
from potassium.workers.page import Page

__all__ = ["Given", "Remains"]

MOST_OVERTAKERS = 8  # of a call that another worker has prepared


@dataclass(slots=True, eq=False)
class Given:
    """A call that a worker has.

    Attributes:
        job: the call.
        number: its number there.
        slot: its byte in the shared page; None while it is only prepared.
        group: the number of its group; None while it is only prepared.
        since: when the worker was given it, or its group.
        untold: how many bytes its reader has taken that the worker does not know of.
        overtakers: how many later calls went before it that other workers had prepared.

    """

    job: Job
    number: int
    slot: int | None
    since: float
    group: int | None = None
    untold: int = 0
    overtakers: int = 0

    def may_be_overtaken(self) -> bool:
        """Return whether one more later call may go before it; count that one."""
        self.overtakers += 1
        return self.overtakers <= MOST_OVERTAKERS


@dataclass(slots=True)
class Remains:
    """What a worker that has died has left behind.

    Attributes:
        begun: the calls that it had begun, in their order.
        not_begun: those that it had been given and not begun; another worker can run them.
        unprepared: those that it was preparing.

    """

    begun: list[Job]
    not_begun: list[Job]
    unprepared: list[Job]

    @classmethod
    def of(cls, calls: Iterable[Given], page: Page) -> "Remains":
        """Return what the calls of a dead worker are, by what its page says of them."""
        remains = cls([], [], [])
        for given in sorted(calls, key=lambda one: one.job.rank):
            given.job.interrupt = None
            if given.group is None:
                kind = remains.not_begun if given.job.is_queued else remains.unprepared
            else:
                has_begun = given.slot is not None and page.has_begun(given.slot)
                kind = remains.begun if has_begun else remains.not_begun
            kind.append(given.job)
        return remains
