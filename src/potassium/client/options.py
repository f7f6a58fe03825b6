"""What calls can be given, each on its own or all of a client's alike."""

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, TypeAlias, TypedDict, TypeVar

import httpx

from potassium.client.body import Files

__all__ = [
    "LIMITS",
    "CallOptions",
    "ClientOptions",
    "ClientSettings",
    "Options",
    "Priority",
    "Settings",
    "StreamOptions",
    "SubmitOptions",
    "given_as",
]

OptionsT = TypeVar("OptionsT", "Options", "ClientSettings")

Priority: TypeAlias = Literal["low", "normal", "high"]

# A call may take minutes; a connection does not. Calls wait for their place in the pool.
TIMEOUT = httpx.Timeout(600.0, connect=5.0, pool=None)
RETRIES = 4
# With HTTP/1.1, each call that runs has a connection of its own. The server closes those that are
# idle for 75 s; a client that closes them first never sends a call to one that is closing.
MOST_CONNECTIONS = 2000
LIMITS = httpx.Limits(
    max_connections=MOST_CONNECTIONS,
    max_keepalive_connections=MOST_CONNECTIONS,
    keepalive_expiry=30.0,
)


class ClientOptions(TypedDict, total=False):
    """The options of a client.

    Attributes:
        api_key: sent with each call, as ``Authorization: Bearer``.
        headers: sent with each call.
        timeout: seconds, or an ``httpx.Timeout``, for each step of a connection: to connect, to
            write, to wait for more to read. By default 5 s to connect, and 600 s for the others.
        deadline: seconds for each call as a whole, with all attempts and the waits between them;
            none by default.
        retries: how often a call is sent again, at most, if that is safe; 4 by default. False
            turns it off.
        priority: of each call in the server's queue.

    """

    api_key: str | None
    headers: Mapping[str, str] | None
    timeout: float | httpx.Timeout | None
    deadline: float | None
    retries: int
    priority: Priority | None


class RequestOptions(TypedDict, total=False):
    """Options that every call takes."""

    headers: Mapping[str, str]
    deadline: float | None
    priority: Priority | None
    files: Files
    content_type: str


class CallOptions(RequestOptions, total=False):
    """The options of a call, in addition to its item.

    Attributes:
        headers: to be sent with the call.
        deadline: seconds for the call as a whole, with all attempts and the waits between them.
            The server knows it, and does not run the call any more once it has passed.
        priority: order in the server's queue, if the app has ``Limits(priorities=True)``.
        files: sends a form (``multipart/form-data``) with these files, by field name: a path, a
            binary file, bytes, or a tuple of the name, one of these and, maybe, the content type.
            A list of them is sent under one name. The members of the item become further fields.
        content_type: of an item that is bytes.
        idempotent: it does no harm if the call runs twice: it is then also sent again if the
            connection breaks, or a proxy has no server, and nobody knows whether it has run.

    """

    idempotent: bool


class StreamOptions(CallOptions, total=False):
    """The options of a stream: those of a call, and its format.

    Attributes:
        lines: ask for lines of JSON instead of server-sent events. They tell text from other
            values; but they can say neither that the server is alive nor why a call has failed.

    """

    lines: bool


class SubmitOptions(RequestOptions, total=False):
    """The options of a background job: those of a call, and its own.

    Attributes:
        idempotency_key: submissions with the same key are one job. By default, a key of its own
            for each call of ``submit``, so that it can be sent again if the connection breaks.
        webhook_url: where the server posts the job's document when the job has ended.

    """

    idempotency_key: str
    webhook_url: str


def given_as(kind: type[OptionsT], given: Mapping[str, Any]) -> OptionsT:
    """Return the options that a user has given, as an object of ``kind``.

    Raises:
        TypeError: there is no such option.

    """
    known = [field.name for field in fields(kind)]
    for name in given:
        if name not in known:
            raise TypeError(f"There is no option {name}=; there are {', '.join(sorted(known))}.")
    return kind(**given)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options of one call, of any kind."""

    headers: Mapping[str, str] = field(default_factory=dict)
    deadline: float | None = None
    priority: Priority | None = None
    files: Files | None = None
    content_type: str | None = None
    idempotent: bool = False
    lines: bool = False
    idempotency_key: str | None = None
    webhook_url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSettings:
    """The options of a client."""

    api_key: str | None = None
    headers: Mapping[str, str] | None = None
    timeout: float | httpx.Timeout | None = field(default_factory=lambda: TIMEOUT)
    deadline: float | None = None
    retries: int = RETRIES
    priority: Priority | None = None

    def __post_init__(self) -> None:
        """Check what would otherwise show late, or never."""
        key = self.api_key
        if key is not None and (not key or not key.isprintable() or " " in (key[0], key[-1])):
            raise ValueError("api_key= is empty, or has white space or a line end: strip() it.")
        if not isinstance(self.retries, int) or self.retries < 0:
            raise ValueError(f"retries={self.retries!r} must be 0 or more.")

    def arguments(self, base_url: str) -> dict[str, Any]:
        """Return the arguments of the httpx client, but for its transport.

        Raises:
            ValueError: ``base_url`` is not that of a server.

        """
        url = httpx.URL(base_url)
        if url.scheme not in ("http", "https") or not url.host or url.query:
            raise ValueError(
                f"{base_url!r} is not the URL of a server: write it like http://localhost:8000."
            )
        headers = httpx.Headers(self.headers)
        if self.api_key is not None:
            headers["Authorization"] = f"Bearer {self.api_key}"
        return {
            "base_url": base_url,
            "headers": headers,
            "timeout": self.timeout,
            "limits": LIMITS,
        }

    def settings(self, build: Callable[..., httpx.Request]) -> "Settings":
        """Return what applies to each call."""
        return Settings(
            build=build,
            deadline=self.deadline,
            retries=int(self.retries),
            priority=self.priority,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a client does unless a call says otherwise.

    Attributes:
        build: builds a request: a method of the httpx client.
        deadline: seconds for each call as a whole.
        retries: how often a call is sent again, at most.
        priority: of each call.
        clock: returns monotonic seconds.
        jitter: returns a number from 0 to 1, a new one each time.

    """

    build: Callable[..., httpx.Request]
    deadline: float | None = None
    retries: int = RETRIES
    priority: Priority | None = None
    clock: Callable[[], float] = time.monotonic
    jitter: Callable[[], float] = random.random

    def ends_at(self, deadline: float | None) -> float | None:
        """Return when a call that begins now must end, by its own deadline or the client's."""
        seconds = self.deadline if deadline is None else deadline
        return None if seconds is None else self.clock() + seconds
