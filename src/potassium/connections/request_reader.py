"""Parses the bytes of one connection into requests, within limits."""

from collections.abc import Iterable, Iterator
from typing import Any, Protocol
from urllib.parse import unquote

import httptools
from starlette.types import Scope

from potassium.connections.exchange import Client, Exchange
from potassium.errors import HeadTooLarge, MalformedRequest

__all__ = ["RequestReader"]

# While no body of a known length is due, this much is parsed at a time: anything after the end of a
# request stays unparsed until that request has been answered.
STEP = 1024  # bytes
MOST_FIELDS = 256
OWN_FIELDS = frozenset({b"content-length", b"expect", b"upgrade", b"transfer-encoding"})


class Sender(Client, Protocol):
    """The parts of a connection that a reader uses."""

    @property
    def scope(self) -> dict[str, Any]:
        """The part that all ASGI scopes of this connection share."""

    @property
    def is_busy(self) -> bool:
        """Whether a complete request must be answered before more is read."""

    @property
    def takes_websockets(self) -> bool:
        """Whether the connection can be handed over to a WebSocket protocol."""

    def pause_reading(self) -> None:
        """Stop reading, so that backpressure reaches the client."""

    def begin(self, exchange: Exchange) -> None:
        """Take a request whose head has arrived."""

    def request_received(self, exchange: Exchange) -> None:
        """Note that a request has arrived completely."""

    def become_websocket(self, received: bytes) -> None:
        """Switch to WebSocket; ``received`` is the upgrade request and everything after it."""


class RequestReader:
    """Parses requests, and passes each to ``sender.begin`` as soon as its head is complete.

    Attributes:
        in_head: whether a request head has begun and not ended.

    """

    def __init__(self, sender: Sender, head_size: int) -> None:
        self._sender = sender
        self._head_size = head_size
        self._surely_enough = head_size - STEP  # with what is parsed next
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
        self._websocket: bytes | None = None  # what a WebSocket protocol is to read

    def _new_parser(self) -> "httptools.HttpRequestParser":
        parser = httptools.HttpRequestParser(self)
        # What follows a request with "Connection: close" is not parsed, but is not an error.
        parser.set_dangerous_leniencies(lenient_data_after_close=True)
        return parser

    @property
    def in_request(self) -> bool:
        """Whether a request has begun and not ended."""
        return self.in_head or self._exchange is not None

    def feed(self, data: bytes) -> bytes:
        """Parse ``data`` up to the end of a request; return the rest.

        Several requests in one small segment may be parsed at once.

        Raises:
            MalformedRequest: this is not HTTP/1.1.
            HeadTooLarge: the head, or other framing outside the body, is too large.

        """
        if len(data) <= STEP:
            self._feed(data)
            end = len(data)
        else:
            view, end = memoryview(data), 0
            while end < len(data) and not self._sender.is_busy and self._websocket is None:
                step = max(STEP, self._body_left)
                self._feed(view[end : end + step])
                end += step
        if self._websocket is not None:
            self._sender.become_websocket(self._websocket + data[end:])
            return b""
        return data[end:]

    def close(self) -> None:
        """Break the reference cycles; nothing is read any more."""
        self._exchange = None
        del self._parser, self._sender

    def _feed(self, data: bytes | memoryview) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._upgrade(bytes(data[upgrade.args[0] :]))
        except httptools.HttpParserError as error:
            if isinstance(error.__context__, HeadTooLarge):  # from on_headers_complete
                raise error.__context__ from None
            raise MalformedRequest from None
        if self.in_head or (self._exchange is not None and not self._body_left):
            self._unbounded += len(data)
            # One step more, because some of it may not belong to this head.
            if self._unbounded > self._head_size + STEP or len(self._fields) > MOST_FIELDS:
                raise HeadTooLarge

    def _upgrade(self, rest: bytes) -> None:
        """Continue after the head of an upgrade request, which the parser leaves to us.

        Unless the upgrade is to WebSocket, the request is read again as if it had not asked for one
        (RFC 9110, section 7.8).
        """
        method, version = self._parser.get_method(), self._parser.get_http_version()
        if method == b"CONNECT":
            raise MalformedRequest
        line = b"%b %b HTTP/%b\r\n" % (method, self._target, version.encode("ascii"))
        if self._is_for_websocket(version):
            self._websocket = line + _encoded(self._fields) + rest
        else:
            self._parser = self._new_parser()
            self._feed(line + _encoded(_without_upgrade(self._fields)) + rest)

    def _is_for_websocket(self, version: str) -> bool:
        asks = self._protocol == b"websocket" and version == "1.1"
        return asks and self._sender.takes_websockets

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
        if name not in OWN_FIELDS:
            return
        if name == b"content-length":
            self._length = value
        elif name == b"expect":
            self._awaits_continue = value.lower() == b"100-continue"
        elif name == b"upgrade":
            self._protocol = value.lower()
        elif value.strip().lower() != b"chunked":
            raise MalformedRequest  # which no app would decode (RFC 9112, section 6.1)

    def on_headers_complete(self) -> None:
        """Pass the request on."""
        parser = self._parser
        self.in_head = False
        if parser.should_upgrade():  # see _upgrade
            return
        if self._unbounded > self._surely_enough or len(self._fields) > MOST_FIELDS:
            self._check_size()
        self._unbounded = 0
        self._body_left = int(self._length or 0)
        version = parser.get_http_version()
        is_current = version == "1.1"
        if not is_current and version != "1.0":
            raise MalformedRequest
        scope = self._sender.host.new_scope(self._sender.scope)
        scope["http_version"] = version
        scope["method"] = parser.get_method().decode("ascii")
        scope["headers"] = self._fields
        self._locate(scope)
        self._exchange = Exchange(
            self._sender,
            scope,
            keeps_alive=is_current and parser.should_keep_alive(),
            awaits_continue=self._awaits_continue and is_current,
        )
        self._sender.begin(self._exchange)

    def _check_size(self) -> None:
        size = len(self._target) + sum(len(name) + len(value) for name, value in self._fields)
        if size > self._head_size or len(self._fields) > MOST_FIELDS:
            raise HeadTooLarge

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
        """Note that the request has arrived completely."""
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
