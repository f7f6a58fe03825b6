"""A client of streams, in its own process, that counts chunks by their content.

HTTP chunks may be merged on their way. So each chunk ends in a mark that occurs nowhere else.
Before the mark stands the time of the yield, on the clock that all processes of a machine share.
"""

import asyncio
import json
import re
import sys
import time
from typing import cast

import uvloop

CHUNK = re.compile(rb"(\d+);")
END = b"0\r\n\r\n"
LIMIT = 120.0  # seconds for all streams


class Client(asyncio.Protocol):
    """One connection, one stream. Times are in nanoseconds on the monotonic clock."""

    def __init__(self, request: bytes, *, timed: bool) -> None:
        self._request = request
        self._timed = timed
        self._head = b""
        self._streaming = False
        self._rest = b""
        self.received = 0
        self.delays: list[int] = []
        self.first = self.last = 0
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are not subclasses

    def send(self) -> None:
        self.sent = time.monotonic_ns()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        now = time.monotonic_ns()
        if not self._streaming:
            self._head += data
            head, self._streaming, data = _partition(self._head)
            if self._streaming and not head.startswith(b"HTTP/1.1 200"):
                raise SystemExit((head + data).decode(errors="replace"))
        marks = data.count(b";") if self._streaming else 0
        if marks:
            self.first = self.first or now
            self.last = now
            self.received += marks
            if self._timed:
                whole, _, rest = data.rpartition(b";")
                yielded = CHUNK.findall(self._rest + whole + b";")
                self.delays += [now - int(time_) for time_ in yielded]
                self._rest = rest
        elif self._timed:
            self._rest += data
        if self._streaming and data.endswith(END) and not self.ended.done():
            self.ended.set_result(None)


def _partition(head: bytes) -> tuple[bytes, bool, bytes]:
    head, separator, data = head.partition(b"\r\n\r\n")
    return head, bool(separator), data


def request(body: str, accept: str, path: str) -> bytes:
    return (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: {accept}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


async def main(  # noqa: PLR0913, PLR0917 - what the command line says
    port: int, accept: str, streams: int, chunks: int, delay: float, path: str = "/"
) -> None:
    """Read ``streams`` streams at once and print one line of JSON; times are in seconds."""
    loop = asyncio.get_running_loop()
    bytes_ = request(json.dumps({"chunks": chunks, "delay": delay}), accept, path)
    clients = [
        (await loop.create_connection(lambda: Client(bytes_, timed=bool(delay)), "127.0.0.1", port))
        for _ in range(streams)
    ]
    began = time.monotonic_ns()
    for _, client in clients:
        client.send()
    async with asyncio.timeout(LIMIT):
        await asyncio.gather(*(client.ended for _, client in clients))
    for transport, client in clients:
        transport.abort()
        assert client.received == chunks, f"{client.received} of {chunks} chunks"
        assert len(client.delays) == (chunks if delay else 0)
    result = {
        "first": [(client.first - began) / 1e9 for _, client in clients],
        "last": [(client.last - began) / 1e9 for _, client in clients],
        "delays": [delay / 1e9 for _, client in clients for delay in client.delays],
    }
    sys.stdout.write(f"RESULT {json.dumps(result)}\n")


if __name__ == "__main__":
    port, accept, streams, chunks, delay, *path = sys.argv[1:]
    uvloop.run(main(int(port), accept, int(streams), int(chunks), float(delay), *path))
