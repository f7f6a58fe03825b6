"""Turns the response of a handler into that of OpenAI's API, on its way out."""

from http import HTTPStatus
from typing import Any

from starlette.types import Message, Send

from potassium.http.codec import decode
from potassium.http.problem import PROBLEM
from potassium.http.sse import EVENTS, KEEP_ALIVE
from potassium.http.stream_formats import JSON_LINES, JsonLines, WireHeaders
from potassium.openai.answer import Answer
from potassium.openai.errors import error_of, with_error

__all__ = ["Lines", "Translation"]

JSON = b"application/json"
REPLACED = (b"content-type", b"content-length")


class Lines(JsonLines):
    """A stream as lines of JSON, that remembers how it has failed.

    Attributes:
        failure: the problem document; None if the stream has not failed.

    """

    def __init__(self, *, keeps_alive: bool) -> None:
        super().__init__()
        self.keep_alive = b"\n" if keeps_alive else None
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
        self._received = bytearray()  # what was not translated yet

    async def __call__(self, message: Message) -> None:
        """Take a message of the handler's, and pass on what there is to say."""
        if message["type"] == "http.response.start":
            self._start = message
            self._kind = _media_type(message["headers"])
            return
        is_last = not message.get("more_body", False)
        self._received += message.get("body", b"")
        if self._kind == JSON_LINES:
            await self._stream(is_last=is_last)
        elif self._kind == JSON and self._is_success:
            if is_last:
                said = self._answer.add(decode(bytes(self._received)))
                self._received.clear()
                await self._pass_on(said, is_last=True)
        elif self._kind == PROBLEM[1]:
            if is_last:
                await self._whole(with_error(bytes(self._received)), PROBLEM[1])
        else:
            await self._as_it_is(message)

    @property
    def _is_success(self) -> bool:
        return self._start is not None and self._start["status"] == HTTPStatus.OK

    async def _stream(self, *, is_last: bool) -> None:
        """Tell the chunks that have come."""
        said = []
        *lines, rest = self._received.split(b"\n")
        self._received = rest
        for line in lines:
            if line:
                said.append(self._answer.add(decode(bytes(line))))
            elif self._answer.is_stream:
                said.append(KEEP_ALIVE)
        await self._pass_on(b"".join(said), is_last=is_last)

    async def _pass_on(self, said: bytes, *, is_last: bool) -> None:
        failure = self._lines.failure
        if self._answer.is_stream:
            if is_last:
                said += self._end(failure)
            await self._begin(EVENTS, (b"cache-control", b"no-cache"))
            await self._send({"type": "http.response.body", "body": said, "more_body": not is_last})
        elif is_last and failure is not None:
            await self._whole(with_error(failure), PROBLEM[1], decode(failure)["status"])
        elif is_last:
            await self._whole(said + self._answer.end(), self._answer.media_type)

    def _end(self, failure: bytes | None) -> bytes:
        return self._answer.end() if failure is None else self._answer.fail(_told(failure))

    async def _begin(self, media_type: bytes, *more: tuple[bytes, bytes]) -> None:
        start, self._start = self._start, None
        if start is not None:
            self.has_begun = True
            kept = [header for header in start["headers"] if header[0] not in REPLACED]
            await self._send({**start, "headers": [*kept, (b"content-type", media_type), *more]})

    async def _whole(self, body: bytes, media_type: bytes, status: int | None = None) -> None:
        if self._start is not None and status is not None:
            self._start["status"] = status
        await self._begin(media_type, (b"content-length", b"%d" % len(body)))
        await self._send({"type": "http.response.body", "body": body})

    async def _as_it_is(self, message: Message) -> None:
        start, self._start = self._start, None
        if start is not None:
            self.has_begun = True
            await self._send(start)
        await self._send(message)


def _media_type(headers: WireHeaders) -> bytes:
    content_type = next((value for name, value in headers if name == b"content-type"), b"")
    return content_type.partition(b";")[0].strip()


def _told(problem: bytes) -> dict[str, Any]:
    return error_of(decode(problem))
