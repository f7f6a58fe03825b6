"""Measures how long it takes from starting a server until its first answer.

In each round, every app is started once in each way, in turn: as it is (``plain``), with a warm-up,
with a snapshot that ``potassium build`` has made, and each of them by ``potassium serve``, which
keeps the garbage collector from running from the first import on. Each start is one in a new
container: torch has compiled nothing before, but for what a snapshot has. Beside them, scripts that
only load the weights of the plain model. With ``--cold``, the page cache is dropped before each
start.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import peers
import report
import workload
from serving import SERVERS
from starting import DROP, PLAIN, WAYS, App, Start, Way, drop_page_cache

APPS = ("minilm", "pipeline", "compiled", "plain", "quantised", "gguf")
LANGUAGE = ("language", "placed")  # where they are asked for
OTHERS = ("safetensors", "mapped", "fastsafetensors", "tensorizer")
AIMS = {
    "gguf": 3.0,
    "quantised": 3.0,
    "plain": 3.0,
    "compiled": 4.0,
    "minilm": 1.0,
    "pipeline": 1.0,
}


def _load_alone(how: str) -> float | None:
    """Return how long a script takes that only loads the weights; None if it cannot."""
    python = sys.executable
    if how in peers.PEERS:
        try:
            python = peers.python(how)
        except subprocess.CalledProcessError:
            return None
    path = os.pathsep.join(filter(None, [str(SERVERS.parent), os.environ.get("PYTHONPATH")]))
    command = [python, str(SERVERS / "starts_load.py"), how]
    began = time.monotonic()
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, check=False
    )
    if done.returncode:
        print(done.stderr.decode()[-500:], file=sys.stderr)
        return None
    return time.monotonic() - began


def _show(apps: list[App], starts: Mapping[tuple[str, str], list[Start]]) -> None:
    report.table(
        "app", "started", "exec to first answer", "plain / this", "aim", "first call", "peak memory"
    )
    for app in apps:
        plain = [one.answer for one in starts[app.kind, PLAIN.name]]
        for way in WAYS:
            found = starts.get((app.kind, way.name))
            if found is None:
                if app.snapshot is not None:
                    report.row(app.kind, way.name, app.snapshot, "", "", "", "")
                continue
            answers = [one.answer for one in found]
            ratio, shown = report.ratios(plain, answers)
            aim = AIMS.get(app.kind) if way.builds else None
            report.row(
                app.kind,
                way.name,
                f"{statistics.median(answers):.2f} s ({min(answers):.2f} to {max(answers):.2f})",
                shown,
                "" if aim is None else f"at least {aim:g}: {report.verdict(reached=ratio >= aim)}",
                report.milliseconds(statistics.median(one.first for one in found)),
                report.mebibytes(statistics.median(one.memory for one in found)),
            )
    _show_ledgers(apps, starts)
    report.table("app", "build", "plain starts")
    for app in apps:
        if app.snapshot is None and app.build_seconds is not None:
            plain = [one.answer for one in starts[app.kind, PLAIN.name]]
            long = app.build_seconds / statistics.median(plain)
            report.row(app.kind, f"{app.build_seconds:.1f} s", f"{long:.1f} (aim: at most 3)")


def _show_ledgers(apps: list[App], starts: Mapping[tuple[str, str], list[Start]]) -> None:
    report.table("app", "started", "where the time of its fastest start went, seconds")
    for app in apps:
        for way in WAYS:
            if found := starts.get((app.kind, way.name)):
                ledger = min(found, key=lambda one: one.answer).ledger
                kept = {
                    key: ledger[key]
                    for key in ("phases", "libraries", "warmups")
                    if ledger.get(key)
                }
                report.row(app.kind, way.name, json.dumps(kept))


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=10)
    options.add_argument("--gib", type=float, default=2.0, help="size of the plain model")
    options.add_argument(
        "--apps", default=",".join(APPS), help=f"also {' and '.join(LANGUAGE)}: a Llama of 2.3 GiB"
    )
    options.add_argument("--ways", help="only these")
    options.add_argument("--device", default="cpu", help="of plain, language and placed")
    options.add_argument("--without-others", action="store_true", help="no scripts that only load")
    options.add_argument(
        "--cold", action="store_true", help="drop the page cache before each start"
    )
    given = options.parse_args()
    if given.cold and not os.access(DROP, os.W_OK):
        raise SystemExit(f"--cold has to write to {DROP}: run this as root.")
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {
            workload.FOLDER: folder,
            workload.GIB: str(given.gib),
            workload.DEVICE: given.device,
        }
        kinds = given.apps.split(",")
        if set(kinds) - set(LANGUAGE):
            workload.write()
        if set(kinds) & set(LANGUAGE):
            workload.write_language()
        _measure([App(kind, Path(folder)) for kind in kinds], given)


def _measure(apps: list[App], given: argparse.Namespace) -> None:
    ways = [way for way in WAYS if given.ways is None or way.name in given.ways.split(",")]
    for app in apps:
        for way in ways:
            if way.builds:
                app.build(way)
            else:
                app.start(way)  # compiles bytecode, and reads the files
    starts: dict[tuple[str, str], list[Start]] = {}
    others: dict[str, list[float]] = {}
    for number in range(given.rounds):
        _start_all(apps, ways, starts, is_cold=given.cold)
        if not given.without_others:
            _load_all(others, is_cold=given.cold, is_first=not number)
    cache = "cold" if given.cold else "warm"
    print(f"{report.machine()}, {given.rounds} rounds, page cache {cache}")
    _show(apps, starts)
    if others:
        report.table("process that only loads the weights of the plain model", "median", "range")
        for how, seconds in others.items():
            median, low, high = statistics.median(seconds), min(seconds), max(seconds)
            report.row(how, f"{median:.2f} s", f"{low:.2f} to {high:.2f}")


def _start_all(
    apps: list[App], ways: list[Way], starts: dict[tuple[str, str], list[Start]], *, is_cold: bool
) -> None:
    for app in apps:
        for way in ways:
            if way.builds and app.snapshot is not None:
                continue
            if is_cold:
                drop_page_cache()
            start = app.start(way)
            print(f"{app.kind}, {way.name}: {start.answer:.2f} s", file=sys.stderr)
            starts.setdefault((app.kind, way.name), []).append(start)


def _load_all(others: dict[str, list[float]], *, is_cold: bool, is_first: bool) -> None:
    for how in OTHERS:
        if is_first:
            _load_alone(how)  # installs it, and writes its file
        if is_cold:
            drop_page_cache()
        if (spent := _load_alone(how)) is not None:
            others.setdefault(how, []).append(spent)


if __name__ == "__main__":
    main()
