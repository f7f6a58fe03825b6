"""What clients of OpenAI's API send, as far as it is understood here.

See https://platform.openai.com/docs/api-reference. What is not known is ignored, as clients send
what newer servers understand.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from potassium.errors import InvalidInput

__all__ = [
    "Asked",
    "ChatMessage",
    "ChatRequest",
    "CompletionRequest",
    "EmbeddingRequest",
    "Generation",
]

Texts = Annotated[list[str], Field(min_length=1)]
Stops = str | Annotated[list[str], Field(max_length=16)] | None


class StreamOptions(BaseModel):
    """What a stream has besides the text."""

    include_usage: bool = False


class Asked(BaseModel):
    """What all requests have in common."""

    model_config = ConfigDict(extra="ignore")

    model: str

    def for_handler(self) -> Mapping[str, Any] | None:
        """Return the body that the handler is passed; None for the one that was sent."""
        return None


class Generation(Asked):
    """What requests for texts have in common."""

    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    seed: int | None = None
    stop: Stops = None
    n: Literal[1] | None = None

    @property
    def stops(self) -> Sequence[str]:
        """The texts that end the text."""
        return [self.stop] if isinstance(self.stop, str) else self.stop or []

    @property
    def token_limit(self) -> int | None:
        """How many tokens follow at most; None for as many as the model has room for."""
        return self.max_tokens

    @property
    def schema_of_text(self) -> Mapping[str, Any] | None:
        """JSON Schema that the text must be valid for; None if it may be anything."""
        return None


class MessageFunction(BaseModel):
    """A function that was called, with its arguments as JSON."""

    model_config = ConfigDict(extra="allow")

    name: str
    arguments: str | dict[str, Any] = ""


class MessageCall(BaseModel):
    """A call that the model has asked for before."""

    model_config = ConfigDict(extra="allow")

    function: MessageFunction


class MessagePart(BaseModel):
    """A part of what was said: a text, a picture, and so on."""

    model_config = ConfigDict(extra="allow")

    type: str
    text: str | None = None

    @model_validator(mode="after")
    def _check_text(self) -> "MessagePart":
        if self.type == "text" and self.text is None:
            raise ValueError("a part of the type text must have a text")
        return self

    @property
    def said(self) -> str:
        """The text.

        Raises:
            InvalidInput: it is something else.

        """
        if self.type not in ("text", "refusal"):
            raise InvalidInput(f"This model takes text, and no {self.type!r:.40}.")
        return self.text or str((self.model_extra or {}).get("refusal", ""))


class ChatMessage(BaseModel):
    """What was said by one party."""

    model_config = ConfigDict(extra="allow")

    role: str
    content: str | list[MessagePart] | None = None
    tool_calls: list[MessageCall] | None = None

    def shown(self) -> dict[str, Any]:
        """Return it as chat templates take it: with its text in one piece.

        Raises:
            InvalidInput: it has a part that is not text.

        """
        document = self.model_dump(exclude_none=True)
        document["content"] = self.content or ""
        if isinstance(self.content, list):
            document["content"] = "".join(part.said for part in self.content)
        for call in document.get("tool_calls", ()):
            call["function"]["arguments"] = _decoded(call["function"].get("arguments"))
        return document


class JsonSchema(BaseModel):
    """The schema of structured output."""

    model_config = ConfigDict(extra="ignore")

    name: str = "response"
    json_schema: dict[str, Any] | None = Field(default=None, alias="schema")


class ResponseFormat(BaseModel):
    """What the text must be like."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


class ChatRequest(Generation):
    """The body of ``POST /v1/chat/completions``."""

    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    response_format: ResponseFormat | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: Literal["none", "auto", "required"] | dict[str, Any] | None = None
    logprobs: Literal[False] | None = None

    @model_validator(mode="after")
    def _check_tools(self) -> "ChatRequest":
        names = [_name(tool) for tool in self.tools or ()]
        if not all(isinstance(name, str) for name in names):
            raise ValueError("each of tools must be a function with a name")
        choice = self.tool_choice
        if isinstance(choice, dict) and _name(choice) not in names:
            raise ValueError("tool_choice must name one of tools")
        if choice == "required" and not names:
            raise ValueError("tool_choice requires tools")
        return self

    @property
    def offered_tools(self) -> Sequence[Mapping[str, Any]]:
        """The functions that the model may call."""
        return [] if self.tool_choice == "none" else self.tools or []

    @property
    def required_tools(self) -> Sequence[Mapping[str, Any]]:
        """The functions one of which it must call; empty if it may answer with text."""
        choice, tools = self.tool_choice, self.tools or []
        if isinstance(choice, dict):
            return [tool for tool in tools if _name(tool) == _name(choice)]
        return tools if choice == "required" else []

    @property
    def conversation(self) -> list[dict[str, Any]]:
        """The messages, as chat templates take them."""
        return [message.shown() for message in self.messages]

    @property
    def token_limit(self) -> int | None:
        """How many tokens follow at most; None for as many as the model has room for."""
        return self.max_completion_tokens or self.max_tokens

    @property
    def schema_of_text(self) -> Mapping[str, Any] | None:
        """JSON Schema that the text must be valid for; None if it may be anything."""
        form = self.response_format
        if form is None or form.type == "text":
            return None
        if form.type == "json_schema" and form.json_schema is not None:
            return form.json_schema.json_schema or {}
        return {"type": "object"}


class CompletionRequest(Generation):
    """The body of ``POST /v1/completions``."""

    prompt: str | list[int] | Annotated[list[str], Field(max_length=1)]
    logprobs: Literal[0] | None = None
    echo: Literal[False] | None = None

    @property
    def text(self) -> str | list[int]:
        """The prompt, as text or tokens."""
        prompt = self.prompt
        if isinstance(prompt, list) and prompt and isinstance(prompt[0], str):
            return prompt[0]
        return prompt  # type: ignore[return-value] # a list of tokens


class EmbeddingRequest(Asked):
    """The body of ``POST /v1/embeddings``."""

    input: str | Texts | list[int] | list[list[int]]
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: Annotated[int, Field(ge=1)] | None = None

    @property
    def inputs(self) -> list[str] | list[list[int]]:
        """The texts, or their tokens, one for each vector."""
        given = self.input
        if isinstance(given, str):
            return [given]
        is_one = bool(given) and isinstance(given[0], int)  # its tokens
        inputs: list[str] | list[list[int]] = [given] if is_one else given  # type: ignore[assignment]
        return inputs

    @property
    def texts(self) -> list[str]:
        """The texts, for models that take no tokens of their caller's.

        Raises:
            InvalidInput: they came as tokens.

        """
        texts = [one for one in self.inputs if isinstance(one, str)]
        if not texts:
            raise InvalidInput("This model takes texts, not tokens.")
        return texts


def _name(tool: Mapping[str, Any]) -> Any:
    function = tool.get("function")
    return function.get("name") if isinstance(function, dict) else None


def _decoded(arguments: Any) -> Any:
    """Return arguments as an object, which chat templates write in their own form."""
    try:
        return json.loads(arguments) if isinstance(arguments, str) and arguments else arguments
    except ValueError:
        return arguments
