"""Measure chats with a language model over HTTP: tokens per second, and how soon they begin.

Run with ``nox -s generate``. SmolLM2-135M in float32, greedy, as many tokens for each chat; all
chats begin at once. The servers take turns in each round.

- together: a handler with ``step=`` and a ``Decoder``: one run of the model for all chats.
- turns: the same model with ``streams=`` alone: one run for each chat.
- bare: the decoder's loop in a process without a server.
- generate: ``model.generate`` for a single chat, without a server.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass

import httpx
import smollm2
from report import machine, milliseconds, ratios, row, table, verdict
from serving import SERVERS, Server

AT = 16  # chats
LEAST_TURNS = 4.0  # how many times the tokens of turns, with as many chats
LEAST_BARE = 0.95  # of the tokens of the bare loop


@dataclass(frozen=True)
class Chats:
    """Seconds from the beginning of all until each one's first text, and until the last end."""

    first: list[float]
    end: float


async def _chat(http: httpx.AsyncClient, text: str, tokens: int, began: float) -> float:
    first = 0.0
    async with http.stream("POST", "/", json={"text": text, "tokens": tokens}) as answer:
        answer.raise_for_status()
        async for _ in answer.aiter_raw():
            first = first or time.perf_counter() - began
    return first


async def _chats(server: Server, chats: int, tokens: int) -> Chats:
    url = f"http://127.0.0.1:{server.port}"
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=url, timeout=600, trust_env=False, limits=limits) as http:
        began = time.perf_counter()
        calls = [_chat(http, text, tokens, began) for text in smollm2.prompts(chats)]
        first = await asyncio.gather(*calls)
        return Chats(first, time.perf_counter() - began)


def _bare(chats: int, tokens: int) -> tuple[float, float]:
    path = os.pathsep.join(filter(None, [str(SERVERS.parent), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, str(SERVERS / "generate_bare.py"), str(chats), str(tokens)]
    env = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(command, env=env, capture_output=True, check=True)
    seen = json.loads(done.stdout)
    return seen["loop"], seen["generate"]


def _measure(servers: dict[str, Server], chats: int, tokens: int, count: int) -> None:
    seen: dict[str, list[Chats]] = {name: [] for name in servers}
    bare: list[float] = []
    alone: list[float] = []
    for _ in range(count):
        for name, server in servers.items():
            seen[name].append(asyncio.run(_chats(server, chats, tokens)))
        loop, generate = _bare(chats, tokens)
        bare.append(chats * tokens / loop)
        alone.append(tokens / generate)
    rates = {name: [chats * tokens / one.end for one in each] for name, each in seen.items()}
    rates |= {"bare": bare, "generate": alone}
    table(f"{chats} chats of {tokens} tokens", "tokens/s", "together / it", "first text", "aim", "")
    for name, each in rates.items():
        ratio, shown = ratios(rates["together"], each)
        first = [one for some in seen.get(name, ()) for one in some.first]
        soon = (
            f"{milliseconds(statistics.median(first))}, {milliseconds(max(first))}" if first else ""
        )
        least = {"turns": LEAST_TURNS if chats == AT else None, "bare": LEAST_BARE}.get(name)
        aim = ("", "") if least is None else (f"{least:g}", verdict(reached=ratio >= least))
        row(name, f"{statistics.median(each):.1f}", shown, soon, *aim)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chats", default="1,4,8,16,32")
    parser.add_argument("--tokens", type=int, default=48, help="of each chat")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print(f"{machine()}, {options.rounds} rounds; first text: median, most")
    with ExitStack() as stack:
        servers = {name: Server("generate_potassium", name) for name in ("together", "turns")}
        for server in servers.values():
            stack.callback(server.stop)
        for server in servers.values():
            server.wait_until_it_listens()
            asyncio.run(_chats(server, 1, 2))  # warm-up
        for chats in map(int, options.chats.split(",")):
            _measure(servers, chats, options.tokens, options.rounds)


if __name__ == "__main__":
    main()
