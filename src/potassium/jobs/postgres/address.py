"""Where the database is, and what is wrong if it cannot be used."""

import re
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from potassium.errors import UsageError

__all__ = ["Address", "may_come_up"]

CONNECT_TIME = 5  # seconds to connect to one host
DEFAULTS = {
    "connect_timeout": CONNECT_TIME,
    "tcp_user_timeout": 10_000,  # milliseconds
    "keepalives_idle": 30,
}

# What the server does for a connection; it notices within half a minute that the client is gone.
SETTINGS = {
    "client_min_messages": "warning",
    "tcp_keepalives_idle": 10,  # seconds
    "tcp_keepalives_interval": 5,
    "tcp_keepalives_count": 3,
    "tcp_user_timeout": 10_000,  # milliseconds
}

# Of the errors of the server when one connects, psycopg tells only the text. In other languages
# than English, they are taken for those of a server that is about to start.
FOR_GOOD = ("does not exist", "authentication failed", "pg_hba.conf", "not permitted", "SSL")

INVALID = (
    "url= of Jobs must be postgresql://user:password@host:port/database; in the user and the "
    "password, write : as %3A, / as %2F, @ as %40 and % as %25."
)


class Address:
    """The URL of a database; nothing that it says of it shows its password.

    Args:
        url: as libpq takes it; see
            https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-URIS.

    Raises:
        UsageError: it is invalid.

    """

    def __init__(self, url: str) -> None:
        try:
            self._given = conninfo_to_dict(url)
        except psycopg.ProgrammingError:
            raise UsageError(INVALID) from None  # its text shows a part of the password
        shown = f"{self._given.get('host', '')}{self._given.get('dbname', '')}"
        if "@" in shown or not re.fullmatch(r"[0-9,]*", str(self._given.get("port", ""))):
            raise UsageError(INVALID)

    def parameters(self, schema: str, name: str) -> dict[str, Any]:
        """Return how to connect, so that statements find the tables of ``schema``."""
        settings = {**SETTINGS, "search_path": schema}
        options = [
            str(self._given.get("options", "")),
            *(f"-c {setting}={value}" for setting, value in settings.items()),
        ]
        return {
            **DEFAULTS,
            **self._given,
            "application_name": name,
            "client_encoding": "utf8",
            "options": " ".join(options).strip(),
        }

    def refused(self, error: Exception, schema: str) -> UsageError:
        """Return what to say if the database cannot be used, because of ``error``."""
        why = str(error).strip().partition("\n")[0] or "it does not answer in time"
        password = str(self._given.get("password", ""))
        if password:
            why = why.replace(password, "***")
        hint = ""
        if isinstance(error, psycopg.errors.InsufficientPrivilege):
            hint = (
                f'; let a superuser run: CREATE SCHEMA IF NOT EXISTS "{schema}"; '
                f'GRANT ALL ON SCHEMA "{schema}" TO {self._given.get("user", "...")}'
            )
        elif isinstance(error, psycopg.ProgrammingError):
            hint = (
                f"; if the schema {schema} holds something else, choose another one: "
                "Jobs(schema=...)"
            )
        return UsageError(f"the PostgreSQL database cannot be used for jobs: {why}{hint}")


def may_come_up(error: Exception) -> bool:
    """Return whether it may help to wait: the database may be about to start."""
    if not isinstance(error, psycopg.Error):
        return True
    if not isinstance(error, psycopg.OperationalError):
        return False
    if error.sqlstate is not None:
        return error.sqlstate.startswith(("08", "57P"))
    return not any(text in str(error) for text in FOR_GOOD)
