"""Compare replicas on Ray Serve with the same handlers written for it by hand.

Run with ``nox -s replicas``. One Ray has two replicas of each, and they take turns in each round;
the replicas that do not have their turn idle. Each of Ray's proxies is tried with a Ray of its own.

- potassium: ``potassium.ray.deployment``; a plain handler, and a generator.
- by hand: ``@serve.ingress`` with FastAPI, as Ray's documentation does it: a plain function, which
  FastAPI runs on a thread, and a ``StreamingResponse`` over the same generator.
- by hand, async: the same as a coroutine function, on the event loop. A model in it would hold up
  all other calls; it is here to see what the thread costs.

Each ratio is the median of the rounds' ratios, with the lowest and the highest.
"""

import argparse
import json
import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import load
from report import machine, milliseconds, ratios, row, table, verdict
from serving import Server

STREAMS = str(Path(__file__).with_name("stream_load.py"))
BODY = json.dumps({"x": 1.0})
LEAST = 1.0  # of requests/s; the others are to be at most that
PATIENCE = 90  # seconds for Ray and four replicas to start
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DISABLE_MEMORY_MONITOR": "1",
    "RAY_local_fs_capacity_threshold": "1",
    "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "1",
    "RAY_SERVE_PROXY_MIN_DRAINING_PERIOD_S": "1",
    "RAY_SERVE_LOG_TO_STDERR": "0",
}
OURS, BY_HAND, ASYNC = "/ours/noop", "/by-hand/noop", "/by-hand/noop-async"


@contextmanager
def both(proxy: str) -> Iterator[Server]:
    """Run Ray with both until the context exits."""
    temporary = tempfile.mkdtemp(prefix="ray-")
    haproxy = str(int(proxy == "haproxy"))
    env = {**ENVIRONMENT, "RAY_SERVE_ENABLE_HA_PROXY": haproxy, "RAY_TMPDIR": temporary}
    server = Server("ray_both", env=env)
    try:
        for path in (OURS, BY_HAND, ASYNC):
            server.wait_until_it_answers(path, BODY.encode(), patience=PATIENCE)
        yield server
    finally:
        server.stop()
        shutil.rmtree(temporary, ignore_errors=True)


def calls(server: Server, proxy: str, rounds: int, seconds: float, connections: int) -> None:
    """Print requests/s and p99 of each."""
    seen: dict[str, list[load.Load]] = {path: [] for path in (OURS, BY_HAND, ASYNC)}
    for _ in range(rounds):
        for path, loads in seen.items():
            loads.append(
                load.post(server.port, BODY, connections=connections, seconds=seconds, path=path)
            )
    errors = {path: sum(one.errors for one in loads) for path, loads in seen.items()}
    assert not any(errors.values()), errors
    table(
        f"{proxy}, {connections} connections", "potassium", "by hand", "potassium / by hand", "aim",
        "", "by hand, async", "potassium / that",
    )  # fmt: skip
    rates = [[one.rate for one in loads] for loads in seen.values()]
    median, shown = ratios(rates[0], rates[1])
    middles = [f"{statistics.median(one):.0f}" for one in rates]
    row(
        "requests/s", *middles[:2], shown, f"at least {LEAST}", verdict(reached=median >= LEAST),
        middles[2], ratios(rates[0], rates[2])[1],
    )  # fmt: skip
    late = [[one.p99 for one in loads] for loads in seen.values()]
    median, shown = ratios(late[0], late[1])
    middles = [milliseconds(statistics.median(one)) for one in late]
    row(
        "p99", *middles[:2], shown, f"at most {LEAST}", verdict(reached=median <= LEAST),
        middles[2], ratios(late[0], late[2])[1],
    )  # fmt: skip


def first_chunks(server: Server, rounds: int, streams: int) -> None:
    """Print how long the first chunk of a stream takes, alone and with others at the same time."""
    for count in (1, streams):
        seen: dict[str, list[float]] = {"/ours/stream": [], "/by-hand/stream": []}
        for _ in range(rounds * 4):
            for path, firsts in seen.items():
                arguments = (server.port, "*/*", count, 20, 0.0, path)
                told = load.result([sys.executable, STREAMS, *map(str, arguments)])
                firsts.append(statistics.median(told["first"]))
        ours, theirs = seen.values()
        median, shown = ratios(ours, theirs)
        middles = [milliseconds(statistics.median(one)) for one in (ours, theirs)]
        reached = verdict(reached=median <= LEAST)
        name = "first chunk" if count == 1 else f"first chunk, {count} streams"
        row(name, *middles, shown, f"at most {LEAST}", reached, "", "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4, help="of each load")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--streams", type=int, default=8, help="at once")
    options = parser.parse_args()
    print(__doc__)
    print(f"Machine: {machine()}; load from {load.generator()}")
    for proxy in ("haproxy", "python"):
        with both(proxy) as server:
            for path in (OURS, BY_HAND, ASYNC):  # warm-up
                load.post(server.port, BODY, connections=options.connections, seconds=1, path=path)
            calls(server, proxy, options.rounds, options.seconds, options.connections)
            first_chunks(server, options.rounds, options.streams)


if __name__ == "__main__":
    main()
