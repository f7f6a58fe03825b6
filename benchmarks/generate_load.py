"""The clients of the chats: all at once, as they happen to arrive, or slower than their texts.

They ask as OpenAI's own clients do, with the fewest possible objects for each event.
"""

import asyncio
import json
import socket
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from random import Random
from typing import Any

import httpx
import smollm2
from serving import Server

__all__ = ["PATH", "Chats", "arrivals", "asked", "at_once", "bare", "stalled"]

PATH = "/v1/chat/completions"
PATIENCE = 300.0  # seconds for what is measured at a time
SEED = 7  # of the arrivals
SETTLING = 60  # seconds at most
IDLE_PERCENT = 2.0  # of a processor
OURS = "generate_potassium"  # which says how long it was inside of the step


@dataclass(frozen=True)
class Chats:
    """What the clients of some chats saw.

    Attributes:
        first: seconds from each one's beginning until its first text.
        end: seconds from the first one's beginning until the last one's end.
        inside: seconds of those that passed in steps.
        steps: how many there were.

    """

    first: list[float]
    end: float
    inside: float
    steps: int


def asked(text: str, how: dict[str, float]) -> dict[str, Any]:
    """Return the body of a request.

    Args:
        text: what the user says.
        how: the number of tokens of the answer, and the temperature.

    """
    return {
        "model": smollm2.NAME,
        "messages": [{"role": "user", "content": text}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": how["tokens"],
        "temperature": how["temperature"],
    }


def at_once(server: Server, count: int, how: dict[str, float]) -> Chats:
    """Begin ``count`` chats at once."""
    return asyncio.run(_chats(server, [0.0] * count, how))


def arrivals(server: Server, count: int, rate: float, how: dict[str, float]) -> Chats:
    """Begin ``count`` chats at random, ``rate`` a second: the same ones each time."""
    random = Random(SEED)  # noqa: S311 - nobody has to guess it
    gaps = [0.0, *(random.expovariate(rate) for _ in range(count - 1))]
    return asyncio.run(_chats(server, [sum(gaps[: n + 1]) for n in range(count)], how))


def bare(server: Server, chats: int, how: dict[str, float]) -> tuple[float, float]:
    """Return the seconds of the loop that no chats come to, and of ``generate`` for one chat."""
    url = f"http://127.0.0.1:{server.port}/bare"
    asked = httpx.post(url, json={"chats": chats, **how}, timeout=PATIENCE, trust_env=False)
    seen = asked.raise_for_status().json()
    return seen["loop"], seen["generate"]


async def _chats(server: Server, begins: list[float], how: dict[str, float]) -> Chats:
    url = f"http://127.0.0.1:{server.port}"
    limits = httpx.Limits(max_connections=None)
    async with (
        asyncio.timeout(PATIENCE),
        httpx.AsyncClient(base_url=url, timeout=PATIENCE, trust_env=False, limits=limits) as http,
    ):
        before = await _spent(http, server)
        began = time.perf_counter()
        texts = smollm2.prompts(len(begins))
        calls = zip(texts, begins, strict=True)
        first = await asyncio.gather(*(_chat(http, asked(text, how), at) for text, at in calls))
        end = time.perf_counter() - began
        after = await _spent(http, server)
    return Chats(first, end, after[0] - before[0], int(after[1] - before[1]))


async def _chat(http: httpx.AsyncClient, body: dict[str, Any], at: float) -> float:
    """Return the seconds until the first text."""
    await asyncio.sleep(at)
    began, first, tokens = time.perf_counter(), 0.0, 0
    async with http.stream("POST", PATH, json=body) as answer:
        answer.raise_for_status()
        async for line in answer.aiter_lines():
            if not line.startswith("data: {"):
                continue
            event = json.loads(line.removeprefix("data: "))
            if not first and any(choice["delta"].get("content") for choice in event["choices"]):
                first = time.perf_counter() - began
            if event.get("usage"):
                tokens = event["usage"]["completion_tokens"]
    if tokens != body["max_tokens"]:
        raise SystemExit(f"{tokens} tokens in place of {body['max_tokens']}")
    return first


async def _spent(http: httpx.AsyncClient, server: Server) -> tuple[float, float]:
    if server.name != OURS:
        return 0.0, 0.0
    spent = (await http.post("/spent", json={})).raise_for_status().json()
    return spent["seconds"], spent["steps"]


@contextmanager
def stalled(server: Server, count: int) -> Iterator[None]:
    """Keep ``count`` streams open whose clients read nothing: all of their buffers are full.

    Raises:
        SystemExit: they did not get that far in time.

    """
    body = json.dumps(asked(smollm2.ENDLESS, {"tokens": 1, "temperature": 0})).encode()
    head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
    with ExitStack() as stack:
        for _ in range(count):
            client = stack.enter_context(socket.socket())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect(("127.0.0.1", server.port))
            client.sendall(request)
        _wait(server, "stalled_streams", count)
        _settle(server)
        yield
    _wait(server, "open_streams", 0)


def _settle(server: Server) -> None:
    """Wait until a server does nothing: what its streams have made is on its way, or waits."""
    for _ in range(SETTLING):
        if server.seen.cpu_percent(interval=1.0) < IDLE_PERCENT:
            return
    raise SystemExit(f"{server.name} is busy")


def _wait(server: Server, name: str, count: int) -> None:
    """Wait until there are so many streams of a kind."""
    url = f"http://127.0.0.1:{server.port}/_k/status"
    end = time.monotonic() + PATIENCE
    while True:
        with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
            there = json.load(answer)[name]
        if there == count:
            return
        if time.monotonic() > end:
            raise SystemExit(f"{name} are {there} in place of {count}")
        time.sleep(0.2)
