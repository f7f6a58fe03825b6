"""Measure chats with a language model over HTTP: tokens per second, and how soon they begin.

Run with ``nox -s generate``. SmolLM2-135M in float32 on the CPU, greedy, as many tokens for each
chat, unless options say otherwise. The servers take turns in each round.

- together: a handler with ``step=`` and a ``Decoder``: one run of the model for all chats.
- turns: the same model with ``streams=`` alone: one run for each chat.
- transformers: ``transformers serve`` with continuous batching.
- litserve: LitServe's continuous batching loop, with the same decoder.
- bare: the decoder's loop for the same chats, in the first server's thread, without clients.
- generate: ``model.generate`` there, for a single chat.

All chats begin at once. With 16, they are measured as they happen to arrive, too, and one alone
beside streams whose clients read nothing.
"""

import argparse
import os
import statistics
from collections.abc import Sequence

import smollm2
from generate_load import Chats, arrivals, at_once, bare, stalled
from generate_servers import NAMES, running, turn
from report import machine, milliseconds, p99, ratios, row, table, verdict
from serving import Server

AT = 16  # chats, which are measured in one round more
LEAST = {"turns": 4.0, "transformers": 1.1, "litserve": 1.0}  # how many times their tokens, then
LEAST_BARE = 0.95  # of the tokens of the bare loop
LEAST_INSIDE = 0.95  # of the time in steps, with as many chats
LOAD = 0.6  # of what the server can do, for chats that arrive
IDLE = 256  # streams whose clients read nothing
LEAST_BESIDE = 0.95  # of the tokens of a chat without them
LONGER = 4  # times the tokens, for that one chat

How = dict[str, float]


def measure_at_once(servers: dict[str, Server], chats: int, how: How, rounds: int) -> float:
    """Return the tokens per second of all chats together."""
    seen: dict[str, list[Chats]] = {name: [] for name in servers}
    loops: list[float] = []
    alone: list[float] = []
    tokens = how["tokens"]
    for _ in range(rounds):
        for name, server in servers.items():
            with turn(server):
                seen[name].append(at_once(server, chats, how))
                if name == "together":
                    loop, generate = bare(server, chats, how)
                    loops.append(chats * tokens / loop)
                    alone.append(tokens / generate)
    rates = {name: [chats * tokens / one.end for one in each] for name, each in seen.items()}
    rates |= {"bare": loops, "generate": alone}
    title = f"{chats} chats of {tokens} tokens"
    table(title, "tokens/s", "together / it", "first text", "aim", "")
    for name, each in rates.items():
        ratio, shown = ratios(rates["together"], each)
        first = [one for some in seen.get(name, ()) for one in some.first]
        soon = (
            f"{milliseconds(statistics.median(first))}, {milliseconds(max(first))}" if first else ""
        )
        least = {"bare": LEAST_BARE} | (LEAST if chats == AT else {})
        row(name, spread(each), shown, soon, *aim(ratio, least.get(name)))
    inside = statistics.median(one.inside / one.end for one in seen["together"])
    step = statistics.median(one.inside / one.steps for one in seen["together"])
    least_inside = LEAST_INSIDE if chats == AT else None
    row("in steps, together", f"{inside:.1%}", "", milliseconds(step), *aim(inside, least_inside))
    return statistics.median(rates["together"])


def measure_arrivals(
    servers: dict[str, Server], chats: int, rate: float, how: How, rounds: int
) -> None:
    """Measure chats that arrive at random, ``rate`` a second."""
    seen: dict[str, list[Chats]] = {name: [] for name in servers}
    for _ in range(rounds):
        for name, server in servers.items():
            with turn(server):
                seen[name].append(arrivals(server, chats, rate, how))
    rates = {name: [chats * how["tokens"] / one.end for one in each] for name, each in seen.items()}
    title = f"{chats} chats of {how['tokens']} tokens, {rate:.2f}/s"
    table(title, "tokens/s", "together / it", "first text, p50", "p99")
    for name, each in rates.items():
        first = [one for some in seen[name] for one in some.first]
        soon = (milliseconds(statistics.median(first)), milliseconds(p99(first)))
        row(name, spread(each), ratios(rates["together"], each)[1], *soon)


def measure_idle(server: Server, how: How, rounds: int) -> None:
    """Measure one chat beside streams that wait for their clients, and before and after those."""
    without: list[float] = []
    beside: list[float] = []
    how = {**how, "tokens": LONGER * how["tokens"]}

    def rate() -> float:
        return how["tokens"] / at_once(server, 1, how).end

    with turn(server):
        for _ in range(rounds):
            before = rate()
            with stalled(server, IDLE):
                beside.append(rate())
            without.append(statistics.mean([before, rate()]))
    table("one chat beside idle streams", "tokens/s", "with / without", "aim", "")
    row("0", spread(without), "", "", "")
    ratio, shown = ratios(beside, without)
    row(str(IDLE), spread(beside), shown, *aim(ratio, LEAST_BESIDE))


def spread(rates: Sequence[float]) -> str:
    return f"{statistics.median(rates):.1f} ({min(rates):.1f} to {max(rates):.1f})"


def aim(value: float, least: float | None) -> tuple[str, str]:
    return ("", "") if least is None else (f"{least:g}", verdict(reached=value >= least))


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chats", default="1,4,8,16,32")
    parser.add_argument("--tokens", type=int, default=48, help="of each chat")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--temperature", type=float, default=0.0)
    parser.add_argument("--turns", help="how many chats to measure turns with; as many by default")
    parser.add_argument("--servers", default=",".join(NAMES), help="all by default")
    parser.add_argument("--arrivals", type=int, default=40, help="chats that arrive; 0 for none")
    parser.add_argument("--model", choices=["smollm2", *smollm2.CONFIGS], default=smollm2.KIND)
    parser.add_argument("--device", default=smollm2.DEVICE)
    parser.add_argument("--dtype", default=smollm2.DTYPE)
    parser.add_argument("--rows", type=int, default=smollm2.ROWS, help="chats at a time")
    return parser.parse_args()


def main() -> None:
    given = vars(options())
    os.environ |= {variable: str(given[name]) for name, variable in smollm2.VARIABLES.items()}
    how = {"tokens": given["tokens"], "temperature": given["temperature"]}
    what = ", ".join(f"{name} {given[name]}" for name in (*smollm2.VARIABLES, "temperature"))
    rounds = given["rounds"]
    print(f"{machine()}; {what}; {rounds} rounds; first text: median, most", flush=True)
    chats = given["chats"].split(",")
    turns = chats if given["turns"] is None else given["turns"].split(",")
    with running(given["servers"].split(",")) as servers:
        with turn(servers["together"]) as server:
            bare(server, 1, {**how, "tokens": 2})
        for count in chats:
            some = {name: one for name, one in servers.items() if name != "turns" or count in turns}
            more = int(count) == AT
            rate = measure_at_once(some, int(count), how, rounds + more)
            if more and given["arrivals"]:
                some = {name: one for name, one in servers.items() if name != "turns"}
                arriving = LOAD * rate / how["tokens"]
                measure_arrivals(some, given["arrivals"], arriving, how, rounds)
            if more:
                measure_idle(servers["together"], how, rounds)


if __name__ == "__main__":
    main()
