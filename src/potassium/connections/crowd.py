"""All connections of one server: how many there may be, and what they may hold."""

import asyncio
import heapq
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from starlette.types import Scope

from potassium.config import Limits
from potassium.connections.outgoing import Outgoing
from potassium.errors import PotassiumError, TooManyConnections

try:
    import resource
except ImportError:  # Windows has no such limit
    resource = None  # type: ignore[assignment]

__all__ = ["Crowd", "Refused"]

LONGEST_PERIOD = 1.0  # seconds
SHORTEST_PERIOD = 0.01  # seconds
LOG_PAUSE = 60.0  # seconds between two log lines that any client can cause at will

MOST_FILES = 65_536
SPARE_FILES = 64  # for the app: models, the job file, webhooks
LEAVING = 32  # connections that are being closed, in addition to the maximum number
FULL = 0.05  # seconds for which all connections are taken to be in use if they all were
FEWEST_CONNECTIONS = 16

Refused = Callable[[PotassiumError, Scope], object]

logger = logging.getLogger("potassium")


class Member(Protocol):
    """The parts of a connection that a crowd uses."""

    outgoing: Outgoing
    deadline: float

    @property
    def is_idle(self) -> bool:
        """Whether nothing is left to answer or send, so that it is safe to close the connection."""

    def expire(self) -> None:
        """Close the connection, because its deadline has passed."""

    def abort(self) -> None:
        """End the connection at once, whatever the client has yet to read."""

    def refuse(self, error: PotassiumError) -> None:
        """Answer with ``error``, and close the connection."""


class Crowd:
    """Limits the number of connections, how long they last, and what they hold together.

    Connections have no timers of their own: all of them are checked once a second. Time during
    which the process was stopped or the event loop was blocked does not count against clients.

    Attributes:
        limits: what each connection may send, and for how long.
        keep_alive: seconds for which an idle connection is kept.
        body_timeout: seconds without a byte of a body after which a request is given up.
        now: a time on the loop's clock, at most one check later than the current one.

    """

    def __init__(
        self,
        limits: Limits,
        keep_alive: float,
        refused: Refused = lambda _, __: None,
    ) -> None:
        """Begin without connections, in a running event loop; tell ``refused`` of each refusal."""
        self._refused = refused
        self.limits = limits
        self.keep_alive = keep_alive
        # Handlers' bodies are timed by their endpoint, which answers 408 before this is over.
        self.body_timeout = limits.body_timeout * 1.1 + LONGEST_PERIOD
        self._stall_timeout = limits.stream_stall_timeout * 1.1 + LONGEST_PERIOD
        self._most = limits.connections or _affordable()
        self._open: set[Member] = set()
        self._leaving: dict[Member, None] = {}  # longest first
        self._full_until = 0.0
        period = min(LONGEST_PERIOD, limits.head_timeout / 4, keep_alive / 4)
        self._period = max(SHORTEST_PERIOD, period)
        self._logged_at: dict[str, float] = {}
        self._loop = asyncio.get_running_loop()
        self.now = 0.0
        self._look()

    def add(self, connection: Member) -> None:
        """Note an open connection; if there are too many, close idle ones or refuse this one."""
        self._open.add(connection)
        if len(self._open) + len(self._leaving) > self._most:
            self._make_room(connection)

    def leave(self, connection: Member) -> None:
        """Note that a connection is being closed, which may take a while."""
        self._open.discard(connection)
        self._leaving[connection] = None

    def discard(self, connection: Member) -> None:
        """Forget a closed connection."""
        self._open.discard(connection)
        self._leaving.pop(connection, None)

    def _make_room(self, new: Member) -> None:
        """Close the idle connections that would expire first; if there are none, refuse ``new``."""
        if len(self._open) > self._most:
            now = self._loop.time()
            idle: list[Member] = []
            if now >= self._full_until:  # checking all of them for each new one is too slow
                idle = [one for one in self._open if one.is_idle and one is not new]
            for one in heapq.nsmallest(1 + len(self._open) // 16, idle, key=lambda it: it.deadline):
                one.expire()
            if not idle:
                self._full_until = max(self._full_until, now + FULL)
                new.refuse(TooManyConnections(retry_after=1))
        surplus = len(self._leaving) - LEAVING
        for one in [one for one in self._leaving if not one.outgoing.size][: max(0, surplus)]:
            one.abort()

    def _look(self) -> None:
        """Close connections that have passed their deadline, or whose clients do not read."""
        now = self._loop.time()
        stopped = now - self.now if self.now else 0.0
        self.now = now + self._period
        self._loop.call_later(self._period, self._look)
        if stopped > self._period:
            for connection in (*self._open, *self._leaving):
                connection.deadline += stopped
                connection.outgoing.forgive(stopped)
        unread: list[tuple[int, int, Member]] = []
        for connection in (*self._open, *self._leaving):
            if size := connection.outgoing.size:
                if connection.outgoing.is_stalled(now, self._stall_timeout):
                    connection.abort()
                else:
                    unread.append((size, id(connection), connection))
            elif connection.deadline <= now:
                connection.expire()
        excess = sum(size for size, _, _ in unread) - self.limits.responses_size
        unread.sort()
        while excess > 0:
            size, _, connection = unread.pop()
            connection.abort()
            excess -= size

    def note_refusal(self, error: PotassiumError, scope: Scope) -> None:
        """Log that something other than a request arrived, at most once a minute for each kind."""
        self._refused(error, scope)
        now = time.monotonic()
        if now - self._logged_at.get(error.code, -LOG_PAUSE) >= LOG_PAUSE:
            self._logged_at[error.code] = now
            logger.warning("refused a connection: %s %s", error.code, error.detail)


def _affordable() -> int:
    """Return how many connections the limit on open files allows, after raising it if possible."""
    if resource is None:
        return MOST_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(ValueError, OSError):  # macOS has another limit, which it does not tell
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    files = MOST_FILES if soft == resource.RLIM_INFINITY else soft
    try:
        taken = sum(1 for _ in Path("/dev/fd").iterdir())
    except OSError:
        taken = 0
    return max(FEWEST_CONNECTIONS, files - taken - SPARE_FILES - LEAVING)
