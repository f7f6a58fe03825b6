"""OpenAI's API in front of an app's handlers."""

from collections.abc import Callable
from functools import partial
from os import PathLike
from typing import Any, TypeVar, Unpack

from potassium.app import Potassium
from potassium.errors import UsageError
from potassium.handlers.options import HandlerOptions
from potassium.openai.embeddings import EmbeddingAnswer
from potassium.openai.front import Front
from potassium.openai.models import Models
from potassium.openai.requests import ChatRequest, CompletionRequest, EmbeddingRequest
from potassium.openai.response_request import ResponseRequest
from potassium.openai.responses import response_answer
from potassium.openai.storage import Storage
from potassium.openai.texts import text_answer
from potassium.openai.transcriptions import TranscriptionRequest, transcription_answer
from potassium.serving.composition import parts_of

__all__ = ["OpenAI"]

Function = TypeVar("Function", bound=Callable[..., Any])


class OpenAI:
    """OpenAI's API in front of an app's handlers: ``/v1/chat/completions`` and others.

    ::

        api = OpenAI(app, model="smollm2")

        @api.chat(streams=16, step=forward)
        def chat(cache, request: ChatRequest):
            yield from cache["decoder"].chat(request)

    Each handler is one of the app's, too, at ``/models/smollm2/chat`` and so on.

    Args:
        app: the app that it is part of.
        model: the name of the model, by which clients ask for it.
        prefix: where the API is.
        files: the folder of files and batches, or ``Storage(...)``; None for neither.

    Raises:
        UsageError: the app has such an API already; give its decorators ``model=``.

    """

    def __init__(
        self,
        app: Potassium,
        *,
        model: str,
        prefix: str = "/v1",
        files: Storage | str | PathLike[str] | None = None,
    ) -> None:
        self._app = app
        self._model = model
        self._models = Models()
        prefix = prefix.strip("/")
        prefix = f"/{prefix}" if prefix else ""
        if any(getattr(route, "path", "") == f"{prefix}/models" for route in app.routes):
            raise UsageError(f"There is an API at {prefix} already: give its handlers model=.")
        parts = parts_of(app)
        front = partial(Front, parts, self._models)
        chat, text = partial(text_answer, is_chat=True), partial(text_answer, is_chat=False)
        fronts: dict[str, Front[Any]] = {
            "/chat/completions": front("chat", ChatRequest, chat),
            "/completions": front("completions", CompletionRequest, text),
            "/embeddings": front("embeddings", EmbeddingRequest, EmbeddingAnswer),
            "/responses": front("chat", ResponseRequest, response_answer),
            "/audio/transcriptions": front(
                "transcriptions", TranscriptionRequest, transcription_answer
            ),
        }
        for path, one in fronts.items():
            parts.add_front(prefix + path, one, app)
        app.router.routes += self._models.routes(prefix)
        if files is not None:
            from potassium.openai.with_files import add_files  # noqa: PLC0415 - only where used

            add_files(app, prefix, fronts, Storage.of(files))

    def chat(
        self, *, model: str | None = None, **options: Unpack[HandlerOptions]
    ) -> Callable[[Function], Function]:
        """Let a function answer chats: it takes a ``ChatRequest``, and yields text.

        It may yield ``ToolCall`` and, at last, ``Finish``; a plain function returns the text. It is
        asked for Responses, too, as if they were chats.

        Args:
            model: the name of the model, if it is not that of the API.
            options: those of ``app.handler``.

        """
        return self._handler("chat", model, options)

    def completions(
        self, *, model: str | None = None, **options: Unpack[HandlerOptions]
    ) -> Callable[[Function], Function]:
        """Let a function complete texts: it takes a ``CompletionRequest``, and yields text.

        Args:
            model: the name of the model, if it is not that of the API.
            options: those of ``app.handler``.

        """
        return self._handler("completions", model, options)

    def embeddings(
        self, *, model: str | None = None, **options: Unpack[HandlerOptions]
    ) -> Callable[[Function], Function]:
        """Let a function make vectors: it takes an ``EmbeddingRequest``, and returns a list.

        It may return ``Embeddings`` in its place, to say how many tokens there were.

        Args:
            model: the name of the model, if it is not that of the API.
            options: those of ``app.handler``.

        """
        return self._handler("embeddings", model, options)

    def transcriptions(
        self, *, model: str | None = None, **options: Unpack[HandlerOptions]
    ) -> Callable[[Function], Function]:
        """Let a function write down what is said: it takes a ``TranscriptionRequest``.

        It yields text or ``Segment``, and at last a ``Transcript`` if there is more to tell; a
        plain function returns the text, or a ``Transcript``.

        Args:
            model: the name of the model, if it is not that of the API.
            options: those of ``app.handler``.

        """
        return self._handler("transcriptions", model, options)

    def _handler(
        self, kind: str, model: str | None, options: HandlerOptions
    ) -> Callable[[Function], Function]:
        name = model or self._model
        path = f"/models/{name}/{kind}"

        def decorate(function: Function) -> Function:
            decorated: Function = self._app.handler(path, **options)(function)
            self._models.add(kind, name, path)
            return decorated

        return decorate
