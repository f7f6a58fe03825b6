"""Tells systemd about the server: ready, stopping, still alive. Without systemd, does nothing."""

import logging
import os
import socket
import time
from collections.abc import Callable, Mapping

__all__ = ["Supervisor"]

logger = logging.getLogger("potassium")


class Supervisor:
    """The service manager that started this process with ``Type=notify``, if one did.

    It is told by datagrams to a Unix socket that ``NOTIFY_SOCKET`` names; see sd_notify(3) and
    sd_watchdog_enabled(3).

    Args:
        environ: the environment of the process.
        clock: returns monotonic seconds.

    """

    def __init__(
        self,
        environ: Mapping[str, str] = os.environ,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        path = environ.get("NOTIFY_SOCKET", "")
        self._address = f"\0{path[1:]}" if path.startswith("@") else path
        self._clock = clock
        self._told = ""
        self._period = _watchdog_seconds(environ) / 2  # sd_watchdog_enabled(3) recommends half
        self._due = 0.0

    def ready(self, status: str) -> None:
        """Say that the server is ready, and show ``status`` in ``systemctl status``."""
        self._tell(f"READY=1\nSTATUS={status}")

    def stopping(self) -> None:
        """Say that the server is stopping; to be called as often as one likes."""
        self._tell("STOPPING=1\nSTATUS=draining: admitted calls finish")

    def beat(self) -> None:
        """Say that the event loop is alive, if that is due; to be called all the time."""
        if self._period and (now := self._clock()) >= self._due:
            self._due = now + self._period
            self._send("WATCHDOG=1")

    def _tell(self, state: str) -> None:
        if self._address and state != self._told:
            self._told = state
            self._send(state)

    def _send(self, text: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to:
                to.setblocking(False)  # noqa: FBT003 - its only argument
                to.sendto(text.encode(), self._address)
        except OSError as error:
            logger.warning("systemd could not be told %r: %s. It may end this process", text, error)


def _watchdog_seconds(environ: Mapping[str, str]) -> float:
    """Return how often systemd wants to hear of this process; 0 if it does not."""
    if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return 0.0
    microseconds = environ.get("WATCHDOG_USEC", "")
    return int(microseconds) / 1e6 if microseconds.isdecimal() else 0.0
