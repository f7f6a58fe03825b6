"""Where background jobs are stored, for how long and how many, and how often they are attempted."""

from dataclasses import dataclass
from os import PathLike

from potassium.config.checks import check_count, check_seconds
from potassium.errors import UsageError

__all__ = ["Jobs"]

LARGEST_OUTPUT = 500_000_000  # bytes; SQLite takes less than twice as many


@dataclass(frozen=True, kw_only=True)
class Jobs:
    """Where background jobs are stored, for how long, and how often they are attempted.

    Attributes:
        path: the SQLite file, relative to the working directory; a missing folder is created. Only
            one process at a time may have it open. Inputs of more than 1 MiB are files of their own
            in a folder beside it, whose name ends in ``-files``. None keeps jobs in memory, where
            they are lost when the process ends.
        keep_for: seconds for which ended jobs are kept.
        expire_after: seconds after which a job that has not begun expires; None for never.
        attempts: maximum number of attempts at a job that fails, including the first.
            ``@app.background(attempts=...)`` and ``@app.handler(attempts=...)`` override it.
        backoff: seconds from the first failure to the next attempt; doubles after each further one.
        max_queued: maximum number of queued jobs; more are refused with 503 ``store_full``.
        max_bytes: maximum bytes that jobs take in the store; more are refused with 503
            ``store_full``. An input counts until its job has succeeded, was cancelled or has
            expired, a result until its job is deleted. At twice this size, no more jobs begin until
            ended ones have been deleted.
        max_output: maximum bytes of a job's output, and of its events; a job with more output
            fails.
        max_watchers: maximum number of clients that wait for jobs or follow their events at the
            same time. Beyond it, ``Prefer: wait`` is answered at once, and events are refused with
            503 ``too_many_watchers``.

    Raises:
        UsageError: a value is invalid.

    """

    path: str | PathLike[str] | None = ".potassium/jobs.db"
    keep_for: float = 24 * 60 * 60.0
    expire_after: float | None = None
    attempts: int = 1
    backoff: float = 1.0
    max_queued: int = 100_000
    max_bytes: int = 1024 * 1024 * 1024
    max_output: int = 64 * 1024 * 1024
    max_watchers: int = 1000

    def __post_init__(self) -> None:
        """Check every value."""
        if not isinstance(self.path, str | PathLike | None) or self.path == "":
            raise UsageError(f"path={self.path!r} must be the name of a file, or None.")
        check_seconds("keep_for", self.keep_for)
        if self.expire_after is not None:
            check_seconds("expire_after", self.expire_after)
        check_count("attempts", self.attempts)
        check_seconds("backoff", self.backoff)
        for name in ("max_queued", "max_bytes", "max_output", "max_watchers"):
            check_count(name, getattr(self, name))
        if self.max_output > LARGEST_OUTPUT:
            raise UsageError(f"max_output={self.max_output} must be {LARGEST_OUTPUT} at most.")
