"""Measures how long it takes from starting a server until its first answer.

In each round, every app is started once in each way, in turn: as it is (``plain``), with a warm-up,
with a snapshot that ``potassium build`` has made, and each of them by ``potassium serve``, which
keeps the garbage collector from running from the first import on. Beside them, scripts that only
load the weights of the plain model. With ``--cold``, the page cache is dropped before each start.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import peers
import report
import workload
from serving import SERVERS, free_port

APPS = ("minilm", "pipeline", "compiled", "plain", "quantised", "gguf")
OTHERS = ("safetensors", "mapped", "fastsafetensors", "tensorizer")
DROP = Path("/proc/sys/vm/drop_caches")
PATIENCE = 600  # seconds; a model may be compiled
OFF = {"POTASSIUM_FASTBOOT": "off"}
AIMS = {
    "gguf": 3.0,
    "quantised": 3.0,
    "plain": 3.0,
    "compiled": 4.0,
    "minilm": 1.0,
    "pipeline": 1.0,
}


@dataclass(frozen=True)
class Way:
    """How an app is started.

    Attributes:
        name: what the tables call it.
        command: the arguments before the app's file, of ``python``.
        env: variables of its process.
        builds: whether a snapshot is made first.

    """

    name: str
    command: tuple[str, ...] = ("-m", "potassium", "serve")
    env: tuple[tuple[str, str], ...] = tuple(OFF.items())
    builds: bool = False


PLAIN = Way("plain")
WAYS = (
    PLAIN,
    Way("python app.py", command=()),
    Way("warm-up", env=(*OFF.items(), ("STARTS_WARMUP", "1"))),
    Way("snapshot", env=(("POTASSIUM_FASTBOOT", "require"),), builds=True),
)


@dataclass(frozen=True)
class Start:
    """What a start took.

    Attributes:
        answer: seconds from starting the process until the first answer had come.
        first: seconds of the first call among them.
        memory: bytes that the process had resident at the most.
        ledger: what the server says of it.

    """

    answer: float
    first: float
    memory: int
    ledger: Mapping[str, Any]


class App:
    """One app, in a folder of its own, where its snapshot is too."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind = kind
        self.folder = folder / kind
        self.folder.mkdir()
        self.file = self.folder / "app.py"
        self.snapshot: str | None = None  # why there is none, if there is none
        self.build_seconds: float | None = None
        shutil.copy(SERVERS / "starts_potassium.py", self.file)

    def env(self, way: Way) -> dict[str, str]:
        path = os.pathsep.join(filter(None, [str(SERVERS.parent), os.environ.get("PYTHONPATH")]))
        caches = {"TORCHINDUCTOR_CACHE_DIR": str(self.folder / f"inductor-{way.name}")}
        own = {"STARTS_APP": self.kind, "PYTHONPATH": path}
        return {**os.environ, **caches, **own, **dict(way.env)}

    def build(self, way: Way) -> None:
        """Make a snapshot of the app, or note why there is none."""
        command = [sys.executable, "-m", "potassium", "build", self.file.name]
        began = time.monotonic()
        done = subprocess.run(
            command,
            cwd=self.folder,
            env={**self.env(way), "POTASSIUM_FASTBOOT": ""},
            capture_output=True,
            text=True,
            check=False,
        )
        self.build_seconds = time.monotonic() - began
        if done.returncode:
            last = (done.stderr.strip() or "no reason").splitlines()[-1]
            self.snapshot = "no such command" if "No such command" in done.stderr else last

    def start(self, way: Way) -> Start:
        """Start the app, call it as soon as it is ready, and end it."""
        port = free_port()
        where = ["--port", str(port)] if way.command else [str(port)]
        began = time.monotonic()
        with _running(
            [sys.executable, *way.command, "app.py", *where], self.folder, self.env(way)
        ) as (
            process,
            log,
        ):
            with httpx.Client(
                base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE, trust_env=False
            ) as http:
                _wait_until_ready(http, process, log, began)
                called = time.monotonic()
                http.post("/", json={"text": "hello"}).raise_for_status()
                over = time.monotonic()
                ledger = http.get("/_k/status").json()["startup"]
            memory = _peak(process.pid)
        return Start(over - began, over - called, memory, ledger)


@contextmanager
def _running(
    command: list[str], folder: Path, env: Mapping[str, str]
) -> Iterator[tuple["subprocess.Popen[bytes]", Path]]:
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=folder, env=env, stdout=output, stderr=output)
        try:
            yield process, log
        finally:
            process.kill()
            process.wait()


def _wait_until_ready(
    http: httpx.Client, process: "subprocess.Popen[bytes]", log: Path, began: float
) -> None:
    while time.monotonic() < began + PATIENCE:
        if process.poll() is not None:
            raise SystemExit(f"a server did not start:\n{log.read_text()}")
        try:
            if http.get("/readyz").is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.01)
    raise SystemExit(f"a server is not ready after {PATIENCE} s:\n{log.read_text()}")


def _peak(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def _drop_page_cache() -> None:
    os.sync()
    DROP.write_text("3")


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
                report.row(app.kind, way.name, app.snapshot or "not measured", "", "", "", "")
                continue
            answers = [one.answer for one in found]
            ratio, shown = report.ratios(plain, answers)
            aim = AIMS[app.kind] if way.builds else None
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
    options.add_argument("--apps", default=",".join(APPS))
    options.add_argument("--without-others", action="store_true", help="no scripts that only load")
    options.add_argument(
        "--cold", action="store_true", help="drop the page cache before each start"
    )
    given = options.parse_args()
    if given.cold and not os.access(DROP, os.W_OK):
        raise SystemExit(f"--cold has to write to {DROP}: run this as root.")
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {workload.FOLDER: folder, workload.GIB: str(given.gib)}
        workload.write()
        apps = [App(kind, Path(folder)) for kind in given.apps.split(",")]
        _measure(apps, given)


def _measure(apps: list[App], given: argparse.Namespace) -> None:
    for app in apps:
        for way in WAYS:
            if way.builds:
                app.build(way)
            else:
                app.start(way)  # compiles bytecode, and fills what torch keeps
    starts: dict[tuple[str, str], list[Start]] = {}
    others: dict[str, list[float]] = {}
    for number in range(given.rounds):
        for app in apps:
            for way in WAYS:
                if way.builds and app.snapshot is not None:
                    continue
                if given.cold:
                    _drop_page_cache()
                starts.setdefault((app.kind, way.name), []).append(app.start(way))
        for how in () if given.without_others else OTHERS:
            if not number:
                _load_alone(how)  # installs it, and writes its file
            if given.cold:
                _drop_page_cache()
            if (spent := _load_alone(how)) is not None:
                others.setdefault(how, []).append(spent)
    print(
        f"{report.machine()}, {given.rounds} rounds, page cache {'cold' if given.cold else 'warm'}"
    )
    _show(apps, starts)
    if others:
        report.table(
            "process that only loads the weights of the plain model", "median", "min to max"
        )
        for how, seconds in others.items():
            report.row(
                how,
                f"{statistics.median(seconds):.2f} s",
                f"{min(seconds):.2f} to {max(seconds):.2f}",
            )


if __name__ == "__main__":
    main()
