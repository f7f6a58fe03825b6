"""Streamed answers from plain sockets, read as they arrive."""

import json
import socket
from http.client import HTTPResponse, IncompleteRead
from types import TracebackType
from typing import Any, Self

from e2e.server import Server, wait_until
from e2e.wire import Answer, events, post, reset
from support.sse import Event, Parser

SSE = "Accept: text/event-stream"
NDJSON = "Accept: application/x-ndjson"
RAW = "Accept: */*"


class Stream:
    """One answer on its own connection, from its head to its end.

    The constructor reads the head. It raises an error if no head arrives within the socket's
    timeout.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._response = HTTPResponse(connection, method="POST")
        try:
            self._response.begin()
        except BaseException:
            self.close()
            raise
        self._parser = Parser()
        self._events: list[Event] = []
        self.status = self._response.status
        self.headers = self._response.headers

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Leave like a client that wants no more."""
        self._response.close()
        self._connection.close()

    def reset(self) -> None:
        """Leave like a client that has crashed."""
        self._response.close()
        reset(self._connection)

    def read(self) -> bytes:
        """Return the next piece of the body, or nothing at its proper end.

        Raises:
            IncompleteRead: the body broke off.

        """
        return self._response.read1()

    def until(self, wanted: bytes) -> bytes:
        """Read until ``wanted`` has arrived, and return everything that was read."""
        received = b""
        while wanted not in received:
            piece = self.read()
            assert piece, f"the end, and no {wanted!r} in {received!r}"
            received += piece
        return received

    def rest(self) -> tuple[bytes, bool]:
        """Return the rest of the body, and whether it came to its proper end."""
        received = b""
        try:
            while piece := self.read():
                received += piece
        except (IncompleteRead, ConnectionError):
            return received, False
        return received, True

    def event(self) -> Event:
        """Return the next server-sent event."""
        while not self._events:
            piece = self.read()
            assert piece, "the end, and no event"
            self._events = self._parser.feed(piece)
        return self._events.pop(0)

    def last_events(self) -> list[Event]:
        """Return the remaining events, however the body ends."""
        body, _ = self.rest()
        return [*self._events, *self._parser.feed(body)]

    def answer(self) -> Answer:
        """Return an answer that is not a stream."""
        return Answer(self.status, self.headers, self._response.read())


def send(
    server: Server, path: str, body: Any, *headers: str, timeout: float = 10.0
) -> socket.socket:
    """Send a call without waiting for its answer."""
    connection = server.connect(timeout=timeout)
    connection.sendall(post(path, body, *headers))
    return connection


def open_stream(
    server: Server, path: str, body: Any, *headers: str, timeout: float = 10.0
) -> Stream:
    """Send a call and wait for the head of its answer."""
    return Stream(send(server, path, body, *headers, timeout=timeout))


def problem(event: Event) -> tuple[int, str]:
    """Return the status and the code in an ``error`` event."""
    assert event.type == "error", event
    document = json.loads(event.data)
    return document["status"], document["code"]


def wait_for_event(server: Server, event: str) -> None:
    """Wait until a handler has noted ``event``."""
    wait_until(lambda: event in events(server, event), event, seconds=10)
