"""An app whose background jobs meet every fault, and helpers that cause the faults."""

import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from e2e.jobs import IMPORTS, SERVE
from e2e.server import Server, free_port, python

ENDED_BY_KILL = -9  # exit status

SOURCE = (
    IMPORTS
    + """
import asyncio

app = Potassium("server", limits=Limits(grace_period=float(os.environ.get("GRACE", "20"))))


@app.background("/echo")
def echo(cache, json_in):
    return json_in


@app.background("/hold")
def held(cache, json_in):
    return hold(json_in)


@app.background("/kills")
def kills(cache, json_in):
    note(json_in["name"])
    time.sleep(0.3)  # for the 202 to be sent
    os.kill(os.getpid(), signal.SIGKILL)


@app.background("/kills-often", attempts=4, backoff=0.01)
def kills_often(cache, json_in):
    note(json_in["name"])
    time.sleep(0.3)  # for the 202 to be sent
    os.kill(os.getpid(), signal.SIGKILL)


@app.handler("/batch", batch=Batch(max_size=8))
def batch(cache, items: list[dict]):
    note(f"batch {[item['number'] for item in items]}")
    if any(item["kills"] for item in items):
        os.kill(os.getpid(), signal.SIGKILL)
    return [item["number"] for item in items]


@app.background("/long")
async def long(cache, json_in):
    while not os.path.exists(json_in["gate"]):
        await asyncio.sleep(0.005)
    return "long"


@app.background("/fails", attempts=4, backoff=0.2)
def fails(cache, json_in):
    note(f"{json_in['name']} {time.monotonic()}")
    raise ValueError


@app.background("/large")
def large(cache, json_in):
    hold(json_in)
    return "x" * json_in["size"]
"""
    + SERVE
)


def kill(server: Server) -> None:
    """Kill the process, as a lack of memory or a power failure does."""
    server.process.kill()
    server.process.wait()


def run_to_its_end(folder: Path, *, seconds: float = 30.0) -> subprocess.CompletedProcess[str]:
    """Run the ``app.py`` of a folder until it ends by itself."""
    return subprocess.run(
        python(folder / "app.py"),
        cwd=folder,
        env={**os.environ, "PYTHONUNBUFFERED": "1", "POTASSIUM_PORT": str(free_port())},
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )


@contextmanager
def full_disk(server: Server, *, room: int) -> Iterator[None]:
    """Stop the process from writing any file beyond its first ``room`` bytes (Linux only)."""
    pid, kind = server.process.pid, resource.RLIMIT_FSIZE
    soft, hard = resource.prlimit(pid, kind)
    resource.prlimit(pid, kind, (room, hard))
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            resource.prlimit(pid, kind, (soft, hard))
