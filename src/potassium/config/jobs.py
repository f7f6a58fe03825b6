"""Where background jobs are stored, for how long, and how often they are attempted."""

from dataclasses import dataclass

from potassium.config.checks import check_count, check_seconds
from potassium.errors import UsageError

__all__ = ["Jobs"]


@dataclass(frozen=True, kw_only=True)
class Jobs:
    """Where background jobs are stored, for how long, and how often they are attempted.

    Attributes:
        path: the SQLite file, relative to the working directory; a missing folder is created. Only
            one process at a time may have it open. None keeps jobs in memory, where they are lost
            when the process ends.
        keep_for: seconds for which ended jobs are kept.
        expire_after: seconds after which a job that has not begun expires; None for never.
        attempts: maximum number of attempts at a job that fails, including the first.
            ``@app.background(attempts=...)`` and ``@app.handler(attempts=...)`` override it.
        backoff: seconds from the first failure to the next attempt; doubled for each further one.
        max_watchers: maximum number of clients that wait for jobs or follow their events at a
            time. More are answered at once, or refused with 503 ``too_many_watchers``.

    Raises:
        UsageError: a value is invalid.

    """

    path: str | None = ".potassium/jobs.db"
    keep_for: float = 24 * 60 * 60.0
    expire_after: float | None = None
    attempts: int = 1
    backoff: float = 1.0
    max_watchers: int = 1000

    def __post_init__(self) -> None:
        """Check every value."""
        if self.path is not None and (not isinstance(self.path, str) or not self.path):
            raise UsageError(f"path={self.path!r} must be the name of a file, or None.")
        check_seconds("keep_for", self.keep_for)
        if self.expire_after is not None:
            check_seconds("expire_after", self.expire_after)
        check_count("attempts", self.attempts)
        check_seconds("backoff", self.backoff)
        check_count("max_watchers", self.max_watchers)
