"""One client's connection: an asyncio protocol that speaks HTTP/1.1 (RFC 9112)."""

import asyncio
from collections import deque
from typing import Any, cast

from potassium.connections.crowd import Crowd
from potassium.connections.exchange import Exchange
from potassium.connections.half_closed import awaits, look_for_client
from potassium.connections.host import Host
from potassium.connections.outgoing import Outgoing
from potassium.connections.refusals import refusal
from potassium.connections.request_reader import RequestReader
from potassium.errors import PotassiumError

__all__ = ["Connection"]

NEVER = float("inf")
# How far to read ahead while a request is being answered: only reading shows whether the client has
# disconnected.
MOST_BEHIND = 16 * 1024  # bytes
LINGER = 5.0  # seconds for which anything that a refused client still sends is read and dropped


class Connection(asyncio.Protocol):
    """Reads requests one after the other, runs the app for each, and writes its responses in order.

    A request that arrives while another one is being answered waits as unparsed bytes, except for
    the rest of a small segment. ``crowd`` enforces the time limits by checking ``deadline``.

    Attributes:
        host: the server that it belongs to.
        outgoing: what the client has yet to read.
        exchange: the request whose response is due.
        scope: the part that all ASGI scopes of this connection share.
        deadline: when ``expire`` is due, on the clock of ``crowd``.

    """

    def __init__(self, host: Host, crowd: Crowd) -> None:
        self.host = host
        self._crowd = crowd
        self._reader = RequestReader(self, crowd.limits.head_size)
        self._transport = cast("asyncio.Transport", None)
        self.exchange: Exchange | None = None
        self._due: Exchange | None = None  # the same, until the app is run for it
        self._waiting: deque[Exchange] = deque()  # whose responses are due after it
        self._behind = b""  # what came after them
        self._fault: PotassiumError | None = None  # why nothing is read behind them
        self._is_paused = False  # reading
        self._is_closing = False
        self._is_half_closed = False  # the client sends no more
        self.deadline = crowd.now + crowd.limits.head_timeout

    outgoing: Outgoing
    scope: dict[str, Any]

    # What the transport reports.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note the addresses (asyncio)."""
        self._transport = cast("asyncio.Transport", transport)
        self.scope = self.host.scope_of(transport)
        self.outgoing = Outgoing(self._transport)
        self.host.state.connections.add(self)
        self._crowd.add(self)

    def data_received(self, data: bytes) -> None:
        """Parse ``data``, or keep it while a request is being answered (asyncio)."""
        if self._is_closing or self._fault is not None:
            return
        if not self._behind and not self.is_busy:
            self._read(data)
            return
        self._behind += data
        if len(self._behind) > MOST_BEHIND:
            self.pause_reading()

    def _read(self, data: bytes) -> None:
        was_in_head = self._reader.in_head
        try:
            self._behind = self._reader.feed(data)
        except PotassiumError as error:
            self._fault = error
            error.__traceback__ = error.__context__ = None  # its frames refer to this connection
        if self._due is not None and (self._fault is None or self._due.is_received):
            due, self._due = self._due, None
            self.host.run(due)
        if self._fault is not None:
            self._end_at_fault(self._fault)
        elif len(self._behind) > MOST_BEHIND:
            self.pause_reading()
        if self._is_closing:
            return
        if self.exchange is not None:
            waits = self.exchange.is_received or self._is_paused
            self.deadline = NEVER if waits else self._crowd.now + self._crowd.body_timeout
        elif self._reader.in_head and not was_in_head:
            self.deadline = self._crowd.now + self._crowd.limits.head_timeout
        if self._is_half_closed and not self.is_busy and not self._behind:
            self._close()  # the rest will not come

    def _end_at_fault(self, fault: PotassiumError) -> None:
        """Refuse the last input, once all requests before it have been answered."""
        if self.is_closing or self.is_busy:
            return
        if self.exchange is not None:  # its body is at fault
            self.exchange.lose()
            if self.exchange.has_begun:
                self.break_off(self.exchange)
                return
        self.refuse(fault)

    def eof_received(self) -> bool:
        """Return whether to keep the connection open, because the client may still read (asyncio).

        A client that has disconnected looks the same until something is sent to it.
        """
        if self._is_closing or not awaits(self.exchange, is_more=bool(self._behind or self._fault)):
            return False
        self._is_half_closed = True
        look_for_client(self)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the app that the connection is closed (asyncio)."""
        del exc
        self._is_closing = True
        self._forget()
        for exchange in (self.exchange, *self._waiting):
            if exchange is not None:
                exchange.lose()
        self.outgoing.resume()
        # Most of what a connection has refers to it.
        self.exchange = self._due = None
        self._waiting.clear()
        self._behind = b""
        self._reader.close()

    def pause_writing(self) -> None:
        """Note that the client is behind with reading (asyncio)."""
        self.outgoing.pause()

    def resume_writing(self) -> None:
        """Note that the client has caught up (asyncio)."""
        self.outgoing.resume()
        if self.exchange is None and not self._reader.in_request and not self._is_closing:
            self.deadline = self._crowd.now + self._crowd.keep_alive

    # What the reader reports.

    @property
    def is_busy(self) -> bool:
        """Whether a complete request must be answered before more is read."""
        return self.exchange is not None and self.exchange.is_received

    @property
    def takes_websockets(self) -> bool:
        """Whether the connection can be handed over to a WebSocket protocol."""
        return self.exchange is None and self.host.config.ws_protocol_class is not None

    def begin(self, exchange: Exchange) -> None:
        """Run the app for a request whose head has arrived, or let the request wait its turn."""
        if self.exchange is None:
            self.exchange = self._due = exchange  # run once the body next to it is parsed
        elif (self._waiting[-1] if self._waiting else self.exchange).keeps_alive:
            self._waiting.append(exchange)

    def request_received(self, exchange: Exchange) -> None:
        """Note that a request has arrived completely."""
        if exchange.is_answered and self.exchange is None:
            self.deadline = self._crowd.now + self._crowd.keep_alive

    def become_websocket(self, received: bytes) -> None:
        """Hand the connection to the server's WebSocket protocol, with all that it has received."""
        self._is_closing = True
        self._forget()
        self.host.speak_websocket(self._transport, received)

    # What an exchange asks for.

    def pause_reading(self) -> None:
        """Stop reading, so that backpressure reaches the client."""
        if not self._is_paused and not self._transport.is_closing():
            self._is_paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Resume reading after ``pause_reading``."""
        if self._is_paused and not self._behind and not self._transport.is_closing():
            self._is_paused = False
            self._transport.resume_reading()
            if self.exchange is not None and not self.exchange.is_received:
                self.deadline = self._crowd.now + self._crowd.body_timeout

    def exchange_ended(self, exchange: Exchange) -> None:
        """Go on with the next request, once the response to this one is complete."""
        self.host.state.total_requests += 1
        if self._transport.is_closing():
            return
        if not exchange.keeps_alive:
            self._close(lingers=not exchange.is_received or bool(self._behind))
            return
        self.exchange = self._waiting.popleft() if self._waiting else None
        if self.exchange is not None or self._behind or self._fault is not None:
            # Not at once: a segment of small requests would be answered in ever deeper calls.
            self.host.loop.call_soon(self._go_on)
            return
        self.resume_reading()
        self._rest(is_received=exchange.is_received)
        if self._is_half_closed:
            self._close()

    def _rest(self, *, is_received: bool) -> None:
        """Set the deadline for what the client must send next, now that no response is due."""
        timeout = self._crowd.keep_alive
        if not is_received:
            timeout = self._crowd.body_timeout
        elif self._reader.in_head:
            timeout = self._crowd.limits.head_timeout
        self.deadline = self._crowd.now + timeout

    def _go_on(self) -> None:
        exchange = self.exchange
        if self.is_closing:
            return
        if exchange is not None and (exchange.is_received or self._fault is None):
            self.host.run(exchange)
            if exchange.is_received or self.exchange is not exchange:
                return
        if self._fault is not None:
            self._end_at_fault(self._fault)
            return
        self._rest(is_received=exchange is None)
        behind, self._behind = self._behind, b""
        self.resume_reading()
        self._read(behind)

    def break_off(self, exchange: Exchange) -> None:
        """Close the connection in the middle of a response, so that the client sees it."""
        if exchange.scope["http_version"] == "1.0":
            self._transport.abort()  # a mere end would look like that of the response
        else:
            self._close()

    # What the server and the crowd ask for.

    @property
    def is_idle(self) -> bool:
        """Whether nothing is left to answer or send, so that it is safe to close the connection."""
        return self.exchange is None and not self._behind and not self.outgoing.size

    @property
    def is_closing(self) -> bool:
        """Whether nothing more is read, or sent beyond what has been written."""
        return self._is_closing or self._transport.is_closing()

    def _forget(self) -> None:
        self.host.state.connections.discard(self)
        self._crowd.discard(self)

    def expire(self) -> None:
        """Close the connection, because its deadline has passed."""
        if self._is_closing or self.exchange is not None:
            self.abort()
        else:
            self._close()

    def abort(self) -> None:
        """End the connection at once, whatever the client has yet to read."""
        self._transport.abort()

    def shutdown(self) -> None:
        """Close the connection once the current response is complete; uvicorn calls this."""
        if self.exchange is None:
            self._close()
        else:
            for exchange in (self.exchange, *self._waiting):
                exchange.keeps_alive = False

    def refuse(self, error: PotassiumError) -> None:
        """Answer with ``error``, and close the connection."""
        scope = {**self.scope, "headers": ()}
        self._crowd.note_refusal(error, scope)
        self.outgoing.write(refusal(error, self.host.default_headers, scope))
        self._close(lingers=True)

    def _close(self, *, lingers: bool = False) -> None:
        """Close the connection once all is sent; if it lingers, drop what arrives for a while."""
        if self._is_closing:
            return
        self._is_closing = True
        self._behind = b""
        self.deadline = self._crowd.now + LINGER
        self._crowd.leave(self)
        if lingers:
            self.resume_reading()
        self.outgoing.end(lingers=lingers and not self._is_half_closed)
