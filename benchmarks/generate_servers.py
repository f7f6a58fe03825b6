"""The servers of the chats, of which only the one that is measured may run.

The others are stopped by a signal meanwhile: LitServe's loop takes a processor while it waits.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from tempfile import TemporaryDirectory

import peers
import psutil
from generate_load import PATH, asked, at_once
from serving import SERVERS, Server

__all__ = ["NAMES", "Bare", "running", "turn"]

NAMES = ("together", "turns", "transformers", "litserve")
PATIENCE = 180.0  # seconds for a model to load
WARM_UP = {"tokens": 2, "temperature": 0.0}


class Bare:
    """The process without a server."""

    def __init__(self) -> None:
        path = os.pathsep.join(filter(None, [str(SERVERS.parent), os.environ.get("PYTHONPATH")]))
        self._process = subprocess.Popen(
            [sys.executable, str(SERVERS / "generate_bare.py")],
            env={**os.environ, "PYTHONPATH": path},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def close(self) -> None:
        self._process.communicate()

    def seconds(self, chats: int, how: dict[str, float]) -> tuple[float, float]:
        """Return those of the loop, and those of ``generate`` for one chat."""
        given, taken = self._process.stdin, self._process.stdout
        assert given is not None
        assert taken is not None
        given.write(json.dumps({"chats": chats, **how}).encode() + b"\n")
        given.flush()
        seen = json.loads(taken.readline())
        return seen["loop"], seen["generate"]


@contextmanager
def running(names: Sequence[str]) -> Iterator[dict[str, Server]]:
    """Run servers, one of which goes on at each ``turn``; a peer that cannot run is left out."""
    with ExitStack() as stack:
        folder = stack.enter_context(TemporaryDirectory())
        servers: dict[str, Server] = {}
        for name in names:
            try:
                server = _started(name, folder)
                stack.callback(server.stop)
                stack.callback(_send, server, signal.SIGCONT)
                body = json.dumps(asked("Hello", WARM_UP)).encode()
                server.wait_until_it_answers(PATH, body, patience=PATIENCE)
                at_once(server, 2, WARM_UP)
            except (OSError, SystemExit, subprocess.SubprocessError) as error:
                if name == "together":
                    raise
                print(f"{name} is left out: {error}", flush=True)
                continue
            _send(server, signal.SIGSTOP)
            servers[name] = server
        yield servers


@contextmanager
def turn(server: Server) -> Iterator[Server]:
    """Let a server run, and no longer."""
    _send(server, signal.SIGCONT)
    try:
        yield server
    finally:
        _send(server, signal.SIGSTOP)


def _started(name: str, folder: str) -> Server:
    if name == "transformers":
        return Server("generate_transformers", folder, env={"TRANSFORMERS_VERBOSITY": "error"})
    if name == "litserve":
        return Server("generate_litserve", python=peers.python(name))
    return Server("generate_potassium", name)


def _send(server: Server, number: signal.Signals) -> None:
    with suppress(psutil.NoSuchProcess):
        for process in [server.seen, *server.seen.children(recursive=True)]:
            process.send_signal(number)
