"""The stores keep what every store promises; see ``potassium.testing.job_store``."""

from pathlib import Path

import pytest
from support import postgres

from potassium.jobs import DeliveryStore, JobStore
from potassium.jobs.memory_store import MemoryStore
from potassium.jobs.postgres.store import PostgresStore
from potassium.jobs.sqlite.store import SqliteStore
from potassium.testing.job_store import (
    DeliveryStoreSuite,
    DurableStoreSuite,
    JobStoreSuite,
    SharedStoreSuite,
)
from potassium.webhooks.memory_store import MemoryDeliveries

LEASE = 0.5  # seconds; some tests wait for its end


class TestMemoryStore(JobStoreSuite):
    def new_store(self) -> JobStore:
        return MemoryStore()


class TestMemoryDeliveries(DeliveryStoreSuite):
    @pytest.fixture
    def deliveries(self) -> DeliveryStore:
        return MemoryDeliveries()


class TestSqliteStore(JobStoreSuite, DurableStoreSuite):
    @pytest.fixture(autouse=True)
    def place(self, tmp_path: Path) -> None:
        self.path = tmp_path / "jobs.db"

    def new_store(self) -> JobStore:
        return SqliteStore(self.path)


class TestPostgresStore(JobStoreSuite, DurableStoreSuite, SharedStoreSuite):
    @pytest.fixture(autouse=True)
    def place(self) -> None:
        self.options = postgres.jobs(lease=LEASE)

    def new_store(self) -> JobStore:
        return PostgresStore(str(self.options.url), self.options)

    async def die(self, store: JobStore) -> None:
        assert isinstance(store, PostgresStore)
        assert store._server._task is not None
        store._server._task.cancel()
