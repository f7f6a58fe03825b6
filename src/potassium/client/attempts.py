"""Sends a request until it is answered, as often and as long as it may be sent."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count

import httpx

from potassium.client.errors import CallFailed, Refused
from potassium.client.options import Settings
from potassium.client.problems import connection_failed, deadline_exceeded, failure_of
from potassium.client.steps import Flow, Load, Send, Sleep

__all__ = ["Attempts", "broken"]

FIRST_WAIT = 0.5  # seconds at most before the second attempt; doubled for each further one
LONGEST_WAIT = 8.0
LONGEST_RETRY_AFTER = 60.0  # the server asks for no more; who asks for more is not waited for
IN_TIME = 0.01  # seconds before a deadline that count as its end: timers are not exact

# The connection failed before anything was sent on it.
NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
BAD_GATEWAY, UNAVAILABLE, GATEWAY_TIMEOUT, TOO_MANY = 502, 503, 504, 429


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempts:
    """How often a request may be sent.

    Attributes:
        settings: those of the client.
        deadline: monotonic seconds by which there must be an answer, if any.
        idempotent: whether it may be sent again if it may have been processed.
        retries: how often it may be sent again; None for as often as there is time.

    """

    settings: Settings
    deadline: float | None
    idempotent: bool
    retries: int | None

    def answer(
        self, build: Callable[[], httpx.Request], *, load: bool = True
    ) -> Flow[httpx.Response]:
        """Send requests from ``build`` until one succeeds; return its response.

        Args:
            build: returns the request, anew for each attempt.
            load: read the body, too. Without it, the response is left open.

        Raises:
            CallFailed: the last attempt has failed, or there is no time for another one.

        """
        for number in count():
            try:
                response: httpx.Response = yield Send(build(), self.deadline)
                if load or not response.is_success:
                    yield Load(self.deadline)
                if response.is_success:
                    return response
                failure = failure_of(response)
                is_safe = self.idempotent or failure.retry_after is not None
                again = is_safe and self._is_worth_it(failure)
            except (httpx.RequestError, TimeoutError) as error:
                failure = broken(error, self.settings, self.deadline)
                again = self.idempotent or isinstance(error, NEVER_SENT)
            wait = (failure.retry_after or 0) + self.settings.jitter() * min(
                LONGEST_WAIT, FIRST_WAIT * 2 ** min(number, 10)
            )
            if not again or number == self.retries or self._is_over(wait):
                try:
                    raise failure
                finally:
                    del failure  # it refers to this frame, and this frame to the item
            yield Sleep(wait)
        raise AssertionError  # pragma: no cover - count() does not end

    def _is_worth_it(self, failure: CallFailed) -> bool:
        """Return whether another attempt may succeed where this answer was a failure.

        With ``Retry-After``, the server has not run the call, and expects it again. Without it,
        the server or a proxy may recover.
        """
        if failure.retry_after is not None:
            return isinstance(failure, Refused) and failure.retry_after <= LONGEST_RETRY_AFTER
        from_proxy = failure.status in (BAD_GATEWAY, GATEWAY_TIMEOUT) and _is_foreign(failure)
        return failure.status in (UNAVAILABLE, TOO_MANY) or from_proxy

    def _is_over(self, wait: float) -> bool:
        return self.deadline is not None and self.settings.clock() + wait >= self.deadline


def broken(error: Exception, settings: Settings, deadline: float | None) -> CallFailed:
    """Return the error for a step that raised ``error``."""
    late = deadline is not None and settings.clock() >= deadline - IN_TIME
    if late or not isinstance(error, httpx.RequestError):
        return deadline_exceeded("The call was not answered in time.", error)
    return connection_failed(error)


def _is_foreign(failure: CallFailed) -> bool:
    """Return whether something between client and server answered in the server's place."""
    response = failure.response
    kind = "" if response is None else response.headers.get("content-type", "")
    return not kind.startswith("application/problem+json")
