"""Sends a stream over ASGI, piece by piece."""

import asyncio

from starlette.types import Message, Send

from potassium.engine import Job, Stream
from potassium.errors import ClientLeft, PotassiumError, StreamBroken
from potassium.http import sse
from potassium.http.reply import Reply
from potassium.http.stream_formats import StreamFormat

__all__ = ["StreamSender"]

# The progress of a client that reads its stream slowly is noticed after each piece of this size.
PIECE = 64 * 1024  # bytes


class StreamSender:
    """Sends a stream's chunks, in the format of ``form``, through ASGI's ``send``.

    ``stall_timeout`` is how many seconds the client may read nothing.

    Attributes:
        has_begun: whether the head was sent, so that an error must be reported in the stream.

    """

    def __init__(
        self, form: StreamFormat, request_id: str, send: Send, stall_timeout: float
    ) -> None:
        self.has_begun = False
        self._form = form
        self._request_id = request_id
        self._send = send
        self._stall_timeout = stall_timeout
        self._sending: asyncio.Timeout | None = None
        self._is_stuck = False  # the client did not read what was sent last

    async def send_all(self, stream: Stream[Job]) -> None:
        """Send chunks as they come, all that have piled up at once, until the stream ends.

        Raises:
            PotassiumError: the stream's job was called off, or failed.
            UnserializableOutput: the stream ends in the middle of a character.
            StreamBroken: the client has read nothing for ``stall_timeout``.

        """
        stream.on_called_off = self._interrupt
        await self.begin()
        while (chunks := await self._take(stream)) is not None:
            await self._send_data(b"".join(chunks))
        self._form.check_complete()
        await self._send_data(self._form.end, more=False)

    async def begin(self) -> None:
        """Send the status and headers, unless they have been sent."""
        if self.has_begun:
            return
        self.has_begun = True
        headers = [*self._form.head(), (b"x-request-id", self._request_id.encode("ascii"))]
        status = self._form.status
        await self._send_in_time(
            {"type": "http.response.start", "status": status, "headers": headers}
        )

    async def keep_alive(self) -> None:
        """Send a keep-alive, so that proxies and the client see that the connection is alive."""
        await self.begin()
        await self._send_data(self._form.keep_alive or b"")

    async def keep_alive_until(self, ready: asyncio.Future[object]) -> None:
        """Send keep-alives until ``ready`` is done; only wait if the format has none.

        Raises:
            StreamBroken: the client has read nothing for ``stall_timeout``.

        """
        interval = None if self._form.keep_alive is None else sse.KEEP_ALIVE_INTERVAL
        while not (await asyncio.wait({ready}, timeout=interval))[0]:
            await self.keep_alive()

    async def fail(self, error: PotassiumError, problem: Reply) -> bool:
        """Tell the client that its stream is incomplete; return whether that was possible.

        If not, the connection must be broken instead.
        """
        if isinstance(error, ClientLeft):
            return True
        is_slow = self._is_stuck or isinstance(error, StreamBroken)
        told = None if is_slow else self._form.error(problem.body)
        if told is None:
            return False
        await self._send_data(told, more=False)
        return True

    async def _take(self, stream: Stream[Job]) -> list[bytes] | None:
        if self._form.keep_alive is None:
            return await stream.take()
        while True:
            try:
                async with asyncio.timeout(sse.KEEP_ALIVE_INTERVAL):
                    return await stream.take()
            except TimeoutError:
                await self.keep_alive()

    async def _send_data(self, data: bytes, *, more: bool = True) -> None:
        for start in range(0, max(len(data), 1), PIECE):
            piece = data[start : start + PIECE]
            is_last = start + PIECE >= len(data)
            await self._send_in_time(
                {"type": "http.response.body", "body": piece, "more_body": more or not is_last}
            )
            if not is_last:
                await asyncio.sleep(0)  # much has piled up, and others have their turn, too

    async def _send_in_time(self, message: Message) -> None:
        try:
            async with asyncio.timeout(self._stall_timeout) as self._sending:
                await self._send(message)
        except TimeoutError:
            self._is_stuck = True
            raise StreamBroken(
                f"The client read nothing from its stream for {self._stall_timeout:g} s."
            ) from None
        finally:
            self._sending = None

    def _interrupt(self) -> None:
        """Stop waiting for a client that does not read what was sent."""
        if self._sending is not None and not self._sending.expired():
            self._sending.reschedule(asyncio.get_running_loop().time())
