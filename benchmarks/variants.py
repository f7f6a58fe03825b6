"""The servers that workers.py compares: Potassium, with workers and in one process, and peers."""

import json
import os
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import devices
import peers
import work
from serving import Server

Result = TypeVar("Result")
Source = TypeVar("Source")

WORKERS, ONE, MOSEC, LITSERVE = "workers", "one process", "mosec", "LitServe"
PATIENCE = 60  # seconds for all workers to be ready
NAP = 0.05  # seconds
BODIES = {
    "noop": {"x": 1.0},
    "nap": {"seconds": 0},
    "stream": {"chunks": 1, "delay": 0},
}  # of a first call; of all others, an empty object will do


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A server to start.

    Args:
        name: what tables call it.
        script: one of ``servers/``.
        processes: of which each has a model.
        python: the interpreter.
        env: more variables.

    """

    name: str
    script: str
    processes: int = 2
    python: str = sys.executable
    env: Mapping[str, str] = field(default_factory=dict)

    def start(self, env: Mapping[str, str]) -> Server:
        return Server(self.script, python=self.python, env={**self.env, **env})


def potassium(on: str, script: str = "workers_potassium") -> list[Variant]:
    """Return Potassium with a worker on each of the devices, and in one process.

    Args:
        on: the devices, with commas between them.
        script: one of ``servers/``.

    """
    count = on.count(",") + 1
    return [
        Variant(name=WORKERS, script=script, processes=count, env={devices.DEVICES: on}),
        Variant(name=ONE, script=script, processes=1),
    ]


def others(*names: str) -> list[Variant]:
    """Return peers with two workers each."""
    return [
        Variant(name=name, script=f"workers_{name.lower()}", python=peers.python(name.lower()))
        for name in names
    ]


@contextmanager
def started(
    variants: list[Variant], name: str, env: Mapping[str, str] | None = None
) -> Iterator[dict[str, Server]]:
    """Run servers, with all of their workers ready, until the context exits.

    Args:
        variants: the servers.
        name: of the work, one of ``work.ALL`` or ``stream``, that a peer does at the same path.
        env: more variables.

    """
    with ExitStack() as stack:
        servers = {}
        for variant in variants:
            servers[variant.name] = variant.start({work.WORK: name, **(env or {})})
            stack.callback(servers[variant.name].kill)
        for variant in variants:
            server = servers[variant.name]
            server.wait_until_it_answers(f"/{name}", json.dumps(BODIES.get(name, {})).encode())
            if variant.name == WORKERS or name == "nap":
                wait_for_all(server, variant.processes)
        yield servers


def nap(server: Server, *, timeout: float, **body: object) -> int:
    """Call ``/nap``; return the process that answered.

    Raises:
        OSError: no answer, or not 200.

    """
    headers = {"Content-Type": "application/json"}
    url = f"http://127.0.0.1:{server.port}/nap"
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=timeout) as answer:
        process: int = json.load(answer)["process"]
        return process


def wait_for_all(server: Server, count: int) -> None:
    """Return once so many processes answer at the same time.

    Raises:
        SystemExit: they did not in time.
        OSError: a call failed.

    """
    end = time.monotonic() + PATIENCE
    with ThreadPoolExecutor(count) as pool:
        while time.monotonic() < end:
            naps = [pool.submit(nap, server, timeout=PATIENCE, seconds=NAP) for _ in range(count)]
            if len({one.result() for one in naps}) == count:
                return
    raise SystemExit(f"{server.name} does not have {count} workers")


def in_turns(
    sources: Mapping[str, Source], rounds: int, take: Callable[[Source], Result]
) -> dict[str, list[Result]]:
    """Measure every source in each round, in one order and then in the other."""
    seen: dict[str, list[Result]] = {name: [] for name in sources}
    for number in range(rounds):
        for name in list(sources)[:: -1 if number % 2 else 1]:
            seen[name].append(take(sources[name]))
    return seen


def computing(seconds: float) -> None:
    """Let the servers that start from now on compute so long in each call of ``/busy``."""
    os.environ[work.ITERATIONS] = str(work.calibrated(seconds))
