"""Sending a stream over ASGI, piece by piece."""

import asyncio

from starlette.types import Message, Send

from potassium.engine import Job, Stream
from potassium.errors import ClientLeft, PotassiumError, StreamBroken
from potassium.http import sse
from potassium.http.reply import Reply
from potassium.http.stream_formats import StreamFormat

__all__ = ["StreamSender"]

# Of a client that takes its stream slowly, progress is seen each time that it has taken as much.
PIECE = 64 * 1024  # bytes


class StreamSender:
    """Sends what a stream holds, in the form that ``form`` gives it.

    Attributes:
        has_begun: whether the response's head is sent, so that an error has to be told in it.

    """

    def __init__(
        self, form: StreamFormat, request_id: str, send: Send, stall_timeout: float
    ) -> None:
        """Prepare to send over ``send``; a client may take nothing for ``stall_timeout``."""
        self.has_begun = False
        self._form = form
        self._request_id = request_id
        self._send = send
        self._stall_timeout = stall_timeout
        self._sending: asyncio.Timeout | None = None
        self._is_stuck = False  # what was sent last was not taken

    async def send_all(self, stream: Stream[Job]) -> None:
        """Send chunks as they come, all that have piled up at a time, until the stream ends.

        Raises:
            PotassiumError: the stream's job was called off, or failed.
            StreamBroken: the client has taken nothing for too long.

        """
        stream.on_called_off = self._interrupt
        await self.begin()
        while (chunks := await self._take(stream)) is not None:
            await self._send_data(b"".join(chunks))
        await self._send_data(self._form.end, more=False)

    async def begin(self) -> None:
        """Send the head, unless it was sent."""
        if self.has_begun:
            return
        self.has_begun = True
        headers = [*self._form.head(), (b"x-request-id", self._request_id.encode("ascii"))]
        status = self._form.status
        await self._send_in_time(
            {"type": "http.response.start", "status": status, "headers": headers}
        )

    async def keep_alive(self) -> None:
        """Show that the connection is alive, to whatever lies between here and the client."""
        await self.begin()
        await self._send_data(self._form.keep_alive or b"")

    async def keep_alive_until(self, ready: asyncio.Future[object]) -> None:
        """Do so until ``ready`` is done; only wait where the form has nothing to show.

        Raises:
            StreamBroken: the client has taken nothing for too long.

        """
        interval = None if self._form.keep_alive is None else sse.KEEP_ALIVE_INTERVAL
        while not (await asyncio.wait({ready}, timeout=interval))[0]:
            await self.keep_alive()

    async def fail(self, error: PotassiumError, problem: Reply) -> bool:
        """Tell the client that what it has is not all; return whether that could be told.

        Where it could not, there is no way but to break the connection.
        """
        if isinstance(error, ClientLeft):
            return True
        told = None if self._is_stuck else self._form.error(problem.body)
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
        """Wait no longer for a client that does not take what was sent."""
        if self._sending is not None:
            self._sending.reschedule(asyncio.get_running_loop().time())
