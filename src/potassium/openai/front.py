"""Passes the requests of one route on to the handlers of the models that they name."""

import asyncio
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter
from starlette.types import Receive, Scope, Send

from potassium.errors import InvalidInput, PotassiumError, UnsupportedMediaType
from potassium.handlers.validated import Validated
from potassium.http.codec import encode
from potassium.http.connection import while_connected
from potassium.http.exchange import note_error
from potassium.http.message import Message
from potassium.http.negotiation import STREAM_FORMAT
from potassium.http.problem import answered, code_of, failure_reply
from potassium.http.reply import JSON
from potassium.http.request_id import request_id_of
from potassium.http.spooled import IN_MEMORY, SpooledBody
from potassium.http.stream_formats import JSON_LINES, WireHeaders
from potassium.openai.answer import Answer
from potassium.openai.errors import Refused, with_error_object
from potassium.openai.models import Models
from potassium.openai.requests import Asked
from potassium.openai.translation import Lines, Translation
from potassium.serving.assembly import Assembly
from potassium.serving.bodies import TAKEN, BodyRule

__all__ = ["Front"]

FORM_WANTED = "Send a multipart form: the header Content-Type: multipart/form-data."

Body = TypeVar("Body", bound=Asked)
Taken = tuple[WireHeaders, bytes | SpooledBody, int]  # see ``Bodies.read``


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
        self._bind = Validated(TypeAdapter(body))
        self.answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        try:
            found = await self._take(scope, receive)
        except PotassiumError as error:
            await self._fail(error, scope, send)
            return
        if found is None:
            return
        path, answer, taken = found
        lines = Lines()
        given = {
            **scope,
            "path": scope.get("root_path", "") + path,
            "headers": taken[0],
            STREAM_FORMAT: lines,
            TAKEN: taken,
        }
        del found, taken  # the client may read its response slowly
        translated = Translation(send, answer, lines)
        try:
            await self._parts.endpoints[path](given, receive, translated)
        except PotassiumError as error:
            if translated.has_begun:
                raise
            await self._fail(error, scope, send)

    async def _take(self, scope: Scope, receive: Receive) -> tuple[str, Answer, Taken] | None:
        """Return the path of a handler, how its answer is told, and what it is passed.

        Return None if the client disconnects before its body is complete.

        Raises:
            PotassiumError: the body is not what the route takes, or there is no such model.

        """
        bodies = self._parts.plan.bodies
        taken = await bodies.read(scope, receive, self._rule)
        if taken is None:
            return None
        headers, content, held = taken
        try:
            values = self._parts.limits.json_values
            asked = await self._checked(Message("", headers, content, json_values=values), receive)
            path = self._models.path(self._kind, asked.model)
        except BaseException:
            bodies.let_go(held, content)
            raise
        turned = asked.for_handler()
        if turned is not None:  # it counts as what it was made of, which is about as large
            content = encode(turned)
            length = (b"content-length", b"%d" % len(content))
            headers = [*_without(headers, b"content-length"), length]
        return path, self.answer(asked), (_accepting_lines(headers), content, held)

    async def _checked(self, message: Message, receive: Receive) -> Body:
        """Return what a body asks for; a large one, or a form, is read on another thread."""
        bind = self._bind
        if bind.spools and message.is_json:
            raise UnsupportedMediaType(FORM_WANTED)
        try:
            if message.size <= bind.at_once or bind.estimate(message).is_quick:
                asked: Body = bind(message)
            else:
                asked = await while_connected(
                    receive, self._parts.plan.intake.argument(bind, message)
                )
        except InvalidInput as error:
            raise Refused.invalid(error) from None
        return asked

    @property
    def takes_json(self) -> bool:
        """Whether a body is JSON, and not a form with a file."""
        return not self._bind.spools

    async def taken(self, body: Any) -> tuple[Body, str, Any]:
        """Return a request checked, the path of the handler that it is for, and what that is given.

        A large one is checked on another thread.

        Args:
            body: the request, as JSON has it.

        Raises:
            PotassiumError: the body is not what the route takes, or there is no such model.

        """
        bind, values = self._bind, self._parts.limits.json_values
        content = await asyncio.to_thread(encode, body)
        message = Message("", [JSON], content, json_values=values)
        try:
            if message.size <= bind.at_once or bind.estimate(message).is_quick:
                asked: Body = bind(message)
            else:
                asked = await self._parts.plan.intake.argument(bind, message)
        except InvalidInput as error:
            raise Refused.invalid(error) from None
        turned = asked.for_handler()
        path = self._models.path(self._kind, asked.model)
        return asked, path, body if turned is None else turned

    @property
    def _rule(self) -> BodyRule:
        """Take as large a body as any of the handlers does; the endpoint looks once more."""
        options = [self._parts.handlers[path].options for path in self._models.paths(self._kind)]
        limit = self._parts.limits.body_size
        size = max((one.get("body_size") or limit for one in options), default=limit)
        return BodyRule(size, min(size, IN_MEMORY) if self._bind.spools else size)

    async def _fail(self, error: PotassiumError, scope: Scope, send: Send) -> None:
        request_id = request_id_of(scope)
        note_error(scope, code_of(answered(error)))
        debug = self._parts.plan.debug
        reply = failure_reply(error, scope["path"], request_id, debug=debug)
        await with_error_object(reply).send(request_id, send)


def _accepting_lines(headers: WireHeaders) -> WireHeaders:
    """Return headers that ask for lines of JSON: a worker goes by them."""
    accept = (b"accept", JSON_LINES + b", application/json;q=0.5")
    return [*_without(headers, b"accept"), accept]


def _without(headers: WireHeaders, name: bytes) -> WireHeaders:
    return [header for header in headers if header[0] != name]
