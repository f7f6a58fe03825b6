"""Call a server with far more clients than it can serve: what they get, and what it costs.

2 000 connections call a handler that takes 20 ms, behind a queue of 64. Refused clients are
``patient`` and come back after 0.5 to 1 s, ``polite`` and heed ``Retry-After``, or ``restless`` and
come back at once (1 000 connections, as they keep one of two cores busy). The rate of served calls
is compared with the handler's rate in a bare loop, measured in the same run. The clients and the
server run in their own processes; a third process probes ``/healthz``, on a new connection each
time.
"""

import argparse
import json
import math
import resource
import statistics
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import probe
from crowd import THINK
from report import machine, mebibytes, milliseconds, p99, row, table, verdict
from servers.slow_potassium import handler
from serving import Server, running

CONNECTIONS = {"patient": 2000, "polite": 2000, "restless": 1000}

CALL = {"x": 1.0}

AIMS = {  # the lowest and the highest value
    "served, of what the handler does alone": (0.95, math.inf),
    "refusals, p99": (0, 0.1),
    "/healthz, p99": (0, 0.05),
    "memory, end over beginning of load": (0, 1.2),
}


def alone(seconds: float) -> float:
    """Return how many calls per second the handler does by itself."""
    calls = 0
    started = time.perf_counter()
    while (spent := time.perf_counter() - started) < seconds:
        handler({}, CALL)
        calls += 1
    return calls / spent


def call_once(server: Server) -> None:
    """Warm the server up, so that its memory at rest is that of a server that has served a call."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{server.port}/",
        data=json.dumps(CALL).encode(),
        headers={"Content-Type": "application/json"},
    )
    urllib.request.urlopen(request, timeout=10).close()


def overload(server: Server, connections: int, seconds: float, manners: str) -> dict[str, Any]:
    """Put the load on and return what was measured, with the memory at each stage."""
    call_once(server)
    resident = {"at rest": server.resident()}
    script = str(Path(__file__).with_name("crowd.py"))
    command = [sys.executable, script, *map(str, (server.port, connections, seconds, manners))]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as crowd:
        assert crowd.stdin is not None
        assert crowd.stdout is not None
        if crowd.stdout.readline() != "CONNECTED\n":
            raise SystemExit("the clients could not connect")
        resident["connected"] = server.resident()
        # After the think time, each client has had an answer or waits for one.
        latencies = probe.healthz(server.port, seconds=2 * THINK, anew=True)
        resident["first answers"] = server.resident()
        latencies += probe.healthz(server.port, seconds=seconds - 2 * THINK, anew=True)
        seen: dict[str, Any] = json.loads(crowd.stdout.readline())
        resident["end of load"] = server.resident()
        crowd.stdin.write("\n")
        crowd.stdin.flush()
        crowd.wait()
    time.sleep(1)
    resident["clients gone"] = server.resident()
    return {**seen, "probes": latencies, "resident": resident}


def report(seen: dict[str, Any], reference: float) -> None:
    """Print each figure beside its aim."""
    served = seen["served"] / seen["seconds"]
    refused, probes, resident = seen["refusals"], seen["probes"], seen["resident"]
    growth = resident["end of load"] / resident["first answers"]
    figures = {
        "served, of what the handler does alone": (served / reference, "{:.1%}", 1),
        "refusals, p99": (p99(refused), "{:.1f} ms", 1000),
        "/healthz, p99": (p99(probes), "{:.1f} ms", 1000),
        "memory, end over beginning of load": (growth, "{:.2f}", 1),
    }
    table("figure", "measured", "aim", "")
    for name, (value, form, scale) in figures.items():
        least, most = AIMS[name]
        aim = f"at least {form}" if least else f"at most {form}"
        row(
            name,
            form.format(value * scale),
            aim.format((least or most) * scale),
            verdict(reached=least <= value <= most),
        )
    table("for orientation", "")
    row("served, alone", f"{served:.1f}/s, {reference:.1f}/s")
    row("refused", f"{len(refused)}, {len(refused) / seen['seconds']:.0f}/s")
    row("refusals, median", milliseconds(statistics.median(refused)))
    row("/healthz, median", milliseconds(statistics.median(probes)))
    for when, size in resident.items():
        row(f"memory, {when}", mebibytes(size))
    row("other answers, lost connections", f"{seen['other']}, {seen['lost']}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", choices=list(CONNECTIONS), nargs="+", default=[*CONNECTIONS])
    parser.add_argument("--connections", type=int, help="instead of 2000, or 1000 restless ones")
    parser.add_argument("--seconds", type=float, default=30, help="of load; at least 5")
    options = parser.parse_args()
    seconds = max(5, options.seconds)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = (options.connections or max(CONNECTIONS.values())) + 100
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise SystemExit(
            f"{wanted} open files are needed, and the hard limit is {hard}: ulimit -Hn"
        )
    # The server and the clients inherit this limit.
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    print(__doc__)
    print(f"Machine: {machine()}")
    for manners in options.clients:
        connections = options.connections or CONNECTIONS[manners]
        print(f"\n{connections} {manners} connections, {seconds:.0f} s")
        before = alone(seconds / 10)
        with running("slow_potassium") as (server,):
            seen = overload(server, connections, seconds, manners)
        report(seen, statistics.mean((before, alone(seconds / 10))))


if __name__ == "__main__":
    main()
