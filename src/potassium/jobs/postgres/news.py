"""What servers tell one another about the store that they share.

Each transaction tells with one or a few notifications of PostgreSQL what it has changed; see
https://www.postgresql.org/docs/current/sql-notify.html. A server listens on a connection of its
own. Each also tells itself that it is there: if it does not hear that, it is deaf, perhaps because
of a pooler between it and the database, and looks at everything now and then.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence

import orjson
import psycopg

from potassium.jobs.model import NewJob
from potassium.jobs.postgres.changes import Change, Kind
from potassium.jobs.postgres.connections import close, cut
from potassium.jobs.postgres.database import Connection, Database
from potassium.jobs.postgres.servers import Server
from potassium.jobs.store import StoreListener

__all__ = ["News"]

NOTIFY = b"SELECT pg_notify(%s, %s)"
MOST_IDS = 150  # in one notification, which has 8000 bytes at most
RECONNECT = 1.0  # seconds
DEAF = 3  # times that a server may not hear itself
LISTEN_ANEW = 10  # times until it listens on another connection

logger = logging.getLogger("potassium.jobs")


class News:
    """Tells the other servers what changes, and hears from them. Belongs to the event loop.

    Args:
        database: carries the notifications.
        server: this server.

    """

    def __init__(self, database: Database, server: Server) -> None:
        self._database = database
        self._server = server
        self._channel = f"potassium_{database.schema}"
        self._listener: StoreListener | None = None
        self._task: asyncio.Task[None] | None = None
        self._connection: Connection | None = None
        self._unheard = 0
        self._is_told = False

    def follow(self, listener: StoreListener) -> None:
        """Tell ``listener`` from now on what others do."""
        self._listener = listener

    def start(self) -> None:
        """Begin to listen."""
        self._task = asyncio.create_task(self._listen_on(), name="potassium-jobs-news")

    async def close(self) -> None:
        """Stop listening."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def tell(
        self,
        connection: Connection,
        new: Sequence[NewJob],
        changes: Mapping[Kind, Sequence[Change]],
    ) -> None:
        """Tell the others about a transaction, if it is committed."""
        back = [*changes.get(Kind.PUT_BACK, ()), *changes.get(Kind.RETRY, ())]
        ended = changes.get(Kind.END, ())
        about: dict[str, object] = {}
        if new or back:
            about["queued"] = any(change.job.is_suspect for change in back)
        if any(change.deliveries for change in ended):
            about["posted"] = True
        events = [change for change in changes.get(Kind.NOTE, ()) if change.events]
        ids = [change.job.id for change in ended]
        other = [change.job.id for change in (*events, *back)]
        if not ids and not other:
            if about:
                await self._send(connection, about)
            return
        for some in _parts(ids):
            await self._send(connection, {**about, "ended": some})
            about = {}
        for some in _parts(other):
            await self._send(connection, {**about, "changed": some})
            about = {}

    async def tell_posted(self, connection: Connection) -> None:
        """Tell the others that there is a webhook to deliver."""
        await self._send(connection, {"posted": True})

    async def ask_to_end(self, connection: Connection, job_id: str) -> None:
        """Tell the others that a job should end early."""
        await self._send(connection, {"asked": [job_id]})

    async def ping(self) -> None:
        """Tell this server that it is there; if it does not hear itself, look at everything.

        Raises:
            StoreFailed: the database does not answer.

        """
        if self._unheard >= DEAF and self._listener is not None:
            if not self._is_told:
                self._is_told = True
                logger.warning(
                    "notifications of PostgreSQL do not arrive, so that this server learns of the "
                    "others only once a second. A pooler must be in session mode: connect to the "
                    "database directly."
                )
            self._listener.missed()
            if self._unheard % LISTEN_ANEW == 0 and self._connection is not None:
                cut(self._connection)  # it may be half open
        self._unheard += 1
        about = {"here": self._server.id}
        await self._database.read(lambda one: self._send(one, about), is_urgent=True)

    async def _send(self, connection: Connection, about: Mapping[str, object]) -> None:
        payload = orjson.dumps({**about, "from": self._server.id}).decode()
        await connection.execute(NOTIFY, (self._channel, payload))

    async def _listen_on(self) -> None:
        while True:
            try:
                await self._listen()
            except (psycopg.Error, OSError):  # whoever asks for something says what is wrong
                logger.debug("notifications of PostgreSQL are lost", exc_info=True)
            except Exception:  # whatever it is, it must not be the end of this task
                logger.exception("a notification of PostgreSQL was not understood")
            await asyncio.sleep(RECONNECT)

    async def _listen(self) -> None:
        connection = self._connection = await self._database.connect()
        try:
            await connection.execute(f'LISTEN "{self._channel}"'.encode())
            if self._listener is not None:
                self._listener.missed()  # until now, nobody listened
            async for notification in connection.notifies():
                self._heard(notification.payload)
        finally:
            self._connection = None
            await close(connection)

    def _heard(self, payload: str) -> None:
        try:
            about = orjson.loads(payload)
        except orjson.JSONDecodeError:
            return  # anybody may send something
        if not isinstance(about, dict):
            return
        is_own = about.get("from") == self._server.id
        if is_own:
            self._unheard, self._is_told = 0, False
        if self._listener is not None:
            _tell(self._listener, about, is_own=is_own)


def _tell(listener: StoreListener, about: Mapping[str, object], *, is_own: bool) -> None:
    """Tell a listener what one notification is about."""
    asked = about.get("asked")
    if isinstance(asked, list):
        listener.asked_to_end(asked)
    if is_own:
        return  # it knows
    if "queued" in about:
        listener.queued(suspects=bool(about["queued"]))
    if "posted" in about:
        listener.posted()
    for name, tell in (("ended", listener.ended), ("changed", listener.changed)):
        ids = about.get(name)
        if isinstance(ids, list):
            tell(ids)


def _parts(ids: Sequence[str]) -> Iterable[Sequence[str]]:
    return (ids[first : first + MOST_IDS] for first in range(0, len(ids), MOST_IDS))
