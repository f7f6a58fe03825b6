"""A proxy in front of a PostgreSQL server, which can lose a connection at a chosen moment."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

__all__ = ["Proxy", "proxied"]

SOCKET = ".s.PGSQL.5432"
LANES = ("claims", "posts", "changes")


class _Link:
    """One connection, and the statements that were prepared on it."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.client = client
        self.server = server
        self.statements: dict[bytes, bytes] = {}
        self.lane = ""  # of the transaction that is about to be committed
        self.cuts_after_answer = False

    def cut(self) -> None:
        for writer in (self.client, self.server):
            writer.transport.abort()

    def query_of(self, kind: bytes, payload: bytes) -> bytes:
        """Return the text of the statement that a message is about to run, if it is one."""
        if kind == b"P":
            name, query, _ = payload.split(b"\0", 2)
            self.statements[name] = query
        if kind == b"B":
            _, name, _ = payload.split(b"\0", 2)
            return self.statements.get(name, b"")
        return b""


class Proxy:
    """Forwards connections to a server on a Unix socket.

    Attributes:
        cuts: where to lose the connection of the next commit of each lane: ``before`` the server
            hears of it, or ``after`` it has committed. If ``late``, only the client loses it, and
            the server hears of it when ``release`` is called; if ``half``, it never does.
        leaves_then: whether it goes away with the next commit that is lost.
        is_away: whether connections are refused.
        is_silent: whether nothing is forwarded, while connections stay open.
        is_deaf: whether notifications are dropped.

    """

    def __init__(self, target: Path) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="potassium-proxy-"))
        self.cuts: dict[str, str] = {}
        self.leaves_then = False
        self.is_away = False
        self.is_deaf = False
        self.has_cut: list[str] = []
        self._target = target / SOCKET
        self._links: set[_Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._late: list[tuple[_Link, bytes]] = []
        self._speaks = asyncio.Event()
        self._speaks.set()
        self._server: asyncio.Server

    @property
    def url(self) -> str:
        return f"postgresql://tests@/postgres?host={self.folder}"

    @property
    def is_silent(self) -> bool:
        return not self._speaks.is_set()

    async def open(self) -> None:
        self._server = await asyncio.start_unix_server(self._accept, self.folder / SOCKET)

    async def close(self) -> None:
        self._server.close()
        self.cut()
        for link, _ in self._late:
            link.cut()
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        with suppress(FileNotFoundError):
            (self.folder / SOCKET).unlink()
        self.folder.rmdir()

    def cut(self) -> None:
        """Lose all connections."""
        for link in self._links:
            link.cut()

    def go_away(self) -> None:
        """Lose all connections, and refuse new ones."""
        self.is_away = True
        self.cut()

    def _lose(self, link: _Link) -> None:
        link.cut()
        if self.leaves_then:
            self.leaves_then = False
            self.go_away()

    def be_silent(self) -> None:
        """Accept connections and bytes, and answer nothing."""
        self._speaks.clear()

    def come_back(self) -> None:
        """Forward everything again."""
        self.is_away = False
        self._speaks.set()

    def release(self) -> None:
        """Let the server hear of the commits that are late."""
        for link, rest in self._late:
            link.server.write(rest)
            link.server.write_eof()  # after which the server commits, and closes

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._forward(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _forward(
        self, from_client: asyncio.StreamReader, client: asyncio.StreamWriter
    ) -> None:
        if self.is_away:
            client.transport.abort()
            return
        try:
            await self._speaks.wait()
            from_server, server = await asyncio.open_unix_connection(self._target)
        except BaseException:
            client.transport.abort()
            raise
        link = _Link(client, server)
        if self.is_away:  # meanwhile
            link.cut()
            return
        self._links.add(link)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._to_server(from_client, link))
                group.create_task(self._to_client(from_server, link))
        except* (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self._links.discard(link)
            if not any(link is one for one, _ in self._late):
                link.cut()

    async def _to_server(self, reader: asyncio.StreamReader, link: _Link) -> None:
        size = await reader.readexactly(4)
        link.server.write(size + await reader.readexactly(int.from_bytes(size) - 4))
        while True:
            head = await reader.readexactly(5)
            payload = await reader.readexactly(int.from_bytes(head[1:]) - 4)
            await self._speaks.wait()
            query = link.query_of(head[:1], payload).strip()
            if query.startswith(b"INSERT INTO commits VALUES") and b"RETURNING" not in query:
                link.lane = next(lane for lane in LANES if lane.encode() in payload)
                if self.cuts.get(link.lane) == "late":
                    del self.cuts[link.lane]
                    self.has_cut.append(link.lane)
                    await asyncio.sleep(0.02)  # all that belongs to the commit is there
                    self._late.append((link, head + payload + await reader.read(65536)))
                    link.client.transport.abort()
                    return
            if query == b"COMMIT" and (cut := self.cuts.pop(link.lane, None)) is not None:
                self.has_cut.append(link.lane)
                if cut == "half":
                    self._late.append((link, b""))
                    link.client.transport.abort()
                    return
                if cut == "before":
                    self._lose(link)
                    return
                link.cuts_after_answer = True
            link.server.write(head + payload)
            await link.server.drain()

    async def _to_client(self, reader: asyncio.StreamReader, link: _Link) -> None:
        while True:
            head = await reader.readexactly(5)
            payload = await reader.readexactly(int.from_bytes(head[1:]) - 4)
            await self._speaks.wait()
            if link.cuts_after_answer and head[:1] == b"C" and payload == b"COMMIT\0":
                self._lose(link)
                return
            if self.is_deaf and head[:1] == b"A":
                continue
            link.client.write(head + payload)
            await link.client.drain()


@asynccontextmanager
async def proxied(target: Path) -> AsyncIterator[Proxy]:
    """Run a proxy in front of the server whose socket is in the folder ``target``."""
    proxy = Proxy(target)
    await proxy.open()
    try:
        yield proxy
    finally:
        await proxy.close()
