"""Distinguishes a client that has only closed its sending side from one that has disconnected."""

from typing import Protocol

from potassium.connections.exchange import CONTINUE, Exchange
from potassium.connections.host import Host
from potassium.connections.outgoing import Outgoing

__all__ = ["awaits", "look_for_client"]

# When to check whether the client is still connected.
LOOKS = (0.05, 0.2, 1.0)  # seconds after the previous check; the last one repeats


class HalfClosed(Protocol):
    """A connection whose client has closed its sending side."""

    host: Host
    outgoing: Outgoing

    @property
    def is_closing(self) -> bool:
        """Whether nothing more will be sent."""

    @property
    def exchange(self) -> Exchange | None:
        """The request whose response is due."""


def awaits(exchange: Exchange | None, *, is_more: bool) -> bool:
    """Return whether a client that has closed its sending side may still await responses.

    Where it cannot be distinguished from a client that has disconnected, it counts as disconnected:
    in the middle of a response, over TLS, and with HTTP/1.0, which has no interim responses.
    ``is_more`` is whether the client has sent anything after the request of ``exchange``.
    """
    if exchange is None:
        return is_more
    scope = exchange.scope
    if exchange.has_begun:
        return exchange.is_answered  # its turn is still to come
    is_plain = scope["scheme"] == "http" and scope["http_version"] == "1.1"
    return is_plain and (exchange.is_received or is_more)


def look_for_client(connection: HalfClosed, times: int = 0) -> None:
    """Send interim responses at intervals, while a response is due that has not begun.

    Clients ignore them (RFC 9110, section 15.2). If the client has disconnected, its host answers
    with a reset, which ends the connection.
    """
    if connection.is_closing:
        return
    exchange = connection.exchange
    if exchange is not None and not exchange.has_begun and exchange.scope["http_version"] == "1.1":
        connection.outgoing.write(CONTINUE)
    pause = LOOKS[min(times, len(LOOKS) - 1)]
    connection.host.loop.call_later(pause, look_for_client, connection, times + 1)
