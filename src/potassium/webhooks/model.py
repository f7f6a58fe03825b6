"""Deliveries of webhooks, the attempts at them, and the interface of their store."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv6Address, IPv6Network
from typing import Protocol
from urllib.parse import urlsplit

from potassium.http.trace_headers import Headers
from potassium.webhooks.steady_clock import SteadyClock

__all__ = ["Delivery", "DeliveryAttempt", "DeliveryStore", "Full", "is_http_url"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One document for one receiver. Times are in seconds, by the clock of its store.

    Attributes:
        id: the ``webhook-id``, the same in each attempt.
        url: where it is posted.
        body: the JSON document.
        request_id: the ID of the request that it comes from.
        job_id: the background job that it is about; None if it comes from a direct call.
        is_guarded: whether the URL came from a client, so that it must not lead into private
            networks.
        trace: the headers that continue the trace that it belongs to.
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
    trace: Headers = ()
    created_at: float
    attempts: int = 0
    due_at: float | None

    @property
    def host(self) -> str:
        """Host and port of the receiver; simultaneous deliveries are limited for each."""
        return _parts(self.url)[1].lower()

    @property
    def owner(self) -> str:
        """Whose share of the places the delivery takes.

        Of the app's own URLs, this is the host with its port. Of a client's URL it is the host
        alone, or the network of an IPv6 address: whoever has one port or address has them all.
        """
        return _without_port(self.host) if self.is_guarded else self.host

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
class Full:
    """The hosts and owners that get nothing more at the moment."""

    hosts: Collection[str] = ()
    owners: Collection[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryAttempt:
    """One attempt at a delivery, and its outcome.

    Attributes:
        delivery_id: the delivery that was tried.
        url: where it was posted, without query and user information, which may be credentials.
        number: the number of the attempt, from 1.
        at: when it began, in seconds by the clock of the store.
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


def _without_port(host: str) -> str:
    if not host.startswith("["):
        return host.partition(":")[0].rstrip(".")
    text = host[1:].partition("]")[0]
    try:
        address = IPv6Address(text)
    except ValueError:
        return text
    return str(address.ipv4_mapped or IPv6Network((address, 64), strict=False))


class DeliveryStore(Protocol):
    """Keeps deliveries until they have arrived or are given up.

    Deliveries to the app's own URLs and those to clients' URLs (``is_guarded``) are apart. On each
    side owners take turns: the turn of an owner comes when one of its deliveries is due, and after
    a turn that leaves others due it goes to the end. In the same way, the hosts of an owner take
    turns; deliveries to one host wait in the order in which they are due.

    Any method may raise ``StoreFailed``. Once ``add`` has returned, a durable store keeps the
    delivery whatever happens to the process.

    Attributes:
        clock: tells the time that all others in the store are compared with.
        dropped: how many deliveries it had no room for.

    """

    clock: SteadyClock

    @property
    def dropped(self) -> int: ...  # noqa: D102 - above

    async def add(self, delivery: Delivery) -> None:
        """Store a new delivery."""

    async def take_due(
        self, *, is_guarded: bool, now: float, limit: int, full: Full, each: int = 1
    ) -> Sequence[Delivery]:
        """Take one due delivery of each of the next ``limit`` owners of one side.

        If it is the turn of a single owner, up to ``each`` of its deliveries to one host are taken.

        Those that are ``full`` are left out. Nobody else gets the deliveries until the caller
        reports an attempt with ``tried``. If none is returned, nobody's turn has come.
        """

    async def next_due(self, *, is_guarded: bool, full: Full) -> float | None:
        """Return when the next turn of one side comes, or None if nothing waits.

        Those that are ``full`` are left out. Deliveries that are taken do not count.
        """

    async def tried(self, delivery: Delivery, attempt: DeliveryAttempt) -> None:
        """Store an attempt at a delivery that was taken, and give the delivery back.

        It is due again at ``attempt.next_at``; if that is None, it has arrived or was given up.
        """

    async def stop(self, delivery: Delivery) -> None:
        """Give up what has not arrived of the same job at the same URL, on the same side."""

    async def undelivered(self) -> int:
        """Return how many deliveries have neither arrived nor been given up."""

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
