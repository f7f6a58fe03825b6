"""How much work a server accepts, how it batches and stores it, and what the environment says."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from potassium.config.checks import check_count, check_seconds
from potassium.errors import UsageError

__all__ = [
    "Batch",
    "Jobs",
    "Limits",
    "default_api_keys",
    "default_host",
    "default_port",
]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much work one server accepts, and for how long.

    Attributes:
        queue_size: maximum number of waiting jobs; more are refused with 503 ``queue_full``.
        body_size: maximum bytes in a request's body; a longer one is refused with 413.
        body_timeout: maximum seconds from a request's headers to the end of its body; a slower
            one is refused with 408.
        timeout: maximum seconds for waiting in the queue and running together, after which the
            caller gets 504; None for no limit. ``@app.handler(timeout=...)`` overrides it.
        grace_period: seconds that open calls have to finish once the server is asked to stop; the
            rest then get 503.
        hang_timeout: seconds after which a call that has not returned means that its thread is
            stuck for good: the server fails, and so does its liveness check. None for never.
        stream_stall_timeout: seconds within which a client must read some of its stream; after
            that the stream is cut off.
        priorities: let clients send ``X-Priority: low``, ``normal`` or ``high``. Only a bounded
            number of other jobs can overtake a job, so none starves.

    Raises:
        UsageError: a value is invalid.

    """

    queue_size: int = 256
    body_size: int = 10 * 1024 * 1024
    body_timeout: float = 30.0
    timeout: float | None = None
    grace_period: float = 30.0
    hang_timeout: float | None = None
    stream_stall_timeout: float = 30.0
    priorities: bool = False

    def __post_init__(self) -> None:
        """Check every value."""
        check_count("queue_size", self.queue_size)
        check_count("body_size", self.body_size)
        check_seconds("body_timeout", self.body_timeout)
        check_seconds("grace_period", self.grace_period)
        check_seconds("stream_stall_timeout", self.stream_stall_timeout)
        if self.timeout is not None:
            check_seconds("timeout", self.timeout)
        if self.hang_timeout is not None:
            check_seconds("hang_timeout", self.hang_timeout)
        if type(self.priorities) is not bool:
            raise UsageError(f"priorities={self.priorities!r} must be True or False.")


@dataclass(frozen=True, kw_only=True)
class Batch:
    """How calls of one handler are combined into batches; it runs once for each batch.

    A batch is dispatched as soon as no more calls are expected, and at the latest ``max_delay``
    after its first call, if the GPU thread is free then.

    Attributes:
        max_size: maximum number of items in a batch.
        max_delay: maximum seconds that an item waits for others while the GPU thread is idle.
        cost: called with an item, off the GPU thread; returns the cost of running it, such as its
            number of tokens. Items of similar cost are batched together.
        max_cost: maximum cost of a batch, which is its number of items times the cost of its
            costliest item, because of padding. An item that costs more runs alone.

    Raises:
        UsageError: a value is invalid.

    """

    max_size: int = 32
    max_delay: float = 0.005
    cost: Callable[[Any], float] | None = None
    max_cost: float | None = None

    def __post_init__(self) -> None:
        """Check every value."""
        check_count("max_size", self.max_size)
        if self.max_delay != 0:
            check_seconds("max_delay", self.max_delay)
        if self.cost is not None and not callable(self.cost):
            raise UsageError(f"cost={self.cost!r} must be a function of an item.")
        if self.max_cost is not None:
            if self.cost is None:
                raise UsageError("max_cost= needs cost=, a function of an item.")
            check_seconds("max_cost", self.max_cost, "a number")


@dataclass(frozen=True, kw_only=True)
class Jobs:
    """Where background jobs are stored, for how long, and how often they are attempted.

    Attributes:
        path: the SQLite file, relative to the working directory; a missing folder is created. Only
            one process at a time may have it open. None keeps jobs in memory, where they are lost
            when the process ends.
        keep_for: seconds for which ended jobs are kept.
        expire_after: seconds after which a job that has not begun expires; None for never.
        attempts: maximum number of attempts at a job that fails, including the first.
            ``@app.background(attempts=...)`` and ``@app.handler(attempts=...)`` override it.
        backoff: seconds from the first failure to the next attempt; doubled for each further one.

    Raises:
        UsageError: a value is invalid.

    """

    path: str | None = ".potassium/jobs.db"
    keep_for: float = 24 * 60 * 60.0
    expire_after: float | None = None
    attempts: int = 1
    backoff: float = 1.0

    def __post_init__(self) -> None:
        """Check every value."""
        if self.path is not None and (not isinstance(self.path, str) or not self.path):
            raise UsageError(f"path={self.path!r} must be the name of a file, or None.")
        check_seconds("keep_for", self.keep_for)
        if self.expire_after is not None:
            check_seconds("expire_after", self.expire_after)
        check_count("attempts", self.attempts)
        check_seconds("backoff", self.backoff)


DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8000
HIGHEST_PORT = 65535


def default_host() -> str:
    """Return ``POTASSIUM_HOST``, or the loopback address by default."""
    return os.environ.get("POTASSIUM_HOST") or DEFAULT_HOST


def default_port() -> int:
    """Return ``POTASSIUM_PORT``, or 8000 by default.

    Raises:
        UsageError: it is not a port number.

    """
    value = os.environ.get("POTASSIUM_PORT") or str(DEFAULT_PORT)
    if not value.isdecimal() or len(value) > len(str(HIGHEST_PORT)) or int(value) > HIGHEST_PORT:
        raise UsageError(f"POTASSIUM_PORT={value!r} must be a port number, 0 to 65535.")
    return int(value)


def default_api_keys() -> list[str]:
    """Return the keys in ``POTASSIUM_API_KEYS``, which are separated by commas."""
    keys = os.environ.get("POTASSIUM_API_KEYS", "").split(",")
    return [key.strip() for key in keys if key.strip()]
