"""One client's connection: an asyncio protocol that speaks HTTP/1.1 (RFC 9112)."""

import asyncio
from collections import deque
from typing import cast

from starlette.types import Scope

from potassium.connections.crowd import Crowd
from potassium.connections.exchange import Exchange
from potassium.connections.host import Host
from potassium.connections.outgoing import Outgoing
from potassium.connections.refusals import refusal
from potassium.connections.request_reader import RequestReader
from potassium.errors import PotassiumError

__all__ = ["Connection"]

NEVER = float("inf")
# Reading goes on up to here behind a request that is being answered, as only that shows whether the
# client has left.
MOST_BEHIND = 16 * 1024  # bytes
LINGER = 5.0  # seconds for which what a refused client still sends is read and dropped
# When to look whether a client that has closed its sending side is still there.
LOOKS = (0.05, 0.2, 1.0)  # seconds, each after the one before; the last again and again
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Connection(asyncio.Protocol):
    """Reads requests one after the other, runs the app for each, and writes its responses in order.

    A request that comes while another one is answered waits as bytes; only what is left of a small
    segment is parsed already. Its time limits are kept by ``crowd``, which looks at ``deadline``.

    Attributes:
        host: the server that it belongs to.
        outgoing: what the client has yet to read.
        deadline: when ``expire`` is due, on the clock of ``crowd``.

    """

    def __init__(self, host: Host, crowd: Crowd) -> None:
        self.host = host
        self._crowd = crowd
        self._reader = RequestReader(self, crowd.limits.head_size)
        self._transport = cast("asyncio.Transport", None)
        self._exchange: Exchange | None = None  # whose response is due
        self._due: Exchange | None = None  # the same, until the app is run for it
        self._waiting: deque[Exchange] = deque()  # whose responses are due after it
        self._behind = b""  # what came after the request that is being answered
        self._is_paused = False  # reading
        self._is_closing = False  # nothing more is read, or written after the current response
        self._is_half_closed = False
        self.deadline = crowd.now + crowd.limits.head_timeout

    outgoing: Outgoing

    # What the transport reports.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note the addresses (asyncio)."""
        self._transport = cast("asyncio.Transport", transport)
        self._scope = self.host.scope_of(transport)
        self.outgoing = Outgoing(self._transport)
        self.host.state.connections.add(self)
        self._crowd.add(self)

    def data_received(self, data: bytes) -> None:
        """Parse ``data``, or keep it while a request is being answered (asyncio)."""
        if self._is_closing:
            return
        reader = self._reader
        if self._behind or (self._exchange is not None and not reader.in_request):
            self._behind += data.lstrip(b"\r\n")
            if len(self._behind) > MOST_BEHIND:
                self.pause_reading()
            return
        was_in_head = reader.in_head
        try:
            self._behind = reader.feed(data)
        except PotassiumError as error:
            self.refuse(error)
        if self._due is not None:
            due, self._due = self._due, None
            self.host.run(due)
        if reader.in_head:
            if not was_in_head:
                self.deadline = self._crowd.now + self._crowd.limits.head_timeout
        elif reader.in_request and not self._is_paused:
            self.deadline = self._crowd.now + self._crowd.body_timeout

    def eof_received(self) -> bool:
        """Return whether to go on, as the client may still read (asyncio).

        A client that has left for good looks the same, until something is sent to it. So interim
        responses are sent, which clients ignore (RFC 9110, section 15.2).
        """
        exchange = self._exchange
        if (
            exchange is None
            or not exchange.is_received
            or exchange.has_begun
            or self._scope["scheme"] == "https"
            or exchange.scope["http_version"] == "1.0"
        ):
            return False
        self._is_half_closed = True
        self._look_for_client(0)
        return True

    def _look_for_client(self, times: int) -> None:
        if self._transport.is_closing() or self._exchange is None or self._exchange.has_begun:
            return
        self._transport.write(CONTINUE)
        pause = LOOKS[min(times, len(LOOKS) - 1)]
        self.host.loop.call_later(pause, self._look_for_client, times + 1)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the app (asyncio)."""
        del exc
        self._is_closing = True
        self._forget()
        self._behind = b""
        for exchange in (self._exchange, *self._waiting):
            if exchange is not None:
                exchange.lose()
        self._waiting.clear()
        self.outgoing.resume()

    def pause_writing(self) -> None:
        """Note that the client is behind with reading (asyncio)."""
        self.outgoing.pause()

    def resume_writing(self) -> None:
        """Note that the client has caught up (asyncio)."""
        self.outgoing.resume()

    # What the reader reports.

    @property
    def is_answering(self) -> bool:
        """Whether a response is due."""
        return self._exchange is not None

    @property
    def takes_websockets(self) -> bool:
        """Whether the server has something that speaks WebSocket."""
        return self.host.config.ws_protocol_class is not None

    def new_scope(self) -> Scope:
        """Return what all ASGI scopes of this connection have in common."""
        scope = self._scope.copy()
        scope["asgi"] = {"version": self.host.asgi_version, "spec_version": "2.3"}
        scope["state"] = self.host.app_state.copy()
        return scope

    def begin(self, exchange: Exchange) -> None:
        """Run the app for a request whose head has arrived, or let the request wait its turn."""
        if self._exchange is None:
            self._exchange = self._due = exchange  # run once the body next to it is parsed
            self.deadline = NEVER
        elif (self._waiting[-1] if self._waiting else self._exchange).keeps_alive:
            self._waiting.append(exchange)

    def request_received(self, exchange: Exchange) -> None:
        """Note that a request has arrived whole."""
        if exchange.is_answered and self._exchange is None:
            self.deadline = self._crowd.now + self._crowd.keep_alive

    def become_websocket(self, received: bytes) -> None:
        """Leave the connection to the server's WebSocket protocol, with all it has received."""
        self._forget()
        self.host.speak_websocket(self._transport, received)

    # What an exchange asks for.

    def pause_reading(self) -> None:
        """Let what the client sends pile up at the client."""
        if not self._is_paused and not self._transport.is_closing():
            self._is_paused = True
            self._transport.pause_reading()
            if not self._reader.in_head:
                self.deadline = NEVER  # the client may not be able to send

    def resume_reading(self) -> None:
        """Read on after ``pause_reading``."""
        if self._is_paused and not self._behind and not self._transport.is_closing():
            self._is_paused = False
            self._transport.resume_reading()
            if self._reader.in_request and not self._reader.in_head:
                self.deadline = self._crowd.now + self._crowd.body_timeout

    def exchange_ended(self, exchange: Exchange) -> None:
        """Go on with the next request, once the response to this one is complete."""
        self.host.state.total_requests += 1
        if self._transport.is_closing():
            return
        if not exchange.keeps_alive:
            self._close(lingers=not exchange.is_received)
            return
        self._exchange = None
        if self._waiting or self._behind:
            # Not at once: a segment of small requests would be answered in ever deeper calls.
            self._exchange = self._waiting.popleft() if self._waiting else None
            self.host.loop.call_soon(self._go_on)
            return
        timeout = self._crowd.keep_alive if exchange.is_received else self._crowd.body_timeout
        self.deadline = self._crowd.now + timeout
        self.resume_reading()
        self._end_if_half_closed()

    def _go_on(self) -> None:
        if self._is_closing:
            return
        if self._exchange is not None:
            self.host.run(self._exchange)
            return
        behind, self._behind = self._behind, b""
        self.resume_reading()
        self.deadline = self._crowd.now + self._crowd.keep_alive
        self.data_received(behind)
        self._end_if_half_closed()

    def _end_if_half_closed(self) -> None:
        if self._is_half_closed and self._exchange is None:
            self._close()

    def break_off(self, exchange: Exchange) -> None:
        """Close the connection in the middle of a response, so that the client sees it."""
        if exchange.scope["http_version"] == "1.0":
            self._transport.abort()  # a mere end would look like that of the response
        else:
            self._close()

    # What the server and the crowd ask for.

    @property
    def is_idle(self) -> bool:
        """Whether no response is due, so that closing the connection does little harm."""
        return self._exchange is None or self._is_closing

    def _forget(self) -> None:
        self.host.state.connections.discard(self)
        self._crowd.discard(self)

    def expire(self) -> None:
        """Close the connection, as its deadline has passed."""
        if self._is_closing or self._exchange is not None:
            self.abort()
        else:
            self._close()

    def abort(self) -> None:
        """End the connection at once, whatever the client has yet to read."""
        self._transport.abort()

    def shutdown(self) -> None:
        """Close the connection once the current response is complete; uvicorn calls this."""
        if self._exchange is None:
            self._close()
        else:
            for exchange in (self._exchange, *self._waiting):
                exchange.keeps_alive = False

    def refuse(self, error: PotassiumError) -> None:
        """Answer with ``error`` and close; behind a request that is being answered, only close."""
        self._crowd.note_refusal(error)
        if self._due is not None and not self._due.is_received:
            self._exchange = self._due = None
        if self._exchange is None:
            self.outgoing.write(refusal(error, self.host.default_headers))
            self._close(lingers=True)
            return
        for exchange in (self._exchange, *self._waiting):
            exchange.keeps_alive = False
        self._is_closing = True
        if not self._exchange.is_received:
            self._exchange.lose()
            self._close()

    def _close(self, *, lingers: bool = False) -> None:
        """Close the connection when all is sent.

        If the client is still sending, what arrives is dropped for a while: closing at once would
        reset the connection, and the client might lose the response (RFC 9112, section 9.6).
        """
        self._is_closing = True
        self._behind = b""
        if lingers and self._transport.can_write_eof() and not self._transport.is_closing():
            self.deadline = self._crowd.now + LINGER
            if self._is_paused:
                self._is_paused = False
                self._transport.resume_reading()
            self._transport.write_eof()
        else:
            self._transport.close()
