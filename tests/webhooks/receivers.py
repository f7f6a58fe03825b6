"""Receivers of webhooks on real sockets."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

__all__ = ["GONE", "OK", "Received", "Receiver", "answering", "receiving"]


def answering(status: int, *headers: str) -> bytes:
    """Return an answer without a body."""
    lines = [f"HTTP/1.1 {status} Some", "Content-Length: 0", *headers, "", ""]
    return "\r\n".join(lines).encode()


OK = answering(200)
GONE = answering(410)


@dataclass(frozen=True)
class Received:
    """One request, with the names of its headers in lower case."""

    line: str
    headers: dict[str, str]
    body: bytes
    connection: int


class Receiver:
    """Answers each request with ``answer`` once ``go`` is set, and then repeats ``endless``."""

    def __init__(self) -> None:
        self.answer = OK
        self.endless = b""  # sent over and over after the answer, until the client leaves
        self.pause = 0.0  # seconds between two of them
        self.sent = 0  # bytes of ``endless``
        self.requests: list[Received] = []
        self.connections = 0
        self.go = asyncio.Event()
        self.go.set()
        self.arrived = asyncio.Semaphore(0)
        self.left = asyncio.Event()
        self.port = 0
        self._serving: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/done"

    async def next(self) -> Received:
        async with asyncio.timeout(5):
            await self.arrived.acquire()
        return self.requests[-1]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        number = self.connections
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        with suppress(
            asyncio.CancelledError, asyncio.IncompleteReadError, ConnectionError, ssl.SSLError
        ):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                line, *lines = head.decode().strip().split("\r\n")
                pairs = (line.split(": ", 1) for line in lines)
                headers = {name.lower(): value for name, value in pairs}
                body = await reader.readexactly(int(headers["content-length"]))
                self.requests.append(Received(line, headers, body, number))
                self.arrived.release()
                await self.go.wait()
                if not self.answer:
                    break
                writer.write(self.answer)
                while self.endless:
                    writer.write(self.endless)
                    await writer.drain()
                    self.sent += len(self.endless)
                    await asyncio.sleep(self.pause)
        self.left.set()
        self._serving.remove(task)
        writer.close()
        with suppress(asyncio.CancelledError, OSError):
            await writer.wait_closed()

    async def close(self) -> None:
        """Disconnect the clients that are still there."""
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)


@asynccontextmanager
async def receiving(context: ssl.SSLContext | None = None) -> AsyncIterator[Receiver]:
    """Run a receiver on a port of its own."""
    receiver = Receiver()
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0, ssl=context)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
        await receiver.close()
