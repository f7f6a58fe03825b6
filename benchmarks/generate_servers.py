"""The servers of the chats, of which only the one that is measured may run.

The others are stopped by a signal meanwhile: LitServe's loop takes a processor while it waits.
"""

import json
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from tempfile import TemporaryDirectory

import peers
import psutil
from generate_load import PATH, asked, at_once
from serving import Server

__all__ = ["NAMES", "running", "turn"]

NAMES = ("together", "turns", "transformers", "litserve")
PATIENCE = 180.0  # seconds for a model to load
WARM_UP = {"tokens": 2, "temperature": 0.0}


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
