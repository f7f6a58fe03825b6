"""A call and a stream, as flows of steps."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import uuid4

import httpx
import orjson

from potassium.client.attempts import Attempts, broken
from potassium.client.body import Body
from potassium.client.errors import CallFailed
from potassium.client.formats import EventParser, LineParser
from potassium.client.options import Options, Settings
from potassium.client.problems import connection_failed, failure, unexpected
from potassium.client.results import accepted, answer_as, check_type, value_as
from potassium.client.steps import Emit, Flow, Read

__all__ = ["Events", "call", "reading", "stream", "submission"]

EVENTS, LINES, RAW = "text/event-stream", "application/x-ndjson", "*/*"


@dataclass(frozen=True, slots=True)
class Ask:
    """Builds the requests of one call; each tells the server how much time is left."""

    settings: Settings
    path: str
    body: Body
    headers: httpx.Headers
    deadline: float | None = None

    def __post_init__(self) -> None:
        """Refuse to send the API key to another server."""
        if "://" in self.path and not self.path.startswith("/"):
            raise ValueError(f"{self.path!r} is a URL: write the path of a handler of this server.")

    def __call__(self) -> httpx.Request:
        """Return the request, to be sent now."""
        headers = self.headers.copy()
        if self.deadline is not None:
            left = max(0.0, self.deadline - self.settings.clock())
            headers.setdefault("Prefer", f"wait={left:.3f}")
        return self.settings.build("POST", self.path, headers=headers, **self.body.arguments)


def call(settings: Settings, path: str, item: Any, into: Any, options: Options) -> Flow[Any]:
    """Call a handler; return its result as ``into``."""
    check_type(into)
    deadline = settings.ends_at(options.deadline)
    with Body(item, options.files, options.content_type) as body:
        headers = _headers(settings, options, body, accepted(into))
        response = yield from _attempts(settings, options, body, deadline).answer(
            Ask(settings, path, body, headers, deadline)
        )
    return answer_as(into, response)


def stream(settings: Settings, path: str, item: Any, into: Any, options: Options) -> Flow[None]:
    """Call a handler that streams; emit each chunk as ``into``."""
    if into is httpx.Response:
        raise TypeError("into=httpx.Response is for call(); a stream has it as its response.")
    check_type(into)
    deadline = settings.ends_at(options.deadline)
    accept = RAW if into is bytes else LINES if options.lines else EVENTS
    with Body(item, options.files, options.content_type) as body:
        headers = _headers(settings, options, body, accept)
        response = yield from _attempts(settings, options, body, deadline).answer(
            Ask(settings, path, body, headers, deadline), load=False
        )
    kind = response.headers.get("content-type", "").partition(";")[0]
    if accept not in (RAW, kind):
        raise unexpected(
            f"The answer is {kind or 'of no known type'}, not a stream of {accept}: use call(), or "
            "into=bytes for the body as it is.",
            response,
        )
    parser = PARSERS[accept](into, response)
    yield from reading(settings, deadline, parser)
    if not parser.is_complete:
        raise connection_failed(EOFError("The stream ended early: the server has cut it off."))


def submission(settings: Settings, path: str, item: Any, options: Options) -> Flow[httpx.Response]:
    """Submit a background job; return the response that acknowledges it.

    It is sent again if the connection breaks: its idempotency key keeps it one job.
    """
    deadline = settings.ends_at(options.deadline)
    with Body(item, options.files, options.content_type) as body:
        headers = _headers(settings, options, body, RAW)  # selects the form of the output
        headers["Prefer"] = "respond-async"
        headers["Idempotency-Key"] = options.idempotency_key or uuid4().hex
        if options.webhook_url is not None:
            headers["Webhook-Url"] = options.webhook_url
        attempts = _attempts(settings, options, body, deadline, idempotent=True)
        return (yield from attempts.answer(Ask(settings, path, body, headers)))


class Parser(Protocol):
    """Finds items in a body that arrives in pieces."""

    def feed(self, received: bytes, /) -> Iterator[Any]:
        """Yield the items that ``received`` completes."""
        ...


class Events:
    """Server-sent events: text as it is, or JSON; the last one says how the stream ended."""

    def __init__(self, into: Any, response: httpx.Response) -> None:
        self._into, self._response = into, response
        self._events = EventParser()
        self.is_complete = False

    def feed(self, received: bytes) -> Iterator[Any]:
        """Yield the chunks that ``received`` completes."""
        for event in self._events.feed(received):
            if event.kind == "end":
                self.is_complete = True
            elif event.kind == "error":
                raise self._failure(event.data)
            elif self._into is None or self._into is str:
                yield event.data
            else:
                yield value_as(self._into, event.data.encode(), self._response)

    def _failure(self, data: str) -> CallFailed:
        with suppress(orjson.JSONDecodeError):
            document = orjson.loads(data)
            if isinstance(document, dict):
                return failure(document, self._response)
        return unexpected(f"The stream failed, and does not say why: {data!r}", self._response)


class _Lines:
    """Lines of JSON; a stream that failed is one whose body breaks off."""

    def __init__(self, into: Any, response: httpx.Response) -> None:
        self._into, self._response = into, response
        self._lines = LineParser()

    @property
    def is_complete(self) -> bool:
        """Whether the last line has ended."""
        return self._lines.is_complete

    def feed(self, received: bytes) -> Iterator[Any]:
        """Yield the chunks that ``received`` completes."""
        for line in self._lines.feed(received):
            yield value_as(self._into, line, self._response)


class _Raw:
    """The bytes as they arrive."""

    is_complete = True

    def __init__(self, into: Any, response: httpx.Response) -> None:
        del into, response

    def feed(self, received: bytes) -> Iterator[bytes]:
        """Yield what was received."""
        yield received


PARSERS: Mapping[str, type[Events | _Lines | _Raw]] = {
    EVENTS: Events,
    LINES: _Lines,
    RAW: _Raw,
}


def reading(settings: Settings, deadline: float | None, parser: Parser) -> Flow[None]:
    """Read the body of the last response to its end; emit what ``parser`` finds in it.

    Raises:
        CallFailed: the body breaks off, or the deadline passes.

    """
    while True:
        try:
            received: bytes = yield Read(deadline)
        except (httpx.RequestError, TimeoutError) as error:
            raise broken(error, settings, deadline) from error
        if not received:
            return
        for item in parser.feed(received):
            yield Emit(item)


def _attempts(
    settings: Settings,
    options: Options,
    body: Body,
    deadline: float | None,
    *,
    idempotent: bool = False,
) -> Attempts:
    return Attempts(
        settings=settings,
        deadline=deadline,
        idempotent=idempotent or options.idempotent,
        retries=settings.retries if body.is_repeatable else 0,
    )


def _headers(settings: Settings, options: Options, body: Body, accept: str) -> httpx.Headers:
    headers = httpx.Headers(options.headers)
    headers.setdefault("Accept", accept)
    priority = options.priority or settings.priority
    if priority is not None:
        headers["X-Priority"] = priority
    if body.content_type is not None:
        headers["Content-Type"] = body.content_type
    return headers
