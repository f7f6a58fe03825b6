"""Measure how long ``/healthz`` takes while a handler computes in pure Python.

The handler is a tight loop that never releases the GIL by itself. It is compared with a plain
Starlette app whose handler does the same in ``anyio.to_thread.run_sync``, under the same uvicorn
settings. So the comparison measures what ``app.serve()`` sets beyond those settings.
"""

import argparse
import http.client
import json
import statistics
import time

import probe
from report import machine, milliseconds, p99, row, table, verdict
from serving import Server, running

SETTLE = 0.5  # seconds from sending the call to the first probe

AIM = 0.25  # of the plain app's median, at most


def while_computing(server: Server, seconds: float) -> list[float]:
    """Return the latencies of ``/healthz`` during one call that computes for ``seconds``."""
    probe.healthz(server.port, seconds=0.2)  # warm-up
    call = http.client.HTTPConnection("127.0.0.1", server.port, timeout=seconds + 60)
    body = json.dumps({"seconds": seconds})
    started = time.perf_counter()
    call.request("POST", "/", body, {"Content-Type": "application/json"})
    time.sleep(SETTLE)
    latencies = probe.healthz(server.port, seconds=seconds - 2 * SETTLE)
    answer = call.getresponse()
    rounds = json.loads(answer.read()).get("rounds")
    call.close()
    if not rounds or time.perf_counter() - started < seconds:
        raise SystemExit(f"{server.name} did not compute while it was probed")
    return latencies


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10, help="of computing, in each app")
    seconds = max(2, parser.parse_args().seconds)
    print(__doc__)
    print(f"Machine: {machine()}")
    measured = []
    for name in ("tight_potassium", "tight_starlette"):
        with running(name) as (server,):
            measured.append(while_computing(server, seconds))
    ours, theirs = measured
    table("/healthz", "ratio", "potassium", "starlette")
    for figure, of in (("median", statistics.median), ("p99", p99)):
        mine, reference = of(ours), of(theirs)
        row(figure, f"{mine / reference:.3f}", milliseconds(mine), milliseconds(reference))
    row("probes", "", str(len(ours)), str(len(theirs)))
    reached = statistics.median(ours) <= AIM * statistics.median(theirs)
    print(f"\nMedian at most {AIM} of the plain app's: {verdict(reached=reached)}.")


if __name__ == "__main__":
    main()
