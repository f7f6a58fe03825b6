"""The output of one connection, and whether its client reads it."""

import asyncio

__all__ = ["Outgoing"]

# A client that reads less than this in the time allowed counts as one that reads nothing: it would
# keep a response of megabytes in memory for days.
LEAST = 16 * 1024  # bytes


class Outgoing:
    """Passes bytes to the transport, which keeps them until the client reads them.

    Attributes:
        is_full: whether the client is behind with reading, so that ``has_room`` waits.

    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._written = 0  # bytes in all
        self._taken = 0  # bytes that had been read at ``_since``
        self._since: float | None = None
        self._room: asyncio.Future[None] | None = None
        self.is_full = False

    def write(self, data: bytes) -> None:
        """Send ``data`` as soon as the client reads."""
        self._transport.write(data)
        self._written += len(data)

    def end(self, *, lingers: bool) -> None:
        """Close the transport once everything is sent.

        If it ``lingers``, only the sending side is closed: with a client that is still sending,
        closing both would reset the connection, and the client might lose the response (RFC 9112,
        section 9.6). TLS cannot close one side, and waits for the client to close both.
        """
        if not lingers or self._transport.is_closing():
            self._transport.close()
        elif self._transport.can_write_eof():
            self._transport.write_eof()

    async def has_room(self) -> None:
        """Wait until the client has read enough, or has disconnected."""
        if self._room is None:
            self._room = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._room)

    def pause(self) -> None:
        """Note that the client is behind with reading."""
        self.is_full = True

    def resume(self) -> None:
        """Note that the client has caught up, or has disconnected."""
        self.is_full = False
        if self._room is not None:
            self._room.set_result(None)
            self._room = None

    @property
    def size(self) -> int:
        """How many bytes the client has yet to read, apart from what the kernel holds."""
        return self._transport.get_write_buffer_size()

    def forgive(self, seconds: float) -> None:
        """Exclude the last ``seconds`` from the client's time limit."""
        if self._since is not None:
            self._since += seconds

    def is_stalled(self, now: float, patience: float) -> bool:
        """Return whether the client has stopped reading for ``patience`` seconds.

        Must be called regularly while there is something to read.
        """
        taken = self._written - self.size
        if self._written == taken or self._since is None or taken - self._taken >= LEAST:
            self._taken = taken
            self._since = None if self._written == taken else now
            return False
        return now - self._since >= patience
