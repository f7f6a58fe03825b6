"""Hearing of the signals that stop a server, before the server acts on them."""

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["SIGNALS", "before_signals"]

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def before_signals(callback: Callable[[], None]) -> Iterator[None]:
    """Call ``callback`` on the running event loop when a signal is about to stop the server.

    A server that has a handler for the signal keeps it, behind ours. Where there is none, or
    outside of the main thread, nothing is changed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    servers = {sig: handler for sig in SIGNALS if callable(handler := signal.getsignal(sig))}

    def handle(sig: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(callback)
        servers[signal.Signals(sig)](sig, frame)

    for sig in servers:
        signal.signal(sig, handle)
    try:
        yield
    finally:
        for sig, handler in servers.items():
            if signal.getsignal(sig) is handle:
                signal.signal(sig, handler)
