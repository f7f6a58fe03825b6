"""Turns the response of a handler into that of OpenAI's API, on its way out."""

import asyncio
from functools import partial
from http import HTTPStatus

from starlette.types import Message, Send

from potassium.http.codec import decode
from potassium.http.problem import PROBLEM
from potassium.http.sse import EVENTS, KEEP_ALIVE
from potassium.http.stream_formats import JSON_LINES, JsonLines, WireHeaders
from potassium.openai.answer import Answer
from potassium.openai.errors import error_of, with_error

__all__ = ["Lines", "Translation"]

JSON = b"application/json"
QUICK = 64 * 1024  # bytes of a result that are told on the event loop
REPLACED = (b"content-type", b"content-length")


class Lines(JsonLines):
    """A stream as lines of JSON, that remembers how it has failed.

    Attributes:
        failure: the problem document; None if the stream has not failed.

    """

    keep_alive = b"\n"

    def __init__(self) -> None:
        super().__init__()
        self.failure: bytes | None = None

    def error(self, problem: bytes) -> bytes:
        """Remember the failure."""
        self.failure = problem
        return b""


class Translation:
    """An ASGI ``send`` for a handler, which passes on what OpenAI's API says in its place.

    A stream, in lines of JSON, and a result in JSON are told by ``answer``. A problem document gets
    OpenAI's error object as well. Anything else, such as the document of a background job, is
    passed on as it is.

    Args:
        send: where it goes.
        answer: says it.
        lines: the format of the handler's stream.

    Attributes:
        has_begun: whether something was passed on.

    """

    def __init__(self, send: Send, answer: Answer, lines: Lines) -> None:
        self._send = send
        self._answer = answer
        self._lines = lines
        self.has_begun = False
        self._start: Message | None = None  # it is held until the first piece of the body
        self._kind = b""  # the media type of what the handler sends
        self._received = b""  # what was not translated yet

    async def __call__(self, message: Message) -> None:
        """Take a message of the handler's, and pass on what there is to say."""
        if message["type"] == "http.response.start":
            self._start, self._received = message, b""
            self._kind = _kind(message["headers"])
        elif self._kind == JSON_LINES:
            await self._tell_lines(message)
        elif self._kind == PROBLEM[1] or (self._kind == JSON and self._is_success):
            await self._tell_document(message)
        else:
            await self._begin()
            await self._send(message)

    @property
    def _is_success(self) -> bool:
        return self._start is not None and self._start["status"] == HTTPStatus.OK

    async def _tell_lines(self, message: Message) -> None:
        """Tell the chunks that have come."""
        *lines, self._received = (self._received + message.get("body", b"")).split(b"\n")
        await self._say(b"".join(map(self._told, lines)))
        if not message.get("more_body", False):
            await self._end()

    async def _tell_document(self, message: Message) -> None:
        """Tell a result, or a problem, once it is complete."""
        self._received += message.get("body", b"")
        if message.get("more_body", False):
            return
        if self._kind == PROBLEM[1]:
            await self._say_all(with_error(self._received), PROBLEM[1])
            return
        told = partial(self._told, self._received)
        await self._say(await asyncio.to_thread(told) if len(self._received) > QUICK else told())
        await self._end()

    def _told(self, line: bytes) -> bytes:
        if line:
            return self._answer.add(decode(line))
        return KEEP_ALIVE if self._answer.is_stream else b""

    async def _say(self, said: bytes, *, more: bool = True) -> None:
        if said or not more:
            await self._begin(EVENTS, (b"cache-control", b"no-cache"))
            await self._send({"type": "http.response.body", "body": said, "more_body": more})

    async def _end(self) -> None:
        """Say what there is at the end, whether the stream has failed or not."""
        failure = self._lines.failure
        if failure is None:
            said, media_type = self._answer.end(), self._answer.media_type
            if self._answer.is_stream:
                await self._say(said, more=False)
            else:
                await self._say_all(said, media_type)
        elif self._answer.is_stream:
            await self._say(self._answer.fail(error_of(decode(failure))), more=False)
        else:
            assert self._start is not None  # noqa: S101 - nothing was said so far
            self._start["status"] = decode(failure)["status"]
            await self._say_all(with_error(failure), PROBLEM[1])

    async def _say_all(self, body: bytes, media_type: bytes) -> None:
        await self._begin(media_type, (b"content-length", b"%d" % len(body)))
        await self._send({"type": "http.response.body", "body": body})

    async def _begin(self, media_type: bytes | None = None, *more: tuple[bytes, bytes]) -> None:
        """Send the head, unless it was sent; it is the handler's if there is no media type."""
        start, self._start = self._start, None
        if start is None:
            return
        self.has_begun = True
        if media_type is not None:
            kept = [header for header in start["headers"] if header[0] not in REPLACED]
            start = {**start, "headers": [*kept, (b"content-type", media_type), *more]}
        await self._send(start)


def _kind(headers: WireHeaders) -> bytes:
    """Return the media type of a response; nothing for the result of a background job."""
    given = dict(headers)
    kind = given.get(b"content-type", b"").partition(b";")[0].strip()
    return b"" if kind == JSON and b"preference-applied" in given else kind
