"""Where background jobs are stored, for how long and how many, and how often they are attempted."""

import re
from dataclasses import dataclass, field
from os import PathLike

from potassium.config.checks import check_count, check_seconds
from potassium.errors import UsageError

__all__ = ["Jobs"]

DEFAULT_PATH = ".potassium/jobs.db"
LARGEST_OUTPUT = 500_000_000  # bytes; SQLite takes less than twice as many, and so does PostgreSQL
URL = re.compile(r"postgres(ql)?://\S+")
SCHEMA = re.compile(r"[a-z_][a-z0-9_]{0,40}")  # a name that needs no quotes


@dataclass(frozen=True, kw_only=True)
class Jobs:
    """Where background jobs are stored, for how long, and how often they are attempted.

    Attributes:
        path: the SQLite file, relative to the working directory; a missing folder is created. Only
            one process at a time may have it open. Inputs of more than 1 MiB are files of their own
            in a folder beside it, whose name ends in ``-files``. None keeps jobs in memory, where
            they are lost when the process ends. Not used if ``url`` or ``store`` is given.
        url: a PostgreSQL database, as ``postgresql://user:password@host/database``, which all
            servers of the app share. Needs ``pip install "potassium[postgres]"``.
        schema: the schema of that database that the tables are in; it is created if it is missing.
            Apps that are not the same need schemas of their own.
        lease: seconds after which another server takes up the jobs of one that has died or cannot
            reach the database any more. A server whose event loop stands still for longer loses
            its jobs, too.
        store: a store of your own, any ``potassium.jobs.JobStore``. It is opened and closed with
            the app.
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

    path: str | PathLike[str] | None = DEFAULT_PATH
    url: str | None = field(default=None, repr=False)  # it may contain a password
    schema: str = "potassium"
    lease: float = 30.0
    store: object | None = None
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
        self._check_place()
        check_seconds("keep_for", self.keep_for)
        check_seconds("lease", self.lease)
        if self.expire_after is not None:
            check_seconds("expire_after", self.expire_after)
        check_count("attempts", self.attempts)
        check_seconds("backoff", self.backoff)
        for name in ("max_queued", "max_bytes", "max_output", "max_watchers"):
            check_count(name, getattr(self, name))
        if self.max_output > LARGEST_OUTPUT:
            raise UsageError(f"max_output={self.max_output} must be {LARGEST_OUTPUT} at most.")

    @property
    def is_in_file(self) -> bool:
        """Whether jobs are stored in a file, which only one process at a time may have open."""
        return self.url is None and self.store is None and self.path is not None

    def _check_place(self) -> None:
        """Check that jobs have one place."""
        has_path = self.path != DEFAULT_PATH
        if has_path + (self.url is not None) + (self.store is not None) > 1:
            raise UsageError("Jobs takes one of path=, url= and store=.")
        if self.url is not None and not URL.fullmatch(self.url):
            raise UsageError(
                "url= must be that of a PostgreSQL database: postgresql://user@host/database."
            )
        if not SCHEMA.fullmatch(self.schema):
            raise UsageError(
                f"schema={self.schema!r} must consist of lower-case letters, digits and _."
            )
