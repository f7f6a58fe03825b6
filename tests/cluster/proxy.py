"""A proxy between a server and its database, for what a network does."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

__all__ = ["Proxy", "proxying"]

PIECE = 64 * 1024  # bytes
COMMIT = b"COMMIT"


class Proxy:
    """Listens on a port of its own, and passes everything on to the socket of a database.

    Attributes:
        port: where it listens.
        cuts: how many commits it has cut off from their answers, or from the database.

    """

    def __init__(self, database: Path) -> None:
        self.port = 0
        self.cuts = 0
        self._database = database
        self._wanted: list[bool] = []  # for each commit to cut: whether the database gets it
        self._loop = asyncio.new_event_loop()
        self._passes = asyncio.Event()
        self._passes.set()
        self._tasks: set[asyncio.Task[None]] = set()

    def cut_commits(self, *is_sent: bool) -> None:
        """Cut the connections of the next commits.

        Args:
            is_sent: for each of them, whether the database gets it, so that only its answer is
                lost.

        """
        self._call(lambda: self._wanted.extend(is_sent))

    def cut_no_more(self) -> None:
        """Let commits pass again."""
        self._call(self._wanted.clear)

    def swallow(self) -> None:
        """Hold everything back, both ways, and answer nobody who connects."""
        self._call(self._passes.clear)

    def pass_on(self) -> None:
        """Pass on again, also what was held back."""
        self._call(self._passes.set)

    def run(self, started: threading.Event) -> None:
        """Pass on until ``stop``; on a thread of its own."""
        asyncio.set_event_loop(self._loop)

        async def main() -> None:
            server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
            self.port = server.sockets[0].getsockname()[1]
            self._stopped = asyncio.Event()
            started.set()
            await self._stopped.wait()
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

        self._loop.run_until_complete(main())
        self._loop.close()

    def stop(self) -> None:
        """Close all connections."""
        self._call(self._stopped.set)

    def _call(self, call: Callable[[], object]) -> None:
        self._loop.call_soon_threadsafe(call)

    async def _connected(self, up: asyncio.StreamReader, down: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        writers = [down]
        try:
            await self._passes.wait()
            answers, asks = await asyncio.open_unix_connection(self._database)
            writers.append(asks)
            is_cut = asyncio.Event()
            ways: list[Coroutine[Any, Any, None]] = [
                self._ask(up, asks, is_cut),
                self._answer(answers, down, is_cut),
            ]
            tasks = [asyncio.create_task(way) for way in ways]
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for one in tasks:
                    one.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        except (OSError, asyncio.CancelledError):  # the database is away, or the test is over
            pass
        finally:
            self._tasks.discard(task)
            for writer in writers:
                writer.close()

    async def _ask(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, is_cut: asyncio.Event
    ) -> None:
        with suppress(OSError):
            while piece := await source.read(PIECE):
                await self._passes.wait()
                if self._wanted and COMMIT in piece:
                    self.cuts += 1
                    if not self._wanted.pop(0):
                        return
                    is_cut.set()
                sink.write(piece)
                await sink.drain()

    async def _answer(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, is_cut: asyncio.Event
    ) -> None:
        with suppress(OSError):
            while piece := await source.read(PIECE):
                await self._passes.wait()
                if is_cut.is_set():
                    return  # the commit has happened, or has failed
                sink.write(piece)
                await sink.drain()


@contextmanager
def proxying(database: Path) -> Iterator[Proxy]:
    """Run a proxy until the context exits.

    Args:
        database: its Unix socket.

    """
    proxy, started = Proxy(database), threading.Event()
    thread = threading.Thread(target=proxy.run, args=[started], name="proxy")
    thread.start()
    started.wait()
    try:
        yield proxy
    finally:
        proxy.stop()
        thread.join()
