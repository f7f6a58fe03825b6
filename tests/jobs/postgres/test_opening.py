"""Opening the store: what makes it ready, and what is said if that is not possible."""

import asyncio
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from support import postgres
from support.jobs import new_job
from support.postgres import Postgres
from support.postgres_servers import Servers

from potassium import Potassium
from potassium.config import Jobs
from potassium.errors import UsageError
from potassium.jobs.postgres import database, schema
from potassium.jobs.postgres.store import PostgresStore

SECRET = "s3cret-word"  # noqa: S105 - of a database of the tests


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "OPEN_TIME", 0.0)


@pytest.fixture(scope="module")
def strict() -> Iterator[Postgres]:
    """A server that wants passwords."""
    with postgres.running("fsync=off", "shared_buffers=16MB") as server:
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute(f"CREATE ROLE guest LOGIN PASSWORD '{SECRET}'")
        rules = "local all tests trust\nlocal all all scram-sha-256\n"
        (server.folder / "data" / "pg_hba.conf").write_text(rules)
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute("SELECT pg_reload_conf()")
        yield server


async def refusal(url: str, **options: Any) -> str:
    """Return what is said when a store is opened that cannot be used."""
    given = Jobs(**{"url": url, "schema": "refused", **options})
    with pytest.raises(UsageError) as caught:
        await PostgresStore(url, given).open()
    shown: BaseException | None = caught.value
    while shown is not None:  # what a traceback shows
        assert SECRET not in str(shown)
        shown = shown.__cause__ or (None if shown.__suppress_context__ else shown.__context__)
    return str(caught.value)


def as_guest(server: Postgres, password: str = SECRET, database: str = "postgres") -> str:
    return f"postgresql://guest:{password}@/{database}?host={server.folder}"


async def test_a_wrong_password_is_said_at_once(
    strict: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The password of a user does not become right by waiting."""
    monkeypatch.setattr(database, "OPEN_TIME", 60.0)
    said = await refusal(as_guest(strict, f"not-{SECRET}"))
    assert "password authentication failed" in said


async def test_a_database_that_does_not_exist_is_said_at_once(
    strict: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "OPEN_TIME", 60.0)
    assert '"nowhere" does not exist' in await refusal(as_guest(strict, database="nowhere"))


async def test_a_user_who_may_not_create_the_schema_learns_what_to_run(strict: Postgres) -> None:
    """Whoever may can do it once; the tables are created by the user."""
    said = await refusal(as_guest(strict), schema="closed")
    assert "permission denied" in said
    (commands,) = re.findall("run: (.*)", said)
    assert commands.startswith('CREATE SCHEMA IF NOT EXISTS "closed"')
    with psycopg.connect(strict.url, autocommit=True) as connection:
        connection.execute(commands.encode())
    store = PostgresStore(as_guest(strict), Jobs(url=as_guest(strict), schema="closed"))
    await store.open()
    await store.close()


async def test_a_database_that_is_not_there_is_waited_for(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """For a while, and the log says so once; then the app does not start."""
    monkeypatch.setattr(database, "OPEN_TIME", 0.1)
    monkeypatch.setattr(database, "AGAIN", 0.01)
    url = f"postgresql://guest:{SECRET}@/postgres?host={tmp_path}"
    assert "cannot be used for jobs" in await refusal(url)
    assert len([one for one in caplog.records if "not up yet" in one.message]) == 1
    assert SECRET not in caplog.text


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://me:{SECRET}/x@nowhere/db",
        f"postgresql://me:1/{SECRET}@nowhere/db",
        f"postgresql://me:x@{SECRET}@nowhere/db",
        f"postgresql://me:{SECRET}%zz@nowhere/db",
        f"postgresql://me:{SECRET}%00@nowhere/db",
        f"postgresql://nowhere/db?password={SECRET}%zz",
    ],
)
async def test_a_password_that_is_not_encoded_is_not_shown(url: str) -> None:
    """It would be taken for a part of the host or the port, which messages show."""
    assert "%40" in await refusal(url)


async def test_an_old_server_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "OLDEST", 10_000_000)
    said = await refusal(postgres.server().url)
    assert re.search(r"needs PostgreSQL 14 or newer; this is \d\d", said)


async def test_another_encoding_is_refused() -> None:
    """It could not hold every text."""
    with psycopg.connect(postgres.server().url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE old ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    assert "UTF8, not LATIN1" in await refusal(
        f"postgresql://tests@/old?host={postgres.server().folder}"
    )


async def test_a_newer_schema_is_refused(servers: Servers) -> None:
    """Another server may have migrated it."""
    await servers.one()
    await servers.sql("UPDATE potassium SET version = version + 1")
    said = await refusal(str(servers.options.url), schema=servers.options.schema)
    assert "newer version of Potassium" in said


async def test_a_schema_of_something_else_is_left_alone(servers: Servers) -> None:
    url, name = str(servers.options.url), servers.options.schema
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f'CREATE SCHEMA "{name}"')
        connection.execute(f'CREATE TABLE "{name}".jobs (mine int)')
    assert "choose another one: Jobs(schema=...)" in await refusal(url, schema=name)
    with psycopg.connect(url) as connection:
        tables = connection.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = %s", (name,)
        ).fetchall()
    assert tables == [("jobs",)]


async def test_a_database_that_cannot_be_written_is_refused(servers: Servers) -> None:
    """A standby, for instance."""
    await servers.one()
    url = f"{servers.options.url}&options=-c%20default_transaction_read_only%3Don"
    assert "read-only" in await refusal(url, schema=servers.options.schema)


async def test_a_schema_may_have_the_name_of_a_word_of_sql(servers: Servers) -> None:
    url = str(servers.options.url)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute('DROP SCHEMA IF EXISTS "order" CASCADE')
    store = PostgresStore(url, Jobs(url=url, schema="order"))
    await store.open()
    await store.submit(job := new_job())
    assert await store.get(job.id)
    await store.close()


async def test_what_the_url_says_is_kept(servers: Servers) -> None:
    """Settings of one's own beside ours."""
    store = await servers.one(f"{servers.options.url}&options=-c%20geqo%3Doff&connect_timeout=7")
    rows = await store._rows(b"SELECT current_setting('geqo') AS geqo")
    assert rows[0]["geqo"] == "off"


async def test_servers_that_start_at_once_create_the_tables_once(servers: Servers) -> None:
    stores = await asyncio.gather(*(servers.one() for _ in range(4)))
    await asyncio.gather(*(store.submit(new_job()) for store in stores))
    assert len(await stores[0].find(limit=9)) == 4
    assert await servers.sql("SELECT version FROM potassium") == [
        {"version": len(schema.MIGRATIONS)}
    ]


@pytest.fixture
def without_psycopg(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("potassium.jobs.postgres")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "psycopg", None)


@pytest.mark.usefixtures("without_psycopg")
async def test_without_psycopg_the_message_says_what_to_install() -> None:
    """Not a ModuleNotFoundError in the middle of a start."""
    app = Potassium("test", jobs=Jobs(url="postgresql://nowhere/db"))
    app.background("/train")(lambda cache, json_in: json_in)
    with pytest.raises(UsageError, match=r'pip install "potassium\[postgres\]"'):
        async with app.lifespan():
            pass


def test_an_app_without_a_url_does_not_import_psycopg() -> None:
    """What is optional costs nothing where it is off."""
    code = """
import asyncio, sys
from potassium import Jobs, Potassium
app = Potassium("test", jobs=Jobs(path=None))
app.background("/train")(lambda cache, json_in: json_in)
async def main():
    async with app.lifespan():
        pass
asyncio.run(main())
print([name for name in sys.modules if "psycopg" in name or "postgres" in name])
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
