"""What the errors of psycopg mean for a store."""

import psycopg

from potassium.errors import StoreFailed

__all__ = [
    "failed",
    "fault_of",
    "is_of_the_connection",
    "is_of_the_database",
    "may_be_repeated",
]

# Classes of SQLSTATE (https://www.postgresql.org/docs/current/errcodes-appendix.html) that are not
# about what was asked, but about the state of the server.
OF_THE_SERVER = ("08", "25", "53", "55", "57", "58", "F0", "XX")
OF_THE_CONNECTION = ("08", "57P01", "57P02")  # lost, ended by somebody, lost in a crash
CONFLICTS = "40"  # of transactions; one of them can simply be repeated

SHOWN = {
    "25006": "the database is read-only",
    "53100": "the disk of the database is full",
    "53300": "the database has no connection left",
    "57P03": "the database is starting or stopping",
}


def is_of_the_database(error: BaseException) -> bool:
    """Return whether the database would refuse everything else now, too."""
    if not isinstance(error, psycopg.Error):
        return isinstance(error, OSError)  # which includes TimeoutError
    if isinstance(error, psycopg.errors.PipelineAborted):
        return False  # something before it in the same pipeline was wrong
    if error.sqlstate is None:
        return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    return error.sqlstate.startswith(OF_THE_SERVER)


def is_of_the_connection(error: BaseException) -> bool:
    """Return whether another connection may work."""
    if not is_of_the_database(error) or not isinstance(error, psycopg.Error):
        return False
    return error.sqlstate is None or error.sqlstate.startswith(OF_THE_CONNECTION)


def may_be_repeated(error: BaseException) -> bool:
    """Return whether a transaction has failed only because of another one."""
    return isinstance(error, psycopg.Error) and (error.sqlstate or "").startswith(CONFLICTS)


def fault_of(error: BaseException) -> str:
    """Return what is wrong, without any address: everybody may ask for it."""
    if isinstance(error, TimeoutError):
        return "the database does not answer"
    state = error.sqlstate if isinstance(error, psycopg.Error) else None
    if state is None:
        return "the database cannot be reached"
    return SHOWN.get(state, f"the database fails (SQLSTATE {state})")


def failed(cause: BaseException | None = None) -> StoreFailed:
    """Return the error for whoever wanted something of the store."""
    error = StoreFailed("Background jobs cannot be stored or read at the moment.")
    error.__cause__ = cause
    return error
