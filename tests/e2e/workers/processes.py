"""The worker processes of a server: who they are, and how they are killed."""

import itertools
import os
import re
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from e2e.server import Server, free_port, python, serve, serve_source, wait_until
from e2e.wire import RECORD, events

START_TIME = 60.0  # seconds: three processes start, beside those of other tests
PATIENCE = 2 * START_TIME  # seconds; a call may wait while several workers start in turn
TIMEOUT = pytest.mark.timeout(4 * START_TIME)  # of a test that starts servers and workers
AT_ONCE = 1.0  # seconds; nothing that is meant takes a tenth of it
MODULE = "potassium.worker_process"

# The common start of these tests' apps.
HEAD = (
    RECORD
    + """
import ctypes
import os
import signal
import sys
import threading

from potassium import Batch, Limits, Potassium, Request, Workers


def begins(call):
    note(f"{call['name']} {os.getpid()}")
    if "gate" in call:
        wait_for(call["gate"])
    time.sleep(call.get("seconds", 0))
    return {"name": call["name"], "pid": os.getpid()}
"""
)
# What most of them serve. `init` waits while there is a file named "hold-init".
APP = (
    HEAD
    + """
app = Potassium(
    "server",
    workers=Workers(["cpu"] * int(os.environ.get("WORKERS", "2"))),
    limits=Limits(grace_period=float(os.environ.get("GRACE", "20"))),
)


@app.init
def init():
    note(f"init {os.getpid()}")
    while pathlib.Path("hold-init").exists():
        time.sleep(0.005)


@app.handler("/run")
def run(cache, json_in):
    return begins(json_in)


@app.handler("/quick")
def quick(cache, json_in):
    return begins(json_in) if "name" in json_in else None


@app.handler("/prepared", prepare=lambda call: note(f"prepared {os.getpid()}") or call)
def prepared(cache, json_in):
    return begins(json_in)


@app.handler("/batch", batch=Batch(max_size=4, max_delay=0.5))
def batch(cache, items: list[dict]):
    note(f"batch {len(items)}")
    return [begins(item) for item in items]


@app.handler("/slow", streams=8)
def slow(cache, json_in):
    note(f"{json_in['name']} {os.getpid()}")
    while "first" in json_in and not pathlib.Path(json_in["first"]).exists():
        yield from ()
        time.sleep(0.005)
    yield "chunk"
    while not pathlib.Path(json_in["wait"]).exists():
        time.sleep(0.005)
        yield "chunk"
"""
)
SERVE = """

if __name__ == "__main__":
    app.serve()
"""


def workers(server: Server) -> list[int]:
    """Return the process ids of the server's workers that are alive, the oldest first."""
    return sorted(pid for pid in _worker_pids() if _parent(pid) == server.process.pid)


def all_workers(port: int) -> list[int]:
    """Return the workers of the server at ``port``, also those that have lost their parent."""
    mark = f"POTASSIUM_PORT={port}\0".encode()
    return [pid for pid in _worker_pids() if mark in _read(pid, "environ")]


def kill(pid: int) -> None:
    """Kill a worker, as a lack of memory or a fault in a driver does."""
    os.kill(pid, signal.SIGKILL)


def is_gone(pid: int) -> bool:
    """Return whether a process has ended."""
    return _read(pid, "cmdline") == b""


def inits(server: Server) -> list[int]:
    """Return the process of each run of ``init`` that has begun, in order."""
    return [int(line.split()[1]) for line in events(server, "init ")]


def runs(server: Server, name: str) -> list[int]:
    """Return in which processes the calls whose names begin with ``name`` have begun."""
    return [int(line.split()[-1]) for line in events(server, name)]


def order(server: Server, name: str) -> list[str]:
    """Return the names of the calls that have begun, in order."""
    return [line.rpartition(" ")[0] for line in events(server, name)]


def hold_init(server: Server) -> Path:
    """Let each ``init`` wait from now on, until the returned file is removed."""
    file = server.log_file.parent / "hold-init"
    file.touch()
    return file


@dataclass
class Answered:
    """An answer, and how long it took."""

    response: httpx.Response
    at: float  # on the monotonic clock

    @property
    def error(self) -> tuple[int, str]:
        return self.response.status_code, self.response.json()["code"]

    @property
    def pid(self) -> int:
        assert self.response.status_code == httpx.codes.OK, self.response.text
        found: int = self.response.json()["pid"]
        return found


@dataclass
class Call:
    """A call that runs in a thread of its own; it waits for its ``gate``, if it has one."""

    name: str
    result: Callable[[], Answered]
    gate: Path | None = None

    def go_on(self) -> Answered:
        """Let the handler return, and return the answer."""
        assert self.gate is not None
        self.gate.touch()
        return self.result()


@dataclass
class Caller:
    """Sends calls to a server at the same time as others."""

    server: Server
    pool: ThreadPoolExecutor
    gates: list[Path] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def send(self, path: str, name: str, **body: Any) -> Call:
        """Send a call without waiting."""
        future = self.pool.submit(self._post, path, {"name": name, **body})
        return Call(name, lambda: future.result(PATIENCE + 10))

    def hold(self, path: str, name: str, **body: Any) -> Call:
        """Send a call that waits for a gate of its own."""
        gate = self.server.log_file.parent / f"gate of {name}"
        self.gates.append(gate)
        sent = self.send(path, name, gate=str(gate), **body)
        return Call(name, sent.result, gate)

    def occupy(self, path: str, name: str, **body: Any) -> tuple[Call, int]:
        """Hold a call, wait until it has begun, and return it with its worker."""
        held = self.hold(path, name, **body)
        wait_until(lambda: runs(self.server, f"{name} "), f"{name} at work", seconds=START_TIME)
        return held, runs(self.server, f"{name} ")[0]

    def queue(self, path: str, names: list[str], **body: Any) -> list[Call]:
        """Send calls one behind the other, while all workers are busy.

        What counts is that each is admitted before the next one: how many wait may change, as when
        the front has yet to hear that one has begun.
        """
        before = self.admitted()
        sent = []
        for number, name in enumerate(names, before + 1):
            sent.append(self.send(path, name, **body))
            wait_until(lambda number=number: self.admitted() >= number, f"{name} in the queue")  # type: ignore[misc]
        return sent

    def served_by_two(self, old: list[int]) -> None:
        """Wait until a new worker serves beside what is left of the ``old`` ones."""

        def two_are_ready() -> bool:
            pids = set(self.ready())
            return len(pids) == 2 and bool(pids - set(old))

        wait_until(two_are_ready, "two workers that are ready", seconds=PATIENCE)
        probes = [self.occupy("/run", f"probe {next(self.numbers)}") for _ in range(2)]
        assert {pid for _, pid in probes} == set(self.ready())
        for probe, _ in probes:
            probe.go_on()

    def ready(self) -> list[int]:
        """Return the processes of the workers that serve."""
        found = self.server.status()["workers"]
        return [one["pid"] for one in found if one["state"] == "ready"]

    def admitted(self) -> int:
        """Return how many calls have been admitted."""
        found: int = self.server.status()["counts"]["admitted"]
        return found

    def length(self) -> int:
        """Return how many calls wait."""
        found: int = self.server.status()["queue"]["length"]
        return found

    def _post(self, path: str, body: Any) -> Answered:
        with self.server.client(timeout=PATIENCE) as http:
            response = http.post(path, json=body)
        return Answered(response, time.monotonic())


@contextmanager
def crew(
    folder: Path, source: str = APP + SERVE, *, launcher: Sequence[str] = (), **options: Any
) -> Iterator[Caller]:
    """Serve an app with workers until the context exits; leave no process behind.

    A ``launcher`` is a command that becomes ``python app.py``, which follows it.
    """
    options = {"start_time": START_TIME, "cwd": folder, "port": free_port(), **options}
    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(64))
        stack.callback(_end_workers, options["port"])
        if launcher:
            (folder / "app.py").write_text(source)
            command = [*launcher, *python(folder / "app.py")]
            server = stack.enter_context(serve(command, folder / "server.log", **options))
        else:
            server = stack.enter_context(serve_source(source, folder, **options))
        caller = Caller(server, pool)
        stack.callback(_open, caller.gates)
        yield caller


def _open(gates: list[Path]) -> None:
    for gate in gates:
        gate.touch()


def _end_workers(port: int) -> None:
    """Kill the workers that have outlived their server."""
    for pid in all_workers(port):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _worker_pids() -> Iterator[int]:
    for folder in Path("/proc").glob("[0-9]*"):
        pid = int(folder.name)
        if MODULE.encode() in _read(pid, "cmdline"):
            yield pid


def _parent(pid: int) -> int | None:
    found = re.search(r"PPid:\s*(\d+)", _read(pid, "status").decode())
    return int(found[1]) if found else None


def _read(pid: int, name: str) -> bytes:
    with suppress(OSError):
        return Path(f"/proc/{pid}/{name}").read_bytes()
    return b""
