"""Several servers that share one schema, and what may become of them."""

import asyncio
from collections.abc import Sequence
from typing import Any

from potassium.config import Jobs
from potassium.jobs.postgres.database import Connection, Database
from potassium.jobs.postgres.store import PostgresStore
from support import postgres

__all__ = ["Ear", "Servers", "eventually"]

LEASE = 1000.0  # seconds; it ends when a test says so, however slow the machine is


class Ear:
    """Hears what a store tells its listener."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Any]] = []
        self.has_heard = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        def tell(*args: Any, **options: Any) -> None:
            self.told.append((name, args[0] if args else options))
            self.has_heard.set()

        return tell

    async def hears(self, name: str, about: Any = None) -> None:
        """Wait until it is told so."""
        async with asyncio.timeout(10):
            while not any(name == one and about in (None, what) for one, what in self.told):
                self.has_heard.clear()
                await self.has_heard.wait()


class Servers:
    """Stores on one schema. Each has an ``Ear``."""

    def __init__(self, **options: Any) -> None:
        self.options = postgres.jobs(**{"lease": LEASE, **options})
        self._outside = Database(str(self.options.url), self.options.schema, "tests")
        self.opened: list[PostgresStore] = []
        self.ears: dict[PostgresStore, Ear] = {}

    async def one(self, url: str | None = None, **options: Any) -> PostgresStore:
        """Return another store, which is open."""
        given = {"lease": self.options.lease, "schema": self.options.schema, **options}
        url = url or str(self.options.url)
        store = PostgresStore(url, Jobs(url=url, **given))
        self.ears[store] = Ear()
        store.follow(self.ears[store])
        await store.open()
        self.opened.append(store)
        return store

    async def kill(self, store: PostgresStore) -> None:
        """End everything of a store at once, as if its process had been killed."""
        tasks = [
            store._server._task,
            store._news._task,
            None if store._group is None else store._group._task,
        ]
        store._database._connections.cut_all()
        await self.stop([task for task in tasks if task is not None])
        await store._database.close()
        self.opened.remove(store)
        await self.end_lease(store)

    async def freeze(self, store: PostgresStore) -> None:
        """Let a store stand still for longer than its lease."""
        assert store._server._task is not None
        await self.stop([store._server._task])
        await self.end_lease(store)

    def thaw(self, store: PostgresStore) -> None:
        """Let it go on."""
        store._server.start(store._beat)

    async def end_lease(self, *stores: PostgresStore) -> None:
        """Let the leases end of servers that do not renew them, while the others are in touch."""
        await self.sql(
            "UPDATE servers SET in_touch_since = in_touch_since - interval '2000 s',"
            " lease_until = lease_until"
            " - CASE WHEN id = ANY(%s) THEN interval '2000 s' ELSE '0' END",
            [store._server.id for store in stores],
        )

    async def stop(self, tasks: Sequence[asyncio.Task[Any]]) -> None:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    async def sql(self, statement: str, *values: Any) -> list[dict[str, Any]]:
        """Run a statement in the schema."""

        async def run(connection: Connection) -> list[dict[str, Any]]:
            cursor = await connection.execute(statement.encode(), values)
            return await cursor.fetchall() if cursor.description else []

        return await self._outside.attempt(run)

    async def close(self) -> None:
        async with asyncio.TaskGroup() as group:
            for store in self.opened:
                group.create_task(store.close())
        await self._outside.close()


async def eventually(ask: Any, seconds: float = 10.0) -> Any:
    """Return what ``ask`` returns as soon as that is true."""
    async with asyncio.timeout(seconds):
        while not (found := await ask()):  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.02)
    return found
