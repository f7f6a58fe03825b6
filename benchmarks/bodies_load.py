"""Send a list of bodies in a closed loop, as prepared bytes over asyncio protocols.

Runs in its own process. Each connection sends the next body of the list as soon as it has its
answer. Counting begins after as many answers as there are connections and ends with an answer, so
that the rate does not include half a batch.
"""

import asyncio
import itertools
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import uvloop

LIMIT = 120.0  # seconds for the whole run
LEAST = 2  # answers to count at least


@dataclass(frozen=True)
class Call:
    """A request's bytes, and its number of tokens."""

    tokens: int
    request: bytes


@dataclass
class Seen:
    """The answers: when each came, after how many seconds, and the tokens of its request."""

    warm_up: int  # answers
    warm: asyncio.Event = field(default_factory=asyncio.Event)
    enough: asyncio.Event = field(default_factory=asyncio.Event)
    answers: list[tuple[float, float, int]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


class Client(asyncio.Protocol):
    """One keep-alive connection."""

    def __init__(self, calls: Iterator[Call], seen: Seen) -> None:
        self._calls = calls
        self._seen = seen
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are not subclasses

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, separator, body = self._received.partition(b"\r\n\r\n")
        if not separator:
            return
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
        if len(body) < length:
            return
        now = time.monotonic()
        self._seen.answers.append((now, now - self._sent, self._call.tokens))
        if len(self._seen.answers) == self._seen.warm_up:
            self._seen.warm.set()
        elif len(self._seen.answers) == self._seen.warm_up + LEAST:
            self._seen.enough.set()
        if not head.startswith(b"HTTP/1.1 200"):
            self._seen.errors.append((head + body).decode(errors="replace")[:500])
        self._received = b""
        self.send()

    def send(self) -> None:
        self._call = next(self._calls)
        self._sent = time.monotonic()
        self._transport.write(self._call.request)


def read(path: Path, route: str) -> Iterator[Call]:
    """Return the calls of a file in an endless cycle: a JSON list of pairs, tokens and body."""
    calls = [
        Call(
            tokens,
            f"POST {route} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body.encode())}\r\n\r\n{body}".encode(),
        )
        for tokens, body in json.loads(path.read_bytes())
    ]
    return itertools.cycle(calls)


async def main(port: int, route: str, path: Path, connections: int, seconds: float) -> None:
    """Run ``connections`` clients and print one line of JSON; times are monotonic seconds."""
    loop = asyncio.get_running_loop()
    seen = Seen(warm_up=connections)
    calls = read(path, route)
    clients = [
        await loop.create_connection(lambda: Client(calls, seen), "127.0.0.1", port)
        for _ in range(connections)
    ]
    for _, client in clients:
        client.send()
    async with asyncio.timeout(LIMIT):
        await seen.warm.wait()
        began = seen.answers[connections - 1][0]
        await asyncio.sleep(began + seconds - time.monotonic())
        await seen.enough.wait()
    for transport, _ in clients:
        transport.abort()
    counted = seen.answers[connections:]
    result = {
        "began": began,
        "ended": counted[-1][0],
        "latencies": [latency for _, latency, _ in counted],
        "tokens": sum(tokens for _, _, tokens in counted),
        "errors": seen.errors[:3],
    }
    sys.stdout.write(f"RESULT {json.dumps(result)}\n")


if __name__ == "__main__":
    given = sys.argv[1:]
    uvloop.run(main(int(given[0]), given[1], Path(given[2]), int(given[3]), float(given[4])))
