"""A Ray of this machine, with one of its proxies in front."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import pytest
from e2e.server import free_port

DRIVER = Path(__file__).with_name("driver.py")
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DISABLE_MEMORY_MONITOR": "1",
    "RAY_memory_monitor_refresh_ms": "0",
    "RAY_local_fs_capacity_threshold": "1",  # the disks of those who test are full
    "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "2",
    "RAY_SERVE_PROXY_MIN_DRAINING_PERIOD_S": "2",
    "RAY_SERVE_REPLICA_AUTOSCALING_METRIC_PUSH_INTERVAL_S": "1",
}


@dataclass
class Replica:
    """A replica, as Ray's controller sees it."""

    id: str
    pid: int
    state: str


@dataclass
class Cluster:
    """A Ray with one app at a time."""

    proxy: str
    port: int
    folder: Path
    log_file: Path
    process: subprocess.Popen[str]
    number: int = 0
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    def client(self, **options: Any) -> httpx.Client:
        return httpx.Client(**{"base_url": self.url, "timeout": 30, "trust_env": False, **options})

    def async_client(self, **options: Any) -> httpx.AsyncClient:
        limits = httpx.Limits(max_connections=None)
        chosen = {"base_url": self.url, "timeout": 60, "trust_env": False, "limits": limits}
        return httpx.AsyncClient(**{**chosen, **options})

    def deploy(self, source: str, **options: Any) -> None:
        """Deploy the app in ``source``, with the options of ``deployment``."""
        self.deploy_file(self.next_file(source), **options)

    def next_file(self, source: str) -> Path:
        """Write the app in ``source`` into a file of its own."""
        self.number += 1
        file = self.folder / f"app_{self.number}.py"
        file.write_text(textwrap.dedent(source))
        return file

    def deploy_file(self, file: Path, **options: Any) -> None:
        """Deploy the app in ``file``, as it is now."""
        self.tell("deploy", app=str(file), port=self.port, **options)

    def delete(self) -> None:
        self.tell("delete")

    def replicas(self) -> list[Replica]:
        return [Replica(**one) for one in self.tell("replicas")]

    def running(self) -> list[Replica]:
        return [one for one in self.replicas() if one.state.endswith("RUNNING")]

    def tell(self, name: str, **options: Any) -> Any:
        """Have the driver do something; return what it returned.

        Raises:
            RuntimeError: it raised.

        """
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps([name, options]) + "\n")
        self.process.stdin.flush()
        return self.heard()

    def heard(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"the driver ended:\n{self.log()[-5000:]}"
        answer = json.loads(line)
        if "raised" in answer:
            raise RuntimeError(answer["raised"])
        return answer["returned"]


@contextmanager
def ray_cluster(proxy: str, folder: Path, **env: str) -> Iterator[Cluster]:
    """Run a Ray until the context exits."""
    # Ray's sockets are below this folder, and their names must be short.
    temporary = tempfile.mkdtemp(prefix="ray-")
    log_file = folder / f"{proxy}.log"
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, str(DRIVER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            cwd=folder,
            env={
                **os.environ,
                **ENVIRONMENT,
                "RAY_TMPDIR": temporary,
                "RAY_SERVE_ENABLE_HA_PROXY": str(int(proxy == "haproxy")),
                **env,
            },
        )
    cluster = Cluster(proxy, free_port(), folder, log_file, process)
    try:
        cluster.heard()
        yield cluster
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(60)
        finally:
            process.kill()
            process.__exit__(None, None, None)  # closes its pipes
            shutil.rmtree(temporary, ignore_errors=True)


def needs_ray() -> None:
    """Skip a test without Ray, or fail it where Ray has to be there."""
    if find_spec("ray") is not None:
        return
    if os.environ.get("RAY") == "required":
        pytest.fail("Ray is not installed")
    pytest.skip("needs Ray: nox -s ray")


def until(condition: Any, what: str, *, seconds: float = 60.0) -> float:
    """Return how long it took until ``condition()`` was true."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() < began + seconds, f"not within {seconds} s: {what}"
        time.sleep(0.05)
    return time.monotonic() - began
