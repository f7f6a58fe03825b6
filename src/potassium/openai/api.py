"""OpenAI's API in front of an app's handlers."""

import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, Unpack

from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from potassium.app import Potassium
from potassium.errors import BodyTooLarge, PotassiumError, UsageError
from potassium.handlers.options import HandlerOptions
from potassium.http.connection import while_connected
from potassium.http.request_id import request_id_of
from potassium.openai.chat import Text, events, whole
from potassium.openai.embeddings import embedding_document
from potassium.openai.errors import Refused, error_response, said_of
from potassium.openai.requests import ChatRequest, CompletionRequest, EmbeddingRequest, Generation

__all__ = ["OpenAI"]

Function = TypeVar("Function", bound=Callable[..., Any])
Body = TypeVar("Body", bound=BaseModel)

KINDS = ("chat", "completions", "embeddings")


class OpenAI:
    """OpenAI's API in front of an app's handlers: ``/v1/chat/completions`` and others.

    ::

        api = OpenAI(app, model="smollm2")

        @api.chat(streams=16, step=forward)
        def chat(cache, request: ChatRequest):
            yield from cache["decoder"].chat(request)

    Each handler is one of the app's, too, at ``/models/{model}/chat`` and so on.

    Args:
        app: the app that it is part of.
        model: the name of the model, by which clients ask for it.
        prefix: where the API is.

    Raises:
        UsageError: the app has such an API already; give its decorators ``model=``.

    """

    def __init__(self, app: Potassium, *, model: str, prefix: str = "/v1") -> None:
        self._app = app
        self._model = model
        self._prefix = "/" + prefix.strip("/")
        self._paths: dict[tuple[str, str], str] = {}  # of handlers, by kind and model
        self._began = int(time.time())
        if any(getattr(route, "path", "") == f"{self._prefix}/models" for route in app.routes):
            raise UsageError(f"There is an API at {prefix} already: give its handlers model=.")
        for path, endpoint, method in (
            ("/chat/completions", self._chat, "POST"),
            ("/completions", self._completion, "POST"),
            ("/embeddings", self._embeddings, "POST"),
            ("/models", self._models, "GET"),
            ("/models/{model:path}", self._one_model, "GET"),
        ):
            app.add_route(self._prefix + path, _answered(endpoint), methods=[method])

    def chat(
        self, *, model: str | None = None, **options: Unpack[HandlerOptions]
    ) -> Callable[[Function], Function]:
        """Let a function answer chats: it takes a ``ChatRequest``, and yields text.

        It may yield ``ToolCall`` and, at last, ``Finish``. What else it takes, and the options, are
        those of ``app.handler``.
        """
        return self._handler("chat", model, options)

    def completions(
        self, *, model: str | None = None, **options: Unpack[HandlerOptions]
    ) -> Callable[[Function], Function]:
        """Let a function complete texts: it takes a ``CompletionRequest``, and yields text."""
        return self._handler("completions", model, options)

    def embeddings(
        self, *, model: str | None = None, **options: Unpack[HandlerOptions]
    ) -> Callable[[Function], Function]:
        """Let a function make vectors: it takes an ``EmbeddingRequest``, and returns a list."""
        return self._handler("embeddings", model, options)

    def _handler(
        self, kind: str, model: str | None, options: HandlerOptions
    ) -> Callable[[Function], Function]:
        name = model or self._model
        path = f"/models/{name}/{kind}"

        def decorate(function: Function) -> Function:
            decorated: Function = self._app.handler(path, **options)(function)
            self._paths[kind, name] = path
            return decorated

        return decorate

    async def _chat(self, request: Request) -> Response:
        return await self._text(request, ChatRequest, "chat")

    async def _completion(self, request: Request) -> Response:
        return await self._text(request, CompletionRequest, "completions")

    async def _text(self, request: Request, kind: type[Generation], name: str) -> Response:
        asked = await self._body(request, kind)
        options = asked.stream_options
        text = Text(
            id=f"{'chatcmpl' if name == 'chat' else 'cmpl'}-{uuid.uuid4().hex}",
            model=asked.model,
            is_chat=name == "chat",
            shows_usage=options is not None and options.include_usage,
        )
        item = asked.model_dump(exclude_unset=True, by_alias=True)
        chunks = self._app.stream(self._path(name, asked.model), item)
        if not asked.stream:
            return JSONResponse(await while_connected(request.receive, whole(chunks, text)))
        await while_connected(request.receive, _begun(chunks))
        headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        return StreamingResponse(
            events(chunks, text, lambda error: said_of(error, request_id_of(request.scope))),
            media_type="text/event-stream",
            headers=headers,
        )

    async def _embeddings(self, request: Request) -> Response:
        asked = await self._body(request, EmbeddingRequest)
        path = self._path("embeddings", asked.model)
        calling = self._app.call(path, asked.model_dump(exclude_unset=True))
        vectors = await while_connected(request.receive, calling)
        is_base64 = asked.encoding_format == "base64"
        return JSONResponse(embedding_document(vectors, asked.model, None, as_base64=is_base64))

    async def _models(self, _: Request) -> Response:
        names = dict.fromkeys(model for _, model in self._paths)
        return JSONResponse({"object": "list", "data": [self._shown(name) for name in names]})

    async def _one_model(self, request: Request) -> Response:
        name = request.path_params["model"]
        if all(name != known for _, known in self._paths):
            raise _unknown(name)
        return JSONResponse(self._shown(name))

    def _shown(self, name: str) -> Mapping[str, Any]:
        return {"id": name, "object": "model", "created": self._began, "owned_by": "potassium"}

    def _path(self, kind: str, model: str) -> str:
        path = self._paths.get((kind, model))
        if path is None:
            raise _unknown(model)
        return path

    async def _body(self, request: Request, kind: type[Body]) -> Body:
        most = self._app._parts.plan.limits.body_size  # noqa: SLF001 - as handlers' bodies
        body = bytearray()
        async for piece in request.stream():
            body += piece
            if most is not None and len(body) > most:
                raise BodyTooLarge(f"The body is larger than {most} bytes.")
        try:
            return kind.model_validate_json(bytes(body))
        except ValidationError as error:
            raise Refused.invalid(error) from None


async def _begun(chunks: Any) -> None:
    await chunks


def _unknown(model: str) -> Refused:
    return Refused(
        f"There is no model {model!r} here.", code="model_not_found", param="model", status=404
    )


def _answered(
    endpoint: Callable[[Request], Any],
) -> Callable[[Request], Any]:
    """Return an endpoint that answers its errors as OpenAI's clients read them."""

    async def answer(request: Request) -> Response:
        try:
            response: Response = await endpoint(request)
        except PotassiumError as error:
            return error_response(error, request_id_of(request.scope), debug=request.app.debug)
        return response

    return answer
