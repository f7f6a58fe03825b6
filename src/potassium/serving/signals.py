"""Notices the signals that stop a server, before the server acts on them."""

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["SIGNALS", "before_signals", "end_forked"]

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def before_signals(callback: Callable[[], None]) -> Iterator[None]:
    """Call ``callback`` on the running event loop when a signal is about to stop the server.

    The server's own signal handler stays in use: ours calls it. A second signal, though, ends the
    process at once. If there is no handler, or outside the main thread, nothing is changed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    servers = {sig: handler for sig in SIGNALS if callable(handler := signal.getsignal(sig))}

    signalled, pid = False, os.getpid()

    def handle(sig: int, frame: FrameType | None) -> None:
        nonlocal signalled
        if end_forked(pid, sig):
            return
        servers[signal.Signals(sig)](sig, frame)
        if signalled:
            # Not every server exits at once then, nor could it: the GPU thread may be anywhere.
            os._exit(128 + sig)
        signalled = True
        loop.call_soon_threadsafe(callback)

    for sig in servers:
        signal.signal(sig, handle)
    try:
        yield
    finally:
        for sig, handler in servers.items():
            if signal.getsignal(sig) is handle:
                signal.signal(sig, handler)


def end_forked(pid: int, sig: int) -> bool:
    """End this process as ``sig`` asks if it was forked from the server, process ``pid``.

    A process that a handler forks inherits the server's signal handlers, but is not a server.
    """
    if os.getpid() == pid:
        return False
    signal.signal(sig, signal.SIG_DFL)
    os.kill(os.getpid(), sig)
    return True
