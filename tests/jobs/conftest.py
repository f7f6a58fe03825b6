"""The stores, which must all keep the same promises."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support import postgres

from potassium.jobs.memory_store import MemoryStore
from potassium.jobs.postgres.store import PostgresStore
from potassium.jobs.sqlite.store import SqliteStore
from potassium.jobs.store import JobStore


def new_postgres() -> PostgresStore:
    """Return a store with tables of its own, which is not open yet."""
    options = postgres.jobs()
    return PostgresStore(str(options.url), options)


@pytest.fixture(params=["memory", "sqlite", "postgres"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[JobStore]:
    store: JobStore = MemoryStore()
    if request.param == "sqlite":
        store = SqliteStore(tmp_path / "jobs.db")
    elif request.param == "postgres":
        store = new_postgres()
    await store.open()
    yield store
    await store.close()


@pytest.fixture
async def sqlite(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(tmp_path / "jobs.db")
    await store.open()
    yield store
    await store.close()
