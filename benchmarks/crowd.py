"""Many clients that keep calling, refused or not; overload.py runs this as its own process."""

import asyncio
import json
import random
import sys
import time
from dataclasses import dataclass, field
from typing import cast

import uvloop

BODY = b'{"x": 1.0}'
REQUEST = (
    b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(BODY), BODY)
)
# Refused clients come back after 0.5 to 1 s. That is far sooner than the Retry-After they are
# given, and 2 000 clients make some 2 700 tries per second, fifty for each place in the queue that
# becomes free.
THINK = 1.0  # seconds
AT_A_TIME = 100  # connections to open at a time: a server's backlog is finite


@dataclass
class Seen:
    """What the clients saw. Latencies are in seconds."""

    served: int = 0
    other: int = 0
    lost: int = 0
    refusals: list[float] = field(default_factory=list)
    open: bool = True


class Client(asyncio.Protocol):
    """A keep-alive connection that calls again: at once if served, and if refused, by ``manners``.

    ``patient`` clients come back after a while, ``polite`` ones after the time in ``Retry-After``,
    and ``restless`` ones at once.
    """

    def __init__(self, seen: Seen, manners: str, chance: random.Random) -> None:
        self._seen = seen
        self._manners = manners
        self._chance = chance
        self._loop = asyncio.get_running_loop()
        self._received = b""
        self._sent = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are not subclasses

    def connection_lost(self, _: Exception | None) -> None:
        self._seen.lost += self._seen.open

    def start(self) -> None:
        """Send the first call at a random moment within the think time."""
        if self._manners == "restless":
            self._send()
        else:
            self._loop.call_later(self._chance.uniform(0, THINK), self._send)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, separator, body = self._received.partition(b"\r\n\r\n")
        if not separator:
            return
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
        if len(body) < length:
            return
        self._received = b""
        if self._seen.open:
            self._note(head)

    def _note(self, head: bytes) -> None:
        if head.startswith(b"HTTP/1.1 200"):
            self._seen.served += 1
            self._send()
            return
        if head.startswith(b"HTTP/1.1 503"):
            self._seen.refusals.append(time.perf_counter() - self._sent)
        else:
            self._seen.other += 1
        if self._manners == "restless":
            self._send()
        elif self._manners == "polite":
            told = float(head.lower().partition(b"retry-after: ")[2].partition(b"\r")[0])
            self._loop.call_later(self._chance.uniform(told, told + THINK), self._send)
        else:
            self._loop.call_later(self._chance.uniform(THINK / 2, THINK), self._send)

    def _send(self) -> None:
        if not self._transport.is_closing():
            self._sent = time.perf_counter()
            self._transport.write(REQUEST)


async def main(port: int, connections: int, seconds: float, manners: str) -> None:
    """Connect, print one line, call for ``seconds``, and print one line of JSON."""
    loop = asyncio.get_running_loop()
    seen = Seen()
    chance = random.Random(1)  # noqa: S311 - jitter
    clients: list[tuple[asyncio.Transport, Client]] = []
    while len(clients) < connections:
        clients += await asyncio.gather(
            *(
                loop.create_connection(lambda: Client(seen, manners, chance), "127.0.0.1", port)
                for _ in range(min(AT_A_TIME, connections - len(clients)))
            )
        )
    print("CONNECTED", flush=True)
    started = time.perf_counter()
    for _, client in clients:
        client.start()
    await asyncio.sleep(seconds)
    seen.open = False
    result = {
        "seconds": time.perf_counter() - started,
        "served": seen.served,
        "other": seen.other,
        "lost": seen.lost,
        "refusals": seen.refusals,
    }
    # The parent process measures the server's memory before it lets us close the connections.
    print(json.dumps(result), flush=True)
    await loop.run_in_executor(None, sys.stdin.readline)
    for transport, _ in clients:
        transport.abort()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), sys.argv[4]))
