"""Submit one job after the other and receive their webhooks, in a separate process.

Before each submit, a handler that does the same is called directly over the same connection.
"""

import asyncio
import json
import sys
import time
from typing import cast

import uvloop

LIMIT = 10.0  # seconds for one webhook
ANSWER = b"HTTP/1.1 204 No Content\r\n\r\n"

WARM_UP = 20  # jobs that do not count


class Messages(asyncio.Protocol):
    """One side of a connection: queues the first line and the body of each message."""

    def __init__(self, messages: "asyncio.Queue[tuple[bytes, bytes]]", answer: bytes = b"") -> None:
        self._messages = messages
        self._answer = answer
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
        self._received = b""
        self._messages.put_nowait((head.partition(b"\r")[0], body))
        if self._answer:
            self._transport.write(self._answer)


def request(path: str, number: int) -> bytes:
    body = json.dumps({"x": number})
    return (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


async def main(port: int, receiver: int, jobs: int) -> None:
    """Print one line of JSON: the seconds to each direct answer, 202 and webhook."""
    loop = asyncio.get_running_loop()
    answers: asyncio.Queue[tuple[bytes, bytes]] = asyncio.Queue()
    webhooks: asyncio.Queue[tuple[bytes, bytes]] = asyncio.Queue()
    await loop.create_server(lambda: Messages(webhooks, ANSWER), "127.0.0.1", receiver)
    transport, _ = await loop.create_connection(lambda: Messages(answers), "127.0.0.1", port)
    seen: dict[str, list[float]] = {"direct": [], "accepted": [], "arrived": []}
    for number in range(WARM_UP + jobs):
        for path, status in (("/", b" 200 "), ("/posted", b" 202 ")):
            sent = time.perf_counter()
            transport.write(request(path, number))
            line, body = await asyncio.wait_for(answers.get(), LIMIT)
            if status not in line:
                raise SystemExit((line + body).decode(errors="replace"))
            seen["accepted" if path == "/posted" else "direct"].append(time.perf_counter() - sent)
        _, body = await asyncio.wait_for(webhooks.get(), LIMIT)
        seen["arrived"].append(time.perf_counter() - sent)
        assert json.loads(body) == {"out": number}
    counted = {name: values[WARM_UP:] for name, values in seen.items()}
    sys.stdout.write(f"RESULT {json.dumps(counted)}\n")


if __name__ == "__main__":
    uvloop.run(main(*map(int, sys.argv[1:])))
