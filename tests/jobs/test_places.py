"""Which store ``Jobs`` names."""

import sys
from pathlib import Path

import pytest
from support.own_store import OwnStore

from potassium import Jobs, Potassium, UsageError, Webhooks
from potassium.jobs.memory_store import MemoryStore
from potassium.jobs.postgres.store import PostgresStore
from potassium.jobs.sqlite.store import SqliteStore
from potassium.jobs.stores import new_store
from potassium.testing import client

URL = "postgresql://app:secret@127.0.0.1:9/models"


def test_a_store_is_named_by_one_option(tmp_path: Path) -> None:
    """By its path, its URL, or itself; by none, it is memory."""
    own = OwnStore()
    for jobs, kind in (
        (Jobs(path=tmp_path / "jobs.db"), SqliteStore),
        (Jobs(path=None), MemoryStore),
        (Jobs(url=URL), PostgresStore),
        (Jobs(store=own), OwnStore),
    ):
        assert type(new_store(jobs, Webhooks(), "test")) is kind
    assert new_store(Jobs(store=own), Webhooks(), "test") is own


async def test_a_missing_driver_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the app starts, with what to type."""
    monkeypatch.setitem(sys.modules, "potassium.jobs.postgres.store", None)
    app = Potassium("test", jobs=Jobs(url=URL))
    app.background("/train")(lambda cache, json_in: json_in)
    with pytest.raises(UsageError, match=r'pip install "potassium\[postgres\]"'):
        async with client(app):
            pass
