"""A small HTTP proxy on a real socket."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

__all__ = ["Proxy", "proxying"]


class Proxy:
    """Passes requests on, or connects to their receivers; or answers all with ``refusal``."""

    def __init__(self) -> None:
        self.refusal = b""
        self.port = 0
        self.heads: list[str] = []
        self._serving: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"http://user:hunter2@127.0.0.1:{self.port}"

    @property
    def targets(self) -> list[str]:
        return [" ".join(head.split(" ", 2)[:2]) for head in self.heads]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        with suppress(asyncio.CancelledError, asyncio.IncompleteReadError, ConnectionError):
            head = await reader.readuntil(b"\r\n\r\n")
            self.heads.append(head.decode())
            method, target, *_ = head.decode().split(" ")
            if self.refusal:
                writer.write(self.refusal)
                await writer.drain()
            elif method == "CONNECT":
                host, _, port = target.rpartition(":")
                there = await asyncio.open_connection(host, int(port))
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                await self._join(reader, writer, *there)
            else:
                host, _, path = target.removeprefix("http://").partition("/")
                name, _, port = host.partition(":")
                there = await asyncio.open_connection(name, int(port))
                there[1].write(head.replace(target.encode(), b"/" + path.encode(), 1))
                await self._join(reader, writer, *there)
        self._serving.remove(task)
        writer.close()

    async def _join(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        other_reader: asyncio.StreamReader,
        other_writer: asyncio.StreamWriter,
    ) -> None:
        try:
            await asyncio.gather(_copy(reader, other_writer), _copy(other_reader, writer))
        finally:
            other_writer.close()

    async def close(self) -> None:
        """Disconnect everybody."""
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


@asynccontextmanager
async def proxying() -> AsyncIterator[Proxy]:
    """Run a proxy on a port of its own."""
    proxy = Proxy()
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        await proxy.close()
