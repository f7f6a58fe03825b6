"""The store that ``Jobs`` names."""

from typing import cast

from potassium.config import Jobs, Webhooks
from potassium.errors import UsageError
from potassium.jobs.store import JobStore

__all__ = ["new_store"]


def new_store(options: Jobs, webhooks: Webhooks, app: str) -> JobStore:
    """Return the store of background jobs, which is not open yet.

    Args:
        options: say where jobs are stored.
        webhooks: bounds the deliveries that are kept in memory.
        app: the name of the app, for others that want the same place.

    Raises:
        UsageError: a library is missing, or the URL of a database is invalid.

    """
    if options.store is not None:
        return cast("JobStore", options.store)
    if options.url is not None:
        try:
            from potassium.jobs.postgres.store import PostgresStore  # noqa: PLC0415 - an extra
        except ImportError as error:
            raise UsageError(
                'Jobs(url=...) needs psycopg: pip install "potassium[postgres]"'
            ) from error
        return PostgresStore(options.url, options, app=app)
    if options.path is not None:
        from potassium.jobs.sqlite.store import SqliteStore  # noqa: PLC0415 - an extra

        return SqliteStore(options.path, options, app=app)
    from potassium.jobs.memory_store import MemoryStore  # noqa: PLC0415 - not for all

    return MemoryStore(options, webhooks=webhooks)
