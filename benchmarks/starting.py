"""Apps of starts.py: how they are started, and what is measured of it."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from serving import SERVERS, free_port

__all__ = ["PLAIN", "WAYS", "App", "Start", "Way", "drop_page_cache"]

DROP = Path("/proc/sys/vm/drop_caches")
PATIENCE = 600  # seconds; a model may be compiled
OFF = {"POTASSIUM_FASTBOOT": "off"}
INPUT = {"text": "hello"}


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
        caches = {} if way.builds else {"TORCHINDUCTOR_CACHE_DIR": str(self.folder / "inductor")}
        own = {"STARTS_APP": self.kind, "PYTHONPATH": path}
        return {**os.environ, **caches, **own, **dict(way.env)}

    def build(self, way: Way) -> None:
        """Make a snapshot of the app, or note why there is none."""
        (self.folder / "body.json").write_text(json.dumps(INPUT))
        command = [sys.executable, "-m", "potassium", "build", self.file.name]
        command += ["--call", "body.json"]
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
            print(done.stderr[-3000:], file=sys.stderr)
            last = (done.stderr.strip() or "no reason").splitlines()[-1]
            self.snapshot = "no such command" if "No such command" in done.stderr else last

    def start(self, way: Way) -> Start:
        """Start the app as in a new container, call it as soon as it is ready, and end it.

        There, nothing has been compiled yet, but for what is in a snapshot.
        """
        shutil.rmtree(self.folder / "inductor", ignore_errors=True)
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
                http.post("/", json=INPUT).raise_for_status()
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


def drop_page_cache() -> None:
    """Let files be read from the disk; the caller must be root."""
    os.sync()
    DROP.write_text("3")
