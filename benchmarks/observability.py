"""Measure what it costs to see what happens: metrics, traces and JSON logs, alone and together.

Run with ``nox -s observability``. All servers run the same no-op handler, beside a plain Starlette
route, and take turns in every round. Every figure is a ratio to the server with everything off, or
to the plain route, in the same round; absolute figures are printed beside it for orientation.
"""

import argparse
import statistics
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import load
from disturbance import Others
from report import judged, machine, row, table
from serving import Server

BODY = '{"x": 1.0}'
METRICS, TRACES, LOGS = (
    {"POTASSIUM_METRICS": "1"},
    {"POTASSIUM_TRACES": "1"},
    {"POTASSIUM_LOG": "json"},
)
SETTINGS: dict[str, dict[str, str]] = {
    "off": {},
    "metrics": METRICS,
    "traces": TRACES,
    "JSON logs": LOGS,
    "all three": METRICS | TRACES | LOGS,
}
PLAIN = "plain Starlette"
AIM = 0.97  # of the requests/s with everything off, with metrics on


@dataclass(frozen=True)
class Round:
    """What a load generator saw of a server, and the seconds of CPU that the server took."""

    seen: load.Load
    cpu: float

    @property
    def rate(self) -> float:
        """Answers per second."""
        return self.seen.rate

    @property
    def p99(self) -> float:
        """Seconds within which 99 % were answered."""
        return self.seen.p99

    @property
    def cost(self) -> float:
        """Seconds of CPU per answer; other processes hardly change this."""
        return self.cpu / self.seen.requests


Measured = dict[str, list[Round]]


def ratio(ours: list[Round], theirs: list[Round], of: Callable[[Round], float]) -> str:
    """Return the median of the rounds' ratios, with the lowest and the highest."""
    ratios = sorted(of(one) / of(other) for one, other in zip(ours, theirs, strict=True))
    return f"{statistics.median(ratios):.3f} ({ratios[0]:.3f} to {ratios[-1]:.3f})"


@contextmanager
def running() -> Iterator[dict[str, Server]]:
    """Run a server for each setting, and the plain route, until the context exits."""
    with ExitStack() as stack:
        servers = {
            name: Server("noop_potassium", "info", env=env) if env else Server("noop_potassium")
            for name, env in SETTINGS.items()
        }
        servers[PLAIN] = Server("noop_starlette")
        for server in servers.values():
            stack.callback(server.stop)
        for server in servers.values():
            server.wait_until_it_listens()
        yield servers


def measured(servers: dict[str, Server], connections: int, rounds: int, seconds: float) -> Measured:
    """Return the figures of each server, round by round."""
    figures: Measured = {name: [] for name in servers}
    for server in servers.values():
        load.post(server.port, BODY, connections=connections, seconds=1)  # warm-up
    for round_ in range(rounds):
        names = list(servers)
        for name in reversed(names) if round_ % 2 else names:  # whoever is first has no advantage
            server = servers[name]
            before = server.seen.cpu_times()
            one = load.post(server.port, BODY, connections=connections, seconds=seconds)
            after = server.seen.cpu_times()
            if one.errors:
                raise SystemExit(f"{name}: {one.errors} errors under load")
            spent = after.user + after.system - before.user - before.system
            figures[name].append(Round(one, spent))
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=9, help="rounds of all servers in turn")
    parser.add_argument("--seconds", type=float, default=3, help="seconds of load in each")
    options = parser.parse_args()
    print(__doc__)
    print(f"Machine: {machine()}, load from {load.generator()}, {options.connections} connections")
    print("Ratios are medians over the rounds, with the least and the most in brackets.")
    with running() as servers:
        others = Others(*(server.seen for server in servers.values()))
        figures = measured(servers, options.connections, options.rounds, options.seconds)
        share = others.share()
    table(
        "measured",
        "requests/s / off",
        "requests/s / plain",
        "p99 / off",
        "CPU / off",
        "requests/s",
        "p99",
        "CPU",
    )
    for name, some in figures.items():
        row(
            name,
            ratio(some, figures["off"], lambda one: one.rate),
            ratio(some, figures[PLAIN], lambda one: one.rate),
            ratio(some, figures["off"], lambda one: one.p99),
            ratio(some, figures["off"], lambda one: one.cost),
            f"{statistics.median(one.rate for one in some):.0f}",
            f"{statistics.median(one.p99 for one in some) * 1000:.2f} ms",
            f"{statistics.median(one.cost for one in some) * 1e6:.1f} us",
        )
    pairs = zip(figures["metrics"], figures["off"], strict=True)
    reached = statistics.median(one.rate / off.rate for one, off in pairs)
    print()
    print(f"Metrics on, at least {AIM} of off: {judged(share, reached=reached >= AIM)}")


if __name__ == "__main__":
    main()
