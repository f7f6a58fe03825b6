"""Posting results to webhooks, behind the response's back."""

import asyncio
import logging
from urllib.parse import urlsplit

import anyio
import httpx

__all__ = ["WebhookSender"]

TIME_LIMIT = 10.0  # seconds for one delivery, from connecting to the last byte
LONGEST_ANSWER = 20_000  # bytes read of an answer
MOST_PENDING = 1000  # deliveries on their way at a time; more would only pile up in memory

logger = logging.getLogger("potassium.webhooks")


class WebhookSender:
    """Posts JSON to URLs, each in a task of its own, over one shared client.

    A delivery is tried once. A failure is logged and concerns nobody else. Belongs to the event
    loop; ``aclose`` waits for what is on its way, which takes at most ``TIME_LIMIT``.
    """

    def __init__(self) -> None:
        """Open the client; no proxy or credentials are taken from the environment."""
        self._client = httpx.AsyncClient(timeout=TIME_LIMIT, trust_env=False)
        self._deliveries: set[asyncio.Task[None]] = set()

    def post(self, url: str, body: bytes, request_id: str) -> None:
        """Send ``body``, a JSON document, to ``url`` soon; returns at once."""
        if len(self._deliveries) >= MOST_PENDING:
            logger.error(
                "webhook to %s dropped: %d are on their way already",
                _without_secrets(url),
                MOST_PENDING,
                extra={"request_id": request_id},
            )
            return
        task = asyncio.create_task(self._deliver(url, body, request_id), name="potassium-webhook")
        self._deliveries.add(task)
        task.add_done_callback(self._deliveries.discard)

    async def aclose(self) -> None:
        """Wait for the deliveries on their way, then close the client."""
        if self._deliveries:
            await asyncio.wait(self._deliveries)
        await self._client.aclose()

    async def _deliver(self, url: str, body: bytes, request_id: str) -> None:
        headers = {"Content-Type": "application/json", "X-Request-Id": request_id}
        try:
            with anyio.fail_after(TIME_LIMIT):
                async with self._client.stream(
                    "POST", url, content=body, headers=headers
                ) as answer:
                    answer.raise_for_status()
                    await _read_out(answer)
        except Exception as error:  # noqa: BLE001 - whatever it is, it concerns nobody else
            logger.error(  # noqa: TRY400 - what failed is the receiver; our stack says nothing
                "webhook to %s failed: %s (request %s)",
                _without_secrets(url),
                _reason(error),
                request_id,
                extra={"request_id": request_id},
            )


def _without_secrets(url: str) -> str:
    """Return scheme, host and path of ``url``: a query or a user's name may be a credential."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _reason(error: Exception) -> str:
    """Return why a delivery failed; httpx puts the whole URL into some of its messages."""
    if isinstance(error, httpx.HTTPStatusError):
        return f"it answered {error.response.status_code}"
    if isinstance(error, httpx.TransportError) and str(error):
        return str(error)
    return type(error).__name__


async def _read_out(answer: httpx.Response) -> None:
    """Read an answer that nobody asked for, so that its connection can be used again."""
    async for _ in answer.aiter_raw():
        if answer.num_bytes_downloaded > LONGEST_ANSWER:
            return
