"""Send calls at a steady rate, whatever becomes of them; print one line of JSON.

Runs in its own process. A call takes an idle connection or opens one, so that calls without an
answer hold up no other. Latencies count from the moment when the call was due.
"""

import asyncio
import json
import sys
import time
from typing import cast

import uvloop

TIMEOUT = 5.0  # seconds for an answer

Call = tuple[float, float, int]  # when it was due, its latency, its status; 0 without an answer


class Client(asyncio.Protocol):
    """A connection for one call at a time."""

    def __init__(self, idle: list["Client"], calls: asyncio.Queue[Call]) -> None:
        self._idle = idle
        self._calls = calls
        self._due = 0.0
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are not subclasses

    def send(self, request: bytes, due: float) -> None:
        self._due = due
        self._transport.write(request)
        self._late = asyncio.get_running_loop().call_later(TIMEOUT, self._transport.abort)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, separator, body = self._received.partition(b"\r\n\r\n")
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r")[0]
        if separator and len(body) >= int(length):
            self._received = b""
            self._end(int(head.split()[1]))
            self._idle.append(self)

    def connection_lost(self, _: Exception | None) -> None:
        if self in self._idle:
            self._idle.remove(self)
        if self._due:
            self._end(0)

    def _end(self, status: int) -> None:
        self._calls.put_nowait((self._due, time.monotonic() - self._due, status))
        self._due = 0.0
        self._late.cancel()


async def main(port: int, path: str, body: str, rate: float, seconds: float) -> None:
    """Send ``rate`` calls a second for so many seconds; times are monotonic seconds."""
    loop = asyncio.get_running_loop()
    request = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body.encode())}\r\n\r\n{body}"
    ).encode()
    idle: list[Client] = []
    ended: asyncio.Queue[Call] = asyncio.Queue()
    sent: set[asyncio.Task[None]] = set()

    async def send(due: float) -> None:
        try:
            client = idle.pop() if idle else await connect()
        except OSError:  # a timeout is one, too
            ended.put_nowait((due, time.monotonic() - due, 0))
        else:
            client.send(request, due)

    async def connect() -> Client:
        async with asyncio.timeout(TIMEOUT):
            _, client = await loop.create_connection(lambda: Client(idle, ended), "127.0.0.1", port)
            return client

    began = time.monotonic()
    count = round(rate * seconds)
    for number in range(count):
        due = began + number / rate
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        task = loop.create_task(send(due))
        sent.add(task)
        task.add_done_callback(sent.discard)
    async with asyncio.timeout(2 * TIMEOUT):
        calls = [await ended.get() for _ in range(count)]
    sys.stdout.write(f"RESULT {json.dumps({'calls': calls})}\n")


if __name__ == "__main__":
    given = sys.argv[1:]
    uvloop.run(main(int(given[0]), given[1], given[2], float(given[3]), float(given[4])))
