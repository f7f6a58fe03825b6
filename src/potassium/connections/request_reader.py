"""Turns the bytes of one connection into requests, within bounds."""

from collections.abc import Iterable, Iterator
from typing import Protocol
from urllib.parse import unquote

import httptools
from starlette.types import Scope

from potassium.connections.exchange import Client, Exchange
from potassium.connections.refusals import HeadTooLarge, MalformedRequest

__all__ = ["RequestReader"]

# As long as no body of a known length is due, this much is parsed at a time: whatever is behind the
# end of a request stays unparsed bytes until that request is answered.
STEP = 1024  # bytes
MOST_FIELDS = 256


class Sender(Client, Protocol):
    """What a reader needs of its connection."""

    @property
    def is_answering(self) -> bool:
        """Whether a response is due."""

    @property
    def takes_websockets(self) -> bool:
        """Whether the server has something that speaks WebSocket."""

    def new_scope(self) -> Scope:
        """Return what all ASGI scopes of this connection have in common."""

    def pause_reading(self) -> None:
        """Let what the client sends pile up at the client."""

    def begin(self, exchange: Exchange) -> None:
        """Take a request whose head has arrived."""

    def request_received(self, exchange: Exchange) -> None:
        """Note that a request has arrived whole."""

    def become_websocket(self, received: bytes) -> None:
        """Speak WebSocket from now on; ``received`` is the request for it, and what followed."""


class RequestReader:
    """Parses requests, and passes each to ``sender.begin`` as soon as its head is complete.

    Attributes:
        in_head: whether the head of a request has begun and not ended.

    """

    def __init__(self, sender: Sender, head_size: int) -> None:
        self._sender = sender
        self._head_size = head_size
        self._parser = self._new_parser()
        self._exchange: Exchange | None = None  # whose body is due
        self.in_head = False
        self._unbounded = 0  # bytes since the head began, or since the last byte of the body
        self._body_left = 0  # bytes of a body whose length is known
        self._target = b""
        self._fields: list[tuple[bytes, bytes]] = []
        self._length = b""
        self._awaits_continue = False
        self._protocol = b""  # what Upgrade asks for

    def _new_parser(self) -> "httptools.HttpRequestParser":
        parser = httptools.HttpRequestParser(self)
        # What follows a request with "Connection: close" is not parsed, but is no error.
        parser.set_dangerous_leniencies(lenient_data_after_close=True)
        return parser

    @property
    def in_request(self) -> bool:
        """Whether a request has begun and not ended."""
        return self.in_head or self._exchange is not None

    def feed(self, data: bytes) -> bytes:
        """Parse ``data`` up to the end of a request; return what is behind it.

        A few requests in one small segment may be parsed at once.

        Raises:
            MalformedRequest: this is not HTTP/1.1.
            HeadTooLarge: the head, or what else is neither head nor body, is too large.

        """
        size = len(data)
        if size <= STEP:
            self._feed(data)
            return b""
        view, start = memoryview(data), 0
        while start < size:
            step = max(STEP, self._body_left)
            self._feed(view[start : start + step])
            start += step
            if not self.in_request and self._sender.is_answering:
                return data[start:]
        return b""

    def _feed(self, data: bytes | memoryview) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._upgrade(bytes(data[upgrade.args[0] :]))
        except httptools.HttpParserError as error:
            cause = error.__context__ if isinstance(error, httptools.HttpParserCallbackError) else 0
            if cause is not None and isinstance(cause, HeadTooLarge):
                raise cause from None
            raise MalformedRequest from None
        if self.in_head or (self._exchange is not None and not self._body_left):
            self._unbounded += len(data)
            if self._unbounded > self._head_size or len(self._fields) > MOST_FIELDS:
                raise HeadTooLarge

    def _upgrade(self, rest: bytes) -> None:
        """Go on behind the head of a request for another protocol, which the parser leaves to us.

        Except for WebSocket, the request is read again as if it had not asked (RFC 9110, section
        7.8).
        """
        method = self._parser.get_method()
        if method == b"CONNECT":
            raise MalformedRequest
        line = b"%b %b HTTP/1.1\r\n" % (method, self._target)
        if self._protocol == b"websocket" and self._sender.takes_websockets:
            self._sender.become_websocket(line + _encoded(self._fields) + rest)
            return
        self._parser = self._new_parser()
        self._feed(line + _encoded(_without_upgrade(self._fields)) + rest)

    # Called by the parser.

    def on_message_begin(self) -> None:
        """Note that a request begins."""
        self.in_head = True
        self._unbounded = 0
        self._target = b""
        self._fields = []
        self._length = b""
        self._awaits_continue = False
        self._protocol = b""

    def on_url(self, part: bytes) -> None:
        """Keep a part of the target."""
        self._target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header field; drop trailers (RFC 9110, section 6.5.1)."""
        if not self.in_head:
            return
        name = name.lower()
        self._fields.append((name, value))
        if name == b"content-length":
            self._length = value
        elif name == b"expect":
            self._awaits_continue = value.lower() == b"100-continue"
        elif name == b"upgrade":
            self._protocol = value.lower()

    def on_headers_complete(self) -> None:
        """Pass the request on."""
        parser = self._parser
        self.in_head = False
        if self._protocol and parser.should_upgrade():
            return
        self._unbounded = 0
        self._body_left = int(self._length or 0)
        version = parser.get_http_version()
        scope = self._sender.new_scope()
        scope["http_version"] = version
        scope["method"] = parser.get_method().decode("ascii")
        scope["headers"] = self._fields
        self._locate(scope)
        self._exchange = Exchange(
            self._sender,
            scope,
            keeps_alive=version == "1.1" and parser.should_keep_alive(),
            awaits_continue=self._awaits_continue,
        )
        self._sender.begin(self._exchange)

    def _locate(self, scope: Scope) -> None:
        """Add what the target says to ``scope`` (RFC 9112, section 3.2)."""
        target = self._target
        if target[:1] == b"/" and b"#" not in target:
            path, _, query = target.partition(b"?")
        elif target == b"*":
            path, query = target, b""
        else:
            parsed = httptools.parse_url(target)
            path, query = parsed.path or b"/", parsed.query or b""
        root = scope["root_path"]
        decoded = path.decode("ascii")
        scope["path"] = root + (unquote(decoded) if "%" in decoded else decoded)
        scope["raw_path"] = root.encode("ascii") + path
        scope["query_string"] = query

    def on_body(self, data: bytes) -> None:
        """Pass a part of the body on."""
        self._unbounded = 0
        self._body_left = max(0, self._body_left - len(data))
        assert self._exchange is not None  # noqa: S101 - the head came first
        if self._exchange.add_body(data):
            self._sender.pause_reading()

    def on_message_complete(self) -> None:
        """Note that the request has arrived whole."""
        exchange, self._exchange = self._exchange, None
        self._body_left = 0
        if exchange is not None:
            exchange.end_body()
            self._sender.request_received(exchange)


def _encoded(fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    return b"".join(b"%b: %b\r\n" % field for field in fields) + b"\r\n"


def _without_upgrade(fields: Iterable[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
    for name, value in fields:
        if name == b"connection":
            tokens = [token.strip() for token in value.split(b",")]
            yield name, b", ".join(token for token in tokens if token.lower() != b"upgrade")
        elif name != b"upgrade":
            yield name, value
