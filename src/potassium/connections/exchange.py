"""One request and its response: the ASGI ``receive`` and ``send`` of an HTTP/1.1 connection."""

import asyncio
import logging
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, Protocol

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Scope

from potassium.connections.host import Host
from potassium.connections.outgoing import Outgoing
from potassium.connections.refusals import refusal
from potassium.connections.response_head import ResponseHead, response_head
from potassium.errors import PotassiumError, StreamBroken

__all__ = ["Exchange"]

HIGH_WATER = 64 * 1024  # bytes of a body that wait for the app before reading pauses
COPIED = 64 * 1024  # bytes of content that are joined with their framing in one write

SERVICE_UNAVAILABLE = 503
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

logger = logging.getLogger("uvicorn.error")


class Client(Protocol):
    """The parts of a connection that an exchange uses."""

    host: Host
    outgoing: Outgoing

    def resume_reading(self) -> None:
        """Resume reading, because the app has taken what had piled up."""

    def exchange_ended(self, exchange: "Exchange") -> None:
        """Go on with the next request, once the response to this one is complete."""

    def break_off(self, exchange: "Exchange") -> None:
        """Close the connection in the middle of a response, so that the client sees it."""


class Exchange:
    """A request of ``client`` whose head has arrived, and its response.

    Attributes:
        scope: the ASGI scope of the request.
        keeps_alive: whether another request may follow on the connection.
        is_received: whether the request has arrived completely.
        is_answered: whether the response is complete.
        has_begun: whether some of the response has been handed to the connection.
        is_lost: whether the client has disconnected.
        task: the task in which the app runs.

    """

    __slots__ = (
        "_awaits_continue",
        "_body",
        "_client",
        "_head",
        "_is_delivered",
        "_is_refusal",
        "_left",
        "_news",
        "_size",
        "has_begun",
        "is_answered",
        "is_lost",
        "is_received",
        "keeps_alive",
        "scope",
        "task",
    )

    def __init__(
        self, client: Client, scope: Scope, *, keeps_alive: bool, awaits_continue: bool
    ) -> None:
        self._client = client
        self.scope = scope
        self.keeps_alive = keeps_alive
        self._awaits_continue = awaits_continue
        self.task: asyncio.Task[None] | None = None
        self.is_received = self.is_answered = self.has_begun = self.is_lost = False
        self._body: list[bytes] = []
        self._size = 0  # of what waits in the body
        self._is_delivered = False  # whether the app has the end of the body
        self._news: asyncio.Event | None = None  # for a receive() that waits
        self._head: ResponseHead | None = None
        self._is_refusal = False
        self._left: int | None = None  # bytes of announced content that the app has yet to send

    # What the connection reports.

    def add_body(self, data: bytes) -> bool:
        """Keep a part of the body for the app; return whether it has enough to read for now."""
        if self.is_answered or self.is_lost:
            return False  # the app no longer reads it
        self._body.append(data)
        self._size += len(data)
        if self._news is not None:
            self._news.set()
        return self._size > HIGH_WATER

    def end_body(self) -> None:
        """Note that the request has arrived completely."""
        self.is_received = True
        if self._news is not None:
            self._news.set()

    def lose(self) -> None:
        """Note that the client has disconnected."""
        self.is_lost = True
        self._body.clear()
        if self._news is not None:
            self._news.set()

    # What the app calls.

    async def run(self, app: ASGIApp, tasks: set[asyncio.Task[Any]]) -> None:
        """Let ``app`` answer the request; if it fails, answer 500 or break off the response.

        At the end, ``task`` is removed from ``tasks``.
        """
        try:
            await app(self.scope, self.receive, self.send)
            if not self.is_answered and not self.is_lost:
                logger.error("ASGI callable returned without completing response.")
                self._give_up()
        except GeneratorExit:
            raise  # the event loop is gone
        except (asyncio.CancelledError, ClientDisconnect, StreamBroken):
            self._give_up()
        except BaseException:  # sys.exit() in an app does not end the server
            logger.exception("Exception in ASGI application\n")
            self._give_up()
        finally:
            if self.task is not None:
                tasks.discard(self.task)

    async def receive(self) -> Message:
        """Return the next part of the request, or that the client has disconnected (ASGI)."""
        if self._awaits_continue and not self.has_begun:
            self._awaits_continue = False
            if not self._body and not self.is_received:
                self._client.outgoing.write(CONTINUE)
        while not self.is_lost and not self.is_answered:
            if self._body or (self.is_received and not self._is_delivered):
                return self._next_part()
            if self._news is None:
                self._news = asyncio.Event()
            self._news.clear()
            await self._news.wait()
        return {"type": "http.disconnect"}

    def _next_part(self) -> Message:
        body = self._body
        data = b"" if not body else body[0] if len(body) == 1 else b"".join(body)
        body.clear()
        if self._size > HIGH_WATER:
            self._client.resume_reading()
        self._size = 0
        self._is_delivered = self.is_received
        return {"type": "http.request", "body": data, "more_body": not self.is_received}

    async def send(self, message: Message) -> None:
        """Send a part of the response (ASGI); wait while the client is slow to read.

        Once the client has disconnected, this does nothing.

        Raises:
            RuntimeError: the response does not match its head, or the order is wrong.

        """
        if self._client.outgoing.is_full:
            await self._client.outgoing.has_room()
        if self.is_lost:
            return
        kind = message["type"]
        if kind == "http.response.start" and self._head is None:
            self._start(message)
        elif kind == "http.response.body" and self._head is not None and not self.is_answered:
            is_last = not message.get("more_body", False)
            self._add(self._head, message.get("body", b""), is_last=is_last)
        else:
            raise RuntimeError(f"{kind} is not what is due in this response.")

    def _start(self, message: Message) -> None:
        scope, client = self.scope, self._client
        head = response_head(
            message["status"],
            message.get("headers", ()),
            client.host.default_headers,
            # A client that still waits for 100 Continue may send its content now, or never.
            closes=not self.keeps_alive or self._awaits_continue,
            may_chunk=scope["http_version"] != "1.0",
        )
        self._head = head
        self._left = head.length
        self._is_refusal = message["status"] == SERVICE_UNAVAILABLE
        if head.closes:
            self.keeps_alive = False
        client.host.log_access(scope, message["status"])
        if head.length is None:  # a stream, whose first chunk may take a long time
            self.has_begun = True
            client.outgoing.write(head.encoded)

    def _add(self, head: ResponseHead, data: bytes, *, is_last: bool) -> None:
        pieces = [] if self.has_begun else [head.encoded]
        if not head.is_empty and self.scope["method"] != "HEAD":
            pieces += self._framed(head, data, is_last=is_last)
        if len(data) < COPIED:
            pieces = [b"".join(pieces)]
        self.has_begun = True
        self.is_answered = is_last
        if self._is_refusal and is_last:
            self._client.host.turns.take(partial(self._write, pieces, is_last=is_last))
        else:
            self._write(pieces, is_last=is_last)

    def _write(self, pieces: Sequence[bytes], *, is_last: bool) -> None:
        if self.is_lost:
            return
        for piece in pieces:
            self._client.outgoing.write(piece)
        if is_last:
            self._end()

    def _framed(self, head: ResponseHead, data: bytes, *, is_last: bool) -> Iterable[bytes]:
        """Return content as ``head`` announces it (RFC 9112, section 6)."""
        if self._left is not None:
            self._left -= len(data)
            if self._left < 0 or (is_last and self._left):
                raise RuntimeError("The response has not as many bytes as its Content-Length says.")
        if not head.is_chunked:
            return (data,)
        chunk = (b"%x\r\n" % len(data), data, b"\r\n") if data else ()
        return (*chunk, b"0\r\n\r\n") if is_last else chunk

    def _end(self) -> None:
        self._body.clear()
        if self._news is not None:
            self._news.set()
        self._client.exchange_ended(self)

    def _give_up(self) -> None:
        """Answer 500, or let the client see that the response is incomplete."""
        if self.is_lost or self.is_answered:
            return
        self.keeps_alive = False
        if self.has_begun:
            self.is_answered = True
            self._client.break_off(self)
        else:
            self.has_begun = self.is_answered = True
            failed = PotassiumError("The server failed to process the request.")
            defaults = self._client.host.default_headers
            self._client.outgoing.write(refusal(failed, defaults, self.scope))
            self._end()
