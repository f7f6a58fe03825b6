"""Deliveries of webhooks, the attempts at them, and the interface of their store."""

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
        url: where it is posted.
        body: the JSON document.
        request_id: the ID of the request that it comes from.
        job_id: the background job that it is about; None if it comes from a direct call.
        is_guarded: whether the URL came from a client, so that it must not lead into private
            networks.
        created_at: when it was created.
        attempts: how many attempts were made.
        due_at: when the next attempt is due; None if it has arrived or was given up.

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
        """Host and port of the receiver; simultaneous deliveries are limited for each."""
        return _parts(self.url)[1].lower()

    @property
    def shown_url(self) -> str:
        """The URL for the log and for clients, without what may be credentials.

        These are the query and the user information; of the app's own URLs the path, too.
        """
        scheme, host, path = _parts(self.url)
        return scheme + host + (path if self.is_guarded else "")

    def tried(self, due_at: float | None) -> "Delivery":
        """Return the delivery after one more attempt; the next one is due at ``due_at``."""
        return replace(self, attempts=self.attempts + 1, due_at=due_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryAttempt:
    """One attempt at a delivery, and its outcome.

    Attributes:
        delivery_id: the delivery that was tried.
        url: where it was posted, without query and user information, which may be credentials.
        number: the number of the attempt, from 1.
        at: when it began, in seconds since the epoch.
        duration: how long it took, in seconds.
        status: the HTTP status of the answer; None if there was none.
        error: why it failed; None if it succeeded.
        next_at: when the next attempt is due; None if there is none.

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
    """Return scheme with its slashes, host with port, and path; never raise for any URL."""
    scheme, slashes, rest = url.partition("?")[0].partition("#")[0].partition("://")
    if not slashes:
        return "", "", ""
    authority, slash, path = rest.partition("/")
    return scheme + slashes, authority.rpartition("@")[2], slash + path


class DeliveryStore(Protocol):
    """Keeps deliveries until they have arrived or are given up.

    Any method may raise ``StoreFailed``. Once ``add`` has returned, a durable store keeps the
    delivery whatever happens to the process.
    """

    async def add(self, delivery: Delivery) -> None:
        """Store a new delivery."""

    async def take_due(
        self, *, now: float, limit: int, without_hosts: Collection[str]
    ) -> Sequence[Delivery]:
        """Return up to ``limit`` deliveries that are due, in order of their due time.

        Deliveries to ``without_hosts`` are left out. The others are taken: nobody else gets them
        until the caller reports an attempt with ``tried``.
        """

    async def next_due(self) -> float | None:
        """Return when the next delivery that nobody has taken is due, or None if there is none."""

    async def tried(self, delivery: Delivery, attempt: DeliveryAttempt) -> None:
        """Store an attempt at a delivery that was taken, and give the delivery back.

        It is due again at ``attempt.next_at``; if that is None, it has arrived or was given up.
        """

    async def stop(self, job_id: str) -> None:
        """Give up all deliveries of a job that have not arrived."""

    async def attempts_of(self, job_id: str) -> Sequence[DeliveryAttempt]:
        """Return every attempt to deliver a webhook about a job, in order of time."""


def is_http_url(url: object) -> bool:
    """Return whether ``url`` is an http or https URL with a host."""
    if not isinstance(url, str):
        return False
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # an invalid port or IPv6 address
        return False
