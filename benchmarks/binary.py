"""Measure what it takes to send an array of 1 000 x 1 000 float32 to a server and back.

As JSON, .npy and safetensors, beside FastAPI with the same libraries under uvicorn, and beside a
server that sends every body back without reading it: what the loopback and the load allow. Servers
and load run in their own processes. Run with ``nox -s binary``.
"""

import argparse
import io
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import load
import numpy as np
import orjson
import safetensors.numpy
from report import machine, milliseconds, row, table, verdict
from serving import Server, running

SHAPE = (1000, 1000)
OURS, THEIRS, ECHO = "array_potassium", "array_fastapi", "array_echo"
TIMES_JSON, TIMES_THEIRS = 20, 1.5  # the aims for .npy


def _json(array: Any) -> bytes:
    return orjson.dumps(array, option=orjson.OPT_SERIALIZE_NUMPY)


def _npy(array: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def _safetensors(array: Any) -> bytes:
    return safetensors.numpy.save({"array": array})


FORMS: dict[str, tuple[str, Callable[[Any], bytes]]] = {
    "json": ("application/json", _json),
    "npy": ("application/x-npy", _npy),
    "safetensors": ("application/safetensors", _safetensors),
}


def sent(server: Server, form: str, file: Path, connections: int, seconds: float) -> dict[str, Any]:
    """Return the rate of calls, the sizes of the answers, and the seconds of CPU time per call."""
    path = f"/{form}" if server.name == THEIRS else "/"
    script = str(Path(__file__).with_name("binary_load.py"))
    arguments = (server.port, path, FORMS[form][0], file, connections, seconds)
    before = sum(server.seen.cpu_times()[:2])
    seen = load.result([sys.executable, script, *map(str, arguments)])
    seen["cpu"] = (sum(server.seen.cpu_times()[:2]) - before) / seen["calls"]
    return seen


def measure(folder: Path, connections: int, rounds: int, seconds: float) -> None:
    array = np.random.default_rng(1).standard_normal(SHAPE, "float32")
    files = {}
    for form, (_, encode) in FORMS.items():
        files[form] = folder / form
        files[form].write_bytes(encode(array))
    rates: dict[tuple[str, str], list[float]] = {}
    spent: dict[tuple[str, str], list[float]] = {}
    with running(OURS, THEIRS, ECHO) as servers:
        for round_ in range(rounds + 1):
            for form, file in files.items():
                for server in servers if round_ % 2 else servers[::-1]:
                    seen = sent(server, form, file, connections, seconds if round_ else 1)
                    if seen["sizes"][0] < array.nbytes:
                        raise SystemExit(f"{server.name} returned something else as {form}")
                    if round_:  # the first one is to warm up
                        rates.setdefault((server.name, form), []).append(seen["rate"])
                        spent.setdefault((server.name, form), []).append(seen["cpu"])
    table(
        "form", "MiB", "Potassium / FastAPI", "FastAPI's CPU time / Potassium's", "FastAPI / echo",
        "Potassium", "FastAPI", "echo", "CPU time per call",
    )  # fmt: skip
    for form, file in files.items():
        ours, theirs, echo = (rates[name, form] for name in (OURS, THEIRS, ECHO))
        row(
            form,
            f"{file.stat().st_size / 2**20:.1f}",
            ratio(ours, theirs),
            ratio(spent[THEIRS, form], spent[OURS, form]),
            ratio(theirs, echo),
            *(f"{statistics.median(one):.1f}/s" for one in (ours, theirs, echo)),
            milliseconds(statistics.median(spent[OURS, form])),
        )
    aims = {
        f".npy: at least {TIMES_JSON} times JSON": (rates[OURS, "json"], TIMES_JSON),
        f".npy: at least {TIMES_THEIRS} times FastAPI": (rates[THEIRS, "npy"], TIMES_THEIRS),
    }
    table("aim", "measured", "verdict")
    for aim, (others, least) in aims.items():
        npy = rates[OURS, "npy"]
        reached = statistics.median(npy) >= least * statistics.median(others)
        row(aim, ratio(npy, others), verdict(reached=reached))


def ratio(ours: list[float], theirs: list[float]) -> str:
    """Return the median of the rounds' ratios, with the lowest and the highest."""
    ratios = sorted(one / other for one, other in zip(ours, theirs, strict=True))
    return f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4, help="seconds of load in each")
    options = parser.parse_args()
    print(__doc__)
    print(f"Machine: {machine()}. Ratios are medians over the rounds, with the least and the most.")
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder), options.connections, options.rounds, options.seconds)


if __name__ == "__main__":
    main()
