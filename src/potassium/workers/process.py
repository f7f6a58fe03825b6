"""A worker process, as the front sees it: how it is started, and how its end is noticed."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from potassium.config.import_path import ImportPath
from potassium.workers.page import Page
from potassium.workers.placement import Placement

__all__ = ["ENTRY", "HELD_BACK", "Start", "WorkerProcess"]

ENTRY = "potassium.worker_process"  # the module that is run in it

# A worker goes on at these, but until it gets there they would end it.
HELD_BACK = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True)
class Start:
    """What a worker process needs to know.

    Attributes:
        location: where it imports the app from.
        placement: where it is.
        name: its name in log lines.
        log: how it logs. ``lock`` is a file that it has to inherit, or None.
        handlers: the paths of the handlers that it must have.

    """

    location: ImportPath
    placement: Placement
    name: str
    log: Mapping[str, Any]
    handlers: tuple[str, ...] = ()


class WorkerProcess:
    """A process that was started. Belongs to the event loop.

    It ends when its end of the socket does, and with this process in any case: the kernel sees to
    that where it can.

    Args:
        ended: called on the loop once it has ended, with its status as ``subprocess`` gives it.

    Attributes:
        pid: its process id.
        socket: the front's end of the socket.
        page: the memory shared with it.
        was_killed: whether this process has killed it.

    """

    def __init__(self, start: Start, ended: Callable[[int], object]) -> None:
        """Start it.

        Raises:
            OSError: it cannot be started, for want of memory, processes or descriptors.

        """
        self._ended = ended
        self._loop = asyncio.get_running_loop()
        self.was_killed = False
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self.page = Page()
            try:
                self._process = _spawn(start, its, self.page)
            except BaseException:
                self.page.close()
                raise
        except BaseException:
            ours.close()
            raise
        finally:
            its.close()
        self.socket = ours
        self.pid = self._process.pid
        self._watch()

    def kill(self) -> None:
        """End it at once, whatever it does."""
        self.was_killed = True
        with suppress(ProcessLookupError):
            self._process.kill()

    def _watch(self) -> None:
        try:
            watched = os.pidfd_open(self.pid)
        except (AttributeError, OSError):  # not Linux, an old one, or a sandbox that forbids it
            thread = threading.Thread(target=self._wait, name="potassium-wait", daemon=True)
            thread.start()
            return

        def gone() -> None:
            self._loop.remove_reader(watched)
            os.close(watched)
            self._ended(self._process.wait())

        self._loop.add_reader(watched, gone)

    def _wait(self) -> None:
        status = self._process.wait()
        with suppress(RuntimeError):  # the loop was closed
            self._loop.call_soon_threadsafe(self._ended, status)


def _spawn(start: Start, its: socket.socket, page: Page) -> subprocess.Popen[bytes]:
    told: dict[str, Any] = {
        "socket": its.fileno(),
        "page": page.fd,
        "parent": os.getpid(),
        "folder": str(start.location.folder),
        "module": start.location.module,
        "name": start.location.name,
        "device": start.placement.told,
        "path": sys.path,
        "switch_interval": sys.getswitchinterval(),
        "worker": start.name,
        "log": dict(start.log),
    }
    inherited = [its.fileno(), page.fd]
    if (lock := start.log["lock"]) is not None:
        inherited.append(lock)
    flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined] # noqa: SLF001
    before = signal.pthread_sigmask(signal.SIG_BLOCK, HELD_BACK)  # which the process inherits
    try:
        return subprocess.Popen(  # noqa: S603 - our own interpreter
            [sys.executable, *flags, "-m", ENTRY, json.dumps(told)],
            stdin=subprocess.DEVNULL,
            env={**os.environ, **start.placement.environment},
            pass_fds=inherited,
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
