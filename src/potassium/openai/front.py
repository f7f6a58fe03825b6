"""Passes the requests of one route on to the handlers of the models that they name."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from pydantic import ValidationError
from starlette.types import Message as Event
from starlette.types import Receive, Scope, Send

from potassium.errors import PotassiumError
from potassium.http.exchange import note_error
from potassium.http.message import Message
from potassium.http.negotiation import STREAM_FORMAT
from potassium.http.problem import answered, code_of, failure_reply
from potassium.http.request_id import request_id_of
from potassium.http.stream_formats import JSON_LINES, WireHeaders
from potassium.openai.answer import Answer
from potassium.openai.errors import Refused, with_error_object
from potassium.openai.models import Models
from potassium.openai.requests import Asked
from potassium.openai.translation import Lines, Translation
from potassium.serving.assembly import Assembly
from potassium.serving.bodies import BodyRule

__all__ = ["Front"]

Body = TypeVar("Body", bound=Asked)


class Front(Generic[Body]):
    """The ASGI endpoint of one route: each request is answered by a handler of the model's.

    The handler is called as over HTTP, so that priorities, deadlines, limits and logs are those of
    any call of it; only its response is another one.

    Args:
        parts: those of the app.
        models: know the handlers.
        kind: that of the handlers.
        body: what the route takes.
        answer: returns how a request is answered.

    Attributes:
        answer: as it was given.

    """

    def __init__(
        self,
        parts: Assembly,
        models: Models,
        kind: str,
        body: type[Body],
        answer: Callable[[Body], Answer],
    ) -> None:
        self._parts = parts
        self._models = models
        self._kind = kind
        self._body = body
        self.answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        try:
            taken = await self._parts.plan.bodies.read(scope, receive, self._rule)
            if taken is None:
                return
            headers, content, held = taken
            self._parts.plan.bodies.let_go(held, None)  # the endpoint counts it, too
            assert isinstance(content, bytes)  # noqa: S101 - the rule keeps none on disk
            message = Message("", headers, content, json_values=self._parts.limits.json_values)
            asked, path = self.taken(message.json)
        except PotassiumError as error:
            await self._fail(error, scope, send)
            return
        answer = self.answer(asked)
        lines = Lines(keeps_alive=answer.is_stream)
        given = {
            **scope,
            "path": scope.get("root_path", "") + path,
            "headers": _accepting_lines(headers),
            STREAM_FORMAT: lines,
        }
        translated = Translation(send, answer, lines)
        try:
            await self._parts.endpoints[path](given, _Again(content, receive), translated)
        except PotassiumError as error:
            if translated.has_begun:
                raise
            await self._fail(error, scope, send)

    def taken(self, body: Any) -> tuple[Body, str]:
        """Return the body of a request, checked, and the path of the handler that it is for.

        Raises:
            Refused: the body is invalid, or there is no handler for its model.

        """
        try:
            asked = self._body.model_validate(body)
        except ValidationError as error:
            raise Refused.invalid(error) from None
        return asked, self._models.path(self._kind, asked.model)

    @property
    def _rule(self) -> BodyRule:
        """Take as large a body as any of the handlers does; the endpoint looks once more."""
        options = [self._parts.handlers[path].options for path in self._models.paths(self._kind)]
        limit = self._parts.limits.body_size
        size = max((one.get("body_size") or limit for one in options), default=limit)
        return BodyRule(size, size)

    async def _fail(self, error: PotassiumError, scope: Scope, send: Send) -> None:
        request_id = request_id_of(scope)
        note_error(scope, code_of(answered(error)))
        debug = self._parts.plan.debug
        reply = failure_reply(error, scope["path"], request_id, debug=debug)
        await with_error_object(reply).send(request_id, send)


class _Again:
    """An ASGI ``receive`` that returns a body which was read already, then what follows."""

    def __init__(self, body: bytes, receive: Receive) -> None:
        self._body: bytes | None = body
        self._receive = receive

    async def __call__(self) -> Event:
        body, self._body = self._body, None
        if body is not None:
            return {"type": "http.request", "body": body, "more_body": False}
        return await self._receive()


def _accepting_lines(headers: WireHeaders) -> WireHeaders:
    """Return headers that ask for lines of JSON: a worker goes by them."""
    others = [header for header in headers if header[0] != b"accept"]
    return [*others, (b"accept", JSON_LINES + b", application/json;q=0.5")]
