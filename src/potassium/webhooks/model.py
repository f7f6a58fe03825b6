"""What is to be posted, what came of it, and where both are kept."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Protocol
from urllib.parse import urlsplit

__all__ = ["Delivery", "DeliveryAttempt", "DeliveryStore", "is_http_url"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One document for one receiver. Times are in seconds since the epoch.

    Attributes:
        id: the ``webhook-id``, the same in each attempt.
        url: where it goes.
        body: the JSON document.
        request_id: of the call that it comes from.
        job_id: the background job that it tells of; None where it comes from a direct call.
        is_guarded: whether the URL came from a client, so that it must not lead into private
            networks.
        created_at: when it came to be.
        attempts: how often it was tried.
        due_at: when it is tried next; None where it never is again.

    """

    id: str
    url: str
    body: bytes
    request_id: str
    job_id: str | None = None
    is_guarded: bool = False
    created_at: float
    attempts: int = 0
    due_at: float | None

    @property
    def host(self) -> str:
        """Host and port of the receiver: what a limit of simultaneous deliveries counts by."""
        return _parts(self.url)[1].lower()

    @property
    def shown_url(self) -> str:
        """The URL without query or user, which may be credentials."""
        return "".join(_parts(self.url))

    def tried(self, due_at: float | None) -> "Delivery":
        """Return the delivery after one more attempt."""
        return replace(self, attempts=self.attempts + 1, due_at=due_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryAttempt:
    """What came of one try to deliver.

    Attributes:
        delivery_id: which one was tried.
        url: where it went, without query or user, which may be credentials.
        number: the how-manieth try, from 1 on.
        at: when it began, in seconds since the epoch.
        duration: seconds it took.
        status: the HTTP status of the answer; None where there was none.
        error: why it failed; None where it did not.
        next_at: when it is tried again; None where it is not.

    """

    delivery_id: str
    url: str
    number: int
    at: float
    duration: float
    status: int | None
    error: str | None
    next_at: float | None


def _parts(url: str) -> tuple[str, str, str]:
    """Return scheme with its slashes, host with port, and path; of no URL whatever raises."""
    scheme, slashes, rest = url.partition("?")[0].partition("#")[0].partition("://")
    if not slashes:
        return "", "", ""
    authority, slash, path = rest.partition("/")
    return scheme + slashes, authority.rpartition("@")[2], slash + path


class DeliveryStore(Protocol):
    """Keeps deliveries until they have arrived, or are given up.

    Any method may raise ``StoreFailed``. Once ``add`` has returned, a store that is durable keeps
    the delivery whatever happens to the process.
    """

    async def add(self, delivery: Delivery) -> None:
        """Keep a new delivery."""

    async def take_due(
        self, *, now: float, limit: int, without_hosts: Collection[str]
    ) -> Sequence[Delivery]:
        """Return up to ``limit`` deliveries that are due, the one due first before others.

        They are the caller's own until it has told what came of them with ``tried``: nobody else
        gets them meanwhile. None goes to one of ``without_hosts``.
        """

    async def next_due(self) -> float | None:
        """Return when the next delivery is due that nobody has taken; None where none ever is."""

    async def tried(self, delivery: Delivery, attempt: DeliveryAttempt) -> None:
        """Keep what came of a delivery that was taken, and give it back.

        It is due again at ``attempt.next_at``; where that is None it has arrived or was given up.
        """

    async def stop(self, job_id: str) -> None:
        """Give up all deliveries of a job that have not arrived."""

    async def attempts_of(self, job_id: str) -> Sequence[DeliveryAttempt]:
        """Return every attempt to deliver what tells of a job, in order of time."""


def is_http_url(url: object) -> bool:
    """Return whether ``url`` is one of http or https, with a host."""
    if not isinstance(url, str):
        return False
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port or an IPv6 address that cannot be
        return False
