"""Groups of options, frozen and validated on construction, and environment variables."""

import base64
import ipaddress
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from math import isfinite
from typing import Any, Literal

from potassium.errors import UsageError

__all__ = [
    "Batch",
    "Jobs",
    "Limits",
    "Webhooks",
    "check_count",
    "check_options",
    "check_seconds",
    "default_api_keys",
    "default_host",
    "default_port",
]

SECRET_PREFIX = "whsec_"  # noqa: S105 - not a secret itself
SECRET_LENGTHS = range(24, 65)  # bytes, per the Standard Webhooks specification


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much work one server accepts, and for how long.

    Attributes:
        queue_size: maximum number of waiting jobs; more are refused with 503 ``queue_full``.
        body_size: maximum bytes in a request's body; a longer one is refused with 413.
        body_memory: maximum bytes that the bodies of all requests take together, from their first
            byte to the end of the call, with what is parsed of them; more are refused with 503
            ``overloaded``. Bodies of up to 8 KiB are not counted.
        json_values: maximum number of values in a JSON body, as a measure of the time that it takes
            to parse: an array or an object counts as four, and if it is validated, each field that
            it may have as two more. A body with more is refused with 413.
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
    body_memory: int = 256 * 1024 * 1024
    json_values: int = 1_000_000
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
        check_count("body_memory", self.body_memory)
        check_count("json_values", self.json_values)
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


@dataclass(frozen=True, kw_only=True)
class Webhooks:
    """How results are posted to webhook URLs.

    Attributes:
        secret: the secret that signs deliveries, as Standard Webhooks specifies: ``"whsec_..."``.
            Several during a rotation, the newest first.
        client_urls: let clients send a URL for a background job in ``Webhook-Url``. It must lead
            to a public address.
        allow: networks that clients' URLs may lead to nevertheless, such as ``"10.1.0.0/16"``.
        store: ``"jobs"`` to keep deliveries with the background jobs of an app that has any, so
            that they continue after a restart; None to keep them in memory.
        timeout: maximum seconds for one delivery attempt.
        per_host: maximum number of concurrent deliveries to one host.

    Raises:
        UsageError: a value is invalid.

    """

    secret: str | Sequence[str] | None = None
    client_urls: bool = False
    allow: Sequence[str] = ()
    store: Literal["jobs"] | None = "jobs"
    timeout: float = 10.0
    per_host: int = 8

    def __post_init__(self) -> None:
        """Check every value."""
        if type(self.client_urls) is not bool:
            raise UsageError(f"client_urls={self.client_urls!r} must be True or False.")
        if self.store not in ("jobs", None):
            raise UsageError(f'store={self.store!r} must be "jobs" or None.')
        for secret in self.secrets:
            _key_of(secret)
        for network in self.allow:
            _network(network)
        check_seconds("timeout", self.timeout)
        check_count("per_host", self.per_host)

    @property
    def secrets(self) -> Sequence[str]:
        """The secrets, newest first."""
        if self.secret is None:
            return ()
        return (self.secret,) if isinstance(self.secret, str) else tuple(self.secret)

    @property
    def keys(self) -> Sequence[bytes]:
        """The signing keys that the secrets encode, newest first."""
        return [_key_of(secret) for secret in self.secrets]


def _key_of(secret: object) -> bytes:
    """Return the key in a Standard Webhooks secret: ``whsec_`` and 24 to 64 bytes in Base64."""
    if isinstance(secret, str) and secret.startswith(SECRET_PREFIX):
        with suppress(ValueError):
            key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
            if len(key) in SECRET_LENGTHS:
                return key
    raise UsageError(
        "secret=...: write whsec_ and 24 to 64 random bytes in Base64. Make one with: "
        'python -c "import base64, secrets; '
        "print('whsec_' + base64.b64encode(secrets.token_bytes(32)).decode())\""
    )


def _network(network: object) -> None:
    try:
        if not isinstance(network, str):
            raise ValueError  # noqa: TRY004, TRY301 - a number would be taken for an address
        ipaddress.ip_network(network)
    except ValueError:
        raise UsageError(f'allow=[{network!r}]: write a network, such as "10.1.0.0/16".') from None


def check_count(name: str, value: object) -> None:
    """Raise UsageError, naming ``name``, unless ``value`` is a whole number above zero."""
    if type(value) is not int or value < 1:
        raise UsageError(f"{name}={value!r} must be a whole number above zero.")


def check_seconds(name: str, value: object, what: str = "a number of seconds") -> None:
    """Raise UsageError, naming ``name``, unless ``value`` is a finite number above zero."""
    if type(value) not in (int, float) or not isfinite(value) or value <= 0:  # type: ignore[arg-type,operator]
        raise UsageError(f"{name}={value!r} must be {what} above zero.")


def check_options(call: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Check that all options ``given`` to ``call`` are ``known``.

    Raises:
        UsageError: an option is unknown; the message suggests the most similar known one.

    """
    known = list(known)
    for name in given:
        if name not in known:
            nearest = get_close_matches(name, known, n=1)
            hint = f"did you mean {nearest[0]}?" if nearest else f"there are {', '.join(known)}."
            raise UsageError(f"{call}({name}=...): no such option; {hint}")


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
