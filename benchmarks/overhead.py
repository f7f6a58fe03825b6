"""Measure what Potassium costs over a plain Starlette route, and over a thread hop per request.

Run with ``nox -s bench``. Servers and load generators run in their own processes. Every figure is a
ratio to a reference measured in the same rounds; absolute figures are printed beside it for
orientation.
"""

import argparse
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable

import load
from report import machine, mebibytes, row, table
from serving import running

NAMES = {"a": "noop_potassium", "b": "noop_starlette", "c": "noop_thread_hop"}
BODY = '{"x": 1.0}'

Measured = dict[str, list[load.Load]]


def ratio(ours: list[load.Load], theirs: list[load.Load], of: Callable[[load.Load], float]) -> str:
    """Return the median of the rounds' ratios, with the lowest and the highest."""
    ratios = sorted(of(one) / of(other) for one, other in zip(ours, theirs, strict=True))
    return f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"


def overhead(connections: list[int], rounds: int, seconds: float) -> None:
    """Print the throughput and latency of a no-op handler, and the memory afterwards."""
    table("connections", "figure", "a / b", "a / c", "a", "b", "c")
    with running(*NAMES.values()) as servers:
        ours = dict(zip(NAMES, servers, strict=True))
        for count in connections:
            measured: Measured = {key: [] for key in NAMES}
            for server in servers:
                load.post(server.port, BODY, connections=count, seconds=1)  # warm-up
            for _ in range(rounds):
                for key, server in ours.items():
                    one = load.post(server.port, BODY, connections=count, seconds=seconds)
                    if one.errors:
                        raise SystemExit(f"{NAMES[key]}: {one.errors} errors under load")
                    measured[key].append(one)
            figures: dict[str, tuple[Callable[[load.Load], float], str, float]] = {
                "requests/s": (lambda one: one.rate, "{:.0f}", 1),
                "median latency": (lambda one: one.p50, "{:.2f} ms", 1000),
                "p99 latency": (lambda one: one.p99, "{:.2f} ms", 1000),
            }
            for name, (of, form, scale) in figures.items():
                medians = [statistics.median(map(of, measured[key])) * scale for key in NAMES]
                row(
                    str(count),
                    name,
                    ratio(measured["a"], measured["b"], of),
                    ratio(measured["a"], measured["c"], of),
                    *(form.format(value) for value in medians),
                )
        sizes = {key: server.resident() for key, server in ours.items()}
        row(
            "",
            "resident memory",
            f"{sizes['a'] / sizes['b']:.2f}",
            f"{sizes['a'] / sizes['c']:.2f}",
            *map(mebibytes, sizes.values()),
        )


def against(python: str, connections: list[int], rounds: int, seconds: float) -> None:
    """Print the same for another version of Potassium, which is installed for ``python``."""
    table("connections", "figure", "this / before", "this", "before")
    name = NAMES["a"]
    with running(name, (name, python)) as servers:
        for count in connections:
            measured: list[list[load.Load]] = [[], []]
            for server in servers:
                load.post(server.port, BODY, connections=count, seconds=1)  # warm-up
            for round_ in range(2 * rounds):
                for index in (0, 1) if round_ % 2 else (1, 0):  # whoever is first has no advantage
                    one = load.post(
                        servers[index].port, BODY, connections=count, seconds=seconds / 2
                    )
                    measured[index].append(one)
            for figure, of, form in (
                ("requests/s", lambda one: one.rate, "{:.0f}"),
                ("p99 latency", lambda one: one.p99 * 1000, "{:.2f} ms"),
            ):
                medians = [form.format(statistics.median(map(of, some))) for some in measured]
                row(str(count), figure, ratio(measured[0], measured[1], of), *medians)
    code = "from potassium import Potassium"
    times: list[list[float]] = [[], []]
    for round_ in range(8 * rounds + 1):
        for some, interpreter in zip(times, (sys.executable, python), strict=True):
            started = time.perf_counter()
            subprocess.run([interpreter, "-c", code], check=True)
            if round_:
                some.append(time.perf_counter() - started)
    this, before = (statistics.median(some) for some in times)
    row("", "import", f"{this / before:.2f}", f"{this * 1000:.0f} ms", f"{before * 1000:.0f} ms")


def busy_share(seconds: float) -> None:
    """Print the share of time that the GPU thread spends in 5 ms handlers under a backlog."""
    with running("busy_potassium") as (server,):
        load.post(server.port, BODY, connections=16, seconds=seconds)
        request = urllib.request.Request(
            f"http://127.0.0.1:{server.port}/share",
            data=b"{}",
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=5) as answer:
            share = float(answer.read())
    table("figure", "share of time")
    row("GPU thread inside of 5 ms handlers, 16 connections", f"{share:.1%}")


def import_time(rounds: int) -> None:
    """Print the time to import the package, beside the time to import Starlette."""
    names = {"potassium": "Potassium", "starlette.applications": "Starlette"}
    times: dict[str, list[float]] = {module: [] for module in names}
    for round_ in range(rounds + 1):
        for module, taken in times.items():
            code = f"from {module} import {names[module]}"
            started = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True)
            if round_:
                taken.append(time.perf_counter() - started)
    pairs = zip(times["potassium"], times["starlette.applications"], strict=True)
    ratios = sorted(one / other for one, other in pairs)
    table("figure", "ratio", "potassium", "starlette.applications")
    row(
        "time of a process that imports",
        f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})",
        *(f"{statistics.median(taken) * 1000:.0f} ms" for taken in times.values()),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 32, 128])
    parser.add_argument("--rounds", type=int, default=5, help="rounds of a, b, c in turn")
    parser.add_argument("--seconds", type=float, default=4, help="seconds of load in each")
    parser.add_argument(
        "--before", help="an interpreter with another version of Potassium: compare with that alone"
    )
    options = parser.parse_args()
    print(__doc__)
    if options.before:
        against(options.before, options.connections, options.rounds, options.seconds)
        return
    print(f"Machine: {machine()}, load from {load.generator()}")
    print("a: Potassium; b: plain Starlette route; c: queue and a thread hop per request")
    print("Ratios are medians over the rounds, with the least and the most in brackets.")
    overhead(options.connections, options.rounds, options.seconds)
    busy_share(options.seconds)
    import_time(2 * options.rounds)


if __name__ == "__main__":
    main()
