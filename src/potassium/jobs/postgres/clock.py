"""The clock of a database, as far as a server knows it."""

from potassium.webhooks.steady_clock import SteadyClock

__all__ = ["DatabaseClock"]


class DatabaseClock(SteadyClock):
    """Seconds since the epoch by the clock of a database.

    All servers on it have the same time, give or take what an answer takes to arrive, and show the
    same times, whatever the walls say on their machines.
    """

    @property
    def offset(self) -> float:
        """How far the time that is shown is ahead of this clock."""
        return 0.0

    def follow(self, there: float, *, asked_at: float) -> None:
        """Set the clock by an answer, if it is certainly wrong.

        Args:
            there: what the clock of the database showed when it was asked.
            asked_at: what this one showed before. The database was asked between then and now;
                long before now, if the process has stood still.

        """
        now = self()
        earliest, latest = there, there + now - asked_at
        self.ahead += min(max(now, earliest), latest) - now
