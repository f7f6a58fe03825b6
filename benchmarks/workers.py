"""Measure two workers beside one process, and beside two workers of mosec and of LitServe.

Run with ``nox -s workers``. Servers and load run in their own processes, on the same machine; the
servers of a measurement take turns in each round. Each ratio is the median of the rounds' ratios,
with the lowest and the highest. Before and after each measurement, two busy processes show whether
the machine had two cores to give; without them, no figure is judged. Both peers have their default
settings, but for LitServe's ``fast_queue=True``.

- busy: 5 ms of pure Python, which hold the GIL.
- noop: a JSON request with a field, and a response with one.
- bodies: 1 MB in and out, as bytes and as JSON.
- stream: one stream of small chunks, from a generator.
- batches: MiniLM, with one torch thread in each worker beside one process with as many threads.
- deaths: SIGKILL of a worker, see workers_killed.py.
- memory: proportional set sizes, as /proc has them.
"""

import argparse
from collections.abc import Callable

import load
import peers
import variants
import workers_deaths
import workers_memory
import workers_rates
from report import machine
from workers_plan import Plan

BUSY = 0.005  # seconds of computing in a call


def busy(plan: Plan) -> None:
    variants.computing(BUSY)
    workers_rates.calls(plan, "busy", "5 ms of pure Python", 16)


def noop(plan: Plan) -> None:
    workers_rates.calls(plan, "noop", "no-op", 32)


ALL: dict[str, Callable[[Plan], None]] = {
    "busy": busy,
    "noop": noop,
    "bodies": workers_rates.bodies,
    "stream": workers_rates.stream,
    "batches": workers_rates.batches,
    "deaths": workers_deaths.deaths,
    "memory": workers_memory.memory,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=ALL, default=[*ALL])
    parser.add_argument("--devices", default="cpu,cpu", help="of the workers, one for each")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4, help="of each load")
    parser.add_argument("--quick", action="store_true", help="one short round of each")
    parser.add_argument("--without-peers", action="store_true")
    parser.add_argument(
        "--patience",
        type=float,
        default=60,
        help="seconds to wait in all, while others use the machine that MiniLM needs",
    )
    given = parser.parse_args()
    plan = Plan(
        devices=given.devices,
        with_peers=not given.without_peers,
        rounds=1 if given.quick else given.rounds,
        seconds=1 if given.quick else given.seconds,
        chunks=50_000 if given.quick else 200_000,
        patience=0 if given.quick else given.patience,
    )
    print(__doc__)
    print(f"Machine: {machine()}; load from {load.generator()}; {', '.join(peers.PEERS.values())}")
    for name in given.only:
        ALL[name](plan)


if __name__ == "__main__":
    main()
