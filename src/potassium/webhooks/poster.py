"""One delivery attempt: a POST to a receiver that may do anything."""

import asyncio
import random
import ssl
import time
from collections.abc import Callable
from functools import cached_property
from http.cookiejar import CookieJar, DefaultCookiePolicy
from importlib.metadata import version

import httpx

from potassium.config import Webhooks
from potassium.webhooks.addresses import PermittedAddresses
from potassium.webhooks.guard import Guard
from potassium.webhooks.model import Delivery, DeliveryAttempt
from potassium.webhooks.resolver import Resolver
from potassium.webhooks.schedule import next_attempt
from potassium.webhooks.signing import signing_headers
from potassium.webhooks.status_line import ANSWER, StatusLine
from potassium.webhooks.wire import Wire

__all__ = ["Poster"]

LONGEST_ANSWER = 20_000  # bytes read of an answer's body
LONGEST_REASON = 200  # characters
# More than are under way at a time: a lookup may take longer than the attempt that needed it.
LOOKUPS = 256
GONE = 410  # the receiver wants no more of these


class Poster:
    """Posts deliveries, with one HTTP client for the app's own URLs and one for clients' URLs.

    Each HTTP client is opened when it is first needed. Neither takes proxies, certificates or
    credentials from the environment, keeps cookies, or follows redirects. That for clients' URLs
    looks names up anew for each attempt and uses no proxy, which would do that by itself. Belongs
    to one event loop.

    Args:
        clock: returns seconds since the epoch, by the clock of the store.
        wall: returns seconds since the epoch, by the clock that receivers compare with theirs.
        random: returns numbers from 0 to 1.

    """

    def __init__(
        self,
        options: Webhooks,
        *,
        clock: Callable[[], float] = time.time,
        wall: Callable[[], float] = time.time,
        random: Callable[[], float] = random.random,
    ) -> None:
        self._options = options
        self._clock = clock
        self._wall = wall
        self._random = random
        self._clients: dict[bool, httpx.AsyncClient] = {}

    async def __call__(self, delivery: Delivery) -> DeliveryAttempt:
        """Try to deliver, for ``Webhooks.timeout`` seconds at most; return the attempt.

        A delivery has arrived if the receiver answers 2xx, whatever follows that status. Nothing
        that a receiver does raises. After cancellation the delivery may or may not have arrived.
        """
        at, start = self._clock(), time.monotonic()
        first_line = StatusLine()
        ANSWER.set(first_line)
        answer: httpx.Response | None = None
        error: str | None = None
        try:
            async with asyncio.timeout(self._options.timeout):
                async with self._client(delivery).stream(
                    "POST", delivery.url, content=delivery.body, headers=self._headers(delivery)
                ) as answer:
                    await _read_out(answer)
        except Exception as failure:  # noqa: BLE001 - whatever it is, it concerns nobody else
            if first_line.status is None:
                error = self._reason(failure)
        status = first_line.status if answer is None else answer.status_code
        if status is not None and not httpx.codes.is_success(status):
            error = f"the receiver answered {status}"
        number = delivery.attempts + 1
        return DeliveryAttempt(
            delivery_id=delivery.id,
            url=delivery.shown_url,
            number=number,
            at=at,
            duration=time.monotonic() - start,
            status=status,
            error=error,
            next_at=None if error is None or status == GONE else self._next(number, answer),
        )

    async def aclose(self) -> None:
        """Close the HTTP clients."""
        for client in self._clients.values():
            await client.aclose()

    def _headers(self, delivery: Delivery) -> dict[str, str]:
        return {
            **dict(delivery.trace),
            "Content-Type": "application/json",
            "User-Agent": f"potassium/{version('potassium')}",
            "X-Request-Id": delivery.request_id,
            **({} if delivery.job_id is None else {"X-Job-Id": delivery.job_id}),
            **signing_headers(delivery.id, delivery.body, at=self._wall(), keys=self._options.keys),
        }

    def _next(self, number: int, answer: httpx.Response | None) -> float | None:
        retry_after = None if answer is None else answer.headers.get("Retry-After")
        now = self._wall()  # a receiver may have named a date
        again = next_attempt(number, now=now, retry_after=retry_after, random=self._random)
        return None if again is None else self._clock() + (again - now)

    def _client(self, delivery: Delivery) -> httpx.AsyncClient:
        client = self._clients.get(delivery.is_guarded)
        if client is None:
            client = self._clients[delivery.is_guarded] = httpx.AsyncClient(
                transport=self._wire(is_guarded=delivery.is_guarded),
                timeout=self._options.timeout,
                trust_env=False,
                cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
                follow_redirects=False,
            )
        return client

    def _wire(self, *, is_guarded: bool) -> httpx.AsyncBaseTransport:
        resolve = Resolver(LOOKUPS).addresses
        if is_guarded:
            guard = Guard(PermittedAddresses(self._options.allow), resolve)
            return Wire(self._trust, guard, keeps=False)
        return Wire(self._trust, resolve, proxy=self._options.proxy, keeps=True)

    @cached_property
    def _trust(self) -> ssl.SSLContext:
        return self._options.trust or httpx.create_ssl_context(trust_env=False)

    def _reason(self, error: Exception) -> str:
        """Return why there was no answer; leave out messages that may contain the whole URL."""
        if isinstance(error, (TimeoutError, httpx.TimeoutException)):
            return f"the receiver did not answer within {self._options.timeout:g} s"
        if isinstance(error, httpx.TransportError) and str(error):
            return str(error)[:LONGEST_REASON]
        return type(error).__name__


async def _read_out(answer: httpx.Response) -> None:
    """Read an answer's body, which nobody needs, so that its connection can be reused."""
    async for _ in answer.aiter_raw():
        if answer.num_bytes_downloaded > LONGEST_ANSWER:
            return
