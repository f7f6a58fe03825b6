"""Whether the database of background jobs can be reached, and used."""

from collections.abc import Iterable
from urllib.parse import urlsplit

from potassium.doctor.machine import Machine, ProgramError
from potassium.project.finding import Finding, ok, problem

__all__ = ["jobs"]

OLDEST = 140000  # the version of PostgreSQL

# The schema is created if it is missing.
QUERY = """
    SELECT current_setting('server_version_num')::int, current_setting('server_version'),
        pg_is_in_recovery(), current_database(), current_user, coalesce(
            has_schema_privilege(to_regnamespace(%s)::oid, 'CREATE'),
            has_database_privilege(current_database(), 'CREATE')
        )
"""


def jobs(machine: Machine) -> Iterable[Finding]:
    """Look at whether the database of background jobs lets us in, and is one that can be used."""
    options = machine.shared_jobs
    if options is None or options.url is None:
        return
    if machine.version("psycopg") is None:
        yield problem(
            "jobs",
            "Jobs(url=...) needs psycopg, which is not installed.",
            'pip install "potassium[postgres]"',
        )
        return
    place = _without_password(options.url)
    try:
        number, version, is_standby, database, user, may_create = machine.query(
            options.url, QUERY, [options.schema]
        )
    except ProgramError as error:
        yield problem("jobs", f"{place} cannot be used: {error}.", f'psql "{place}" -c "SELECT 1"')
        return
    if number < OLDEST:
        fix = "Name a newer database: Jobs(url=...)"
        yield problem("jobs", f"{place} is PostgreSQL {version}; 14 is the oldest.", fix)
    elif is_standby:
        fix = "Name the primary: Jobs(url=...), with target_session_attrs=read-write if it moves"
        yield problem("jobs", f"{place} is a standby, which cannot be written to.", fix)
    elif not may_create:
        fix = f'CREATE SCHEMA {options.schema} AUTHORIZATION "{user}"; as the owner of {database}'
        yield problem("jobs", f"{user} may not create tables at {place}.", fix)
    else:
        yield ok("jobs", f"{place} is PostgreSQL {version}")


def _without_password(url: str) -> str:
    """Return the URL of a database without what may be a secret."""
    parts = urlsplit(url)
    user, _, host = parts.netloc.rpartition("@")
    name = f"{user.partition(':')[0]}@" if user else ""
    query = "&".join(one for one in parts.query.split("&") if not one.startswith("password"))
    return parts._replace(netloc=name + host, query=query).geturl()
