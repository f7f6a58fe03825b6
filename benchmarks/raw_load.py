"""A load generator for machines without wrk: prepared bytes over asyncio protocols."""

import asyncio
import json
import sys
import time
from typing import cast

import uvloop


class Client(asyncio.Protocol):
    """One keep-alive connection that sends the same request again after each answer."""

    def __init__(self, request: bytes, latencies: list[float], errors: list[bytes]) -> None:
        self._request = request
        self._latencies = latencies
        self._errors = errors
        self._received = b""
        self._sent = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are not subclasses
        self._send()

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, separator, body = self._received.partition(b"\r\n\r\n")
        if not separator:
            return
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
        if len(body) < length:
            return
        self._latencies.append(time.perf_counter() - self._sent)
        if not head.startswith(b"HTTP/1.1 20"):
            self._errors.append(head)
        self._received = b""
        self._send()

    def _send(self) -> None:
        self._sent = time.perf_counter()
        self._transport.write(self._request)


async def main(port: int, path: str, body: str, connections: int, seconds: float) -> None:
    """Run ``connections`` clients for ``seconds`` and print one line of JSON."""
    loop = asyncio.get_running_loop()
    request = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body.encode())}\r\n\r\n{body}"
    ).encode()
    latencies: list[float] = []
    errors: list[bytes] = []
    clients = [
        (
            await loop.create_connection(
                lambda: Client(request, latencies, errors), "127.0.0.1", port
            )
        )
        for _ in range(connections)
    ]
    await asyncio.sleep(seconds)
    for transport, _ in clients:
        transport.abort()
    latencies.sort()
    result = {
        "requests": len(latencies),
        "seconds": seconds,
        "p50": latencies[len(latencies) // 2],
        "p99": latencies[int(len(latencies) * 0.99)],
        "errors": len(errors),
    }
    sys.stdout.write(f"RESULT {json.dumps(result)}\n")


if __name__ == "__main__":
    given = sys.argv[1:]
    uvloop.run(main(int(given[0]), given[1], given[2], int(given[3]), float(given[4])))
