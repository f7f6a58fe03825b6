"""Measure chats with a language model over HTTP: tokens per second, and how soon they begin.

Run with ``nox -s generate``. SmolLM2-135M in float32 on the CPU, greedy, as many tokens for each
chat, unless options say otherwise; all chats begin at once. The servers take turns in each round.

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
from typing import Any

import httpx
import smollm2
from report import machine, milliseconds, ratios, row, table, verdict
from serving import SERVERS, Server

AT = 16  # chats
LEAST_TURNS = 4.0  # how many times the tokens of turns, with as many chats
LEAST_BARE = 0.95  # of the tokens of the bare loop


@dataclass(frozen=True)
class Chats:
    """Seconds from the beginning of all until each one's first text, and until the last end.

    Attributes:
        first: of each.
        end: of the last.
        inside: seconds that passed in steps meanwhile.
        steps: how many there were.

    """

    first: list[float]
    end: float
    inside: float
    steps: int


async def _chat(http: httpx.AsyncClient, asked: dict[str, Any], began: float) -> float:
    first = 0.0
    async with http.stream("POST", "/", json=asked) as answer:
        answer.raise_for_status()
        async for _ in answer.aiter_raw():
            first = first or time.perf_counter() - began
    return first


async def _spent(http: httpx.AsyncClient) -> tuple[float, int]:
    spent = (await http.post("/spent", json={})).raise_for_status().json()
    return spent["seconds"], spent["steps"]


async def _chats(server: Server, chats: int, how: dict[str, float]) -> Chats:
    url = f"http://127.0.0.1:{server.port}"
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=url, timeout=600, trust_env=False, limits=limits) as http:
        seconds, steps = await _spent(http)
        began = time.perf_counter()
        calls = [_chat(http, {"text": text, **how}, began) for text in smollm2.prompts(chats)]
        first = await asyncio.gather(*calls)
        end = time.perf_counter() - began
        seconds_after, steps_after = await _spent(http)
        return Chats(first, end, seconds_after - seconds, steps_after - steps)


class Bare:
    """The process without a server."""

    def __init__(self) -> None:
        path = os.pathsep.join(filter(None, [str(SERVERS.parent), os.environ.get("PYTHONPATH")]))
        self._process = subprocess.Popen(
            [sys.executable, str(SERVERS / "generate_bare.py")],
            env={**os.environ, "PYTHONPATH": path},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def stop(self) -> None:
        self._process.communicate()

    def seconds(self, chats: int, how: dict[str, float]) -> tuple[float, float]:
        """Return those of the loop, and those of ``generate`` for one chat."""
        given, taken = self._process.stdin, self._process.stdout
        assert given is not None
        assert taken is not None
        given.write(json.dumps({"chats": chats, **how}).encode() + b"\n")
        given.flush()
        seen = json.loads(taken.readline())
        return seen["loop"], seen["generate"]


def _measure(
    servers: dict[str, Server], bare: Bare, chats: int, how: dict[str, float], count: int
) -> None:
    seen: dict[str, list[Chats]] = {name: [] for name in servers}
    loops: list[float] = []
    alone: list[float] = []
    tokens = how["tokens"]
    for _ in range(count):
        for name, server in servers.items():
            seen[name].append(asyncio.run(_chats(server, chats, how)))
        loop, generate = bare.seconds(chats, how)
        loops.append(chats * tokens / loop)
        alone.append(tokens / generate)
    rates = {name: [chats * tokens / one.end for one in each] for name, each in seen.items()}
    rates |= {"bare": loops, "generate": alone}
    title = f"{chats} chats of {tokens} tokens"
    table(title, "tokens/s", "together / it", "first text", "in steps", "a step", "aim", "")
    for name, each in rates.items():
        ratio, shown = ratios(rates["together"], each)
        first = [one for some in seen.get(name, ()) for one in some.first]
        soon = (
            f"{milliseconds(statistics.median(first))}, {milliseconds(max(first))}" if first else ""
        )
        inside = ("", "")
        if name == "together":
            shares = [one.inside / one.end for one in seen[name]]
            step = statistics.median(one.inside / one.steps for one in seen[name])
            inside = (f"{statistics.median(shares):.0%}", milliseconds(step))
        least = {"turns": LEAST_TURNS if chats == AT else None, "bare": LEAST_BARE}.get(name)
        aim = ("", "") if least is None else (f"{least:g}", verdict(reached=ratio >= least))
        rate = f"{statistics.median(each):.1f} ({min(each):.1f} to {max(each):.1f})"
        row(name, rate, shown, soon, *inside, *aim)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chats", default="1,4,8,16,32")
    parser.add_argument("--tokens", type=int, default=48, help="of each chat")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--temperature", type=float, default=0.0)
    parser.add_argument("--turns", help="how many chats to measure turns with; as many by default")
    parser.add_argument("--model", choices=["smollm2", *smollm2.CONFIGS], default=smollm2.KIND)
    parser.add_argument("--device", default=smollm2.DEVICE)
    parser.add_argument("--dtype", default=smollm2.DTYPE)
    parser.add_argument("--rows", type=int, default=smollm2.ROWS, help="chats at a time")
    options = parser.parse_args()
    given = vars(options)
    os.environ |= {variable: str(given[name]) for name, variable in smollm2.VARIABLES.items()}
    how = {"tokens": options.tokens, "temperature": options.temperature}
    what = ", ".join(f"{name} {given[name]}" for name in (*smollm2.VARIABLES, "temperature"))
    print(f"{machine()}; {what}; {options.rounds} rounds; first text: median, most")
    turns = options.chats if options.turns is None else options.turns
    names = ["together", "turns"] if turns else ["together"]
    with ExitStack() as stack:
        servers = {name: Server("generate_potassium", name) for name in names}
        for server in servers.values():
            stack.callback(server.stop)
        bare = Bare()
        stack.callback(bare.stop)
        for server in servers.values():
            server.wait_until_it_listens()
            asyncio.run(_chats(server, 1, {**how, "tokens": 2}))  # warm-up
        bare.seconds(1, {**how, "tokens": 2})
        for chats in options.chats.split(","):
            asked = names if chats in turns.split(",") else names[:1]
            some = {name: servers[name] for name in asked}
            _measure(some, bare, int(chats), how, options.rounds)


if __name__ == "__main__":
    main()
