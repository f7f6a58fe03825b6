"""The request for a response, and the chat that it stands for.

See https://platform.openai.com/docs/api-reference/responses/create.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from potassium.openai.errors import not_offered
from potassium.openai.input_items import InputItem, messages_of
from potassium.openai.requests import Asked

__all__ = ["ResponseRequest"]

NOT_STORED = "Responses are not stored here: send the whole conversation as input."
NOT_OFFERED = {
    "background": "Responses are not made in the background here.",
    "conversation": NOT_STORED,
    "previous_response_id": NOT_STORED,
    "prompt": "Prompts are not stored here: send instructions and input.",
}


def _as_items(given: Any) -> Any:
    """Return an input as a list: a text is a message."""
    return [{"role": "user", "content": given}] if isinstance(given, str) else given


def _function(tool: Any) -> Any:
    if isinstance(tool, dict) and tool.get("type") != "function":
        raise not_offered(f"Tools may be functions; {tool.get('type')!r} is not offered here.")
    return tool


def _choice(given: Any) -> Any:
    if isinstance(given, dict) and given.get("type") == "function" and "name" in given:
        return given
    if given in (None, "none", "auto", "required"):
        return given
    raise not_offered("The choice may be 'none', 'auto', 'required' or a function.")


class FunctionTool(BaseModel):
    """A function that the model may call."""

    model_config = ConfigDict(extra="allow")

    type: Literal["function"]
    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None

    def of_chat(self) -> dict[str, Any]:
        """Return it as chats have it."""
        function = self.model_dump(include={"name", "description", "parameters", "strict"})
        return {"type": "function", "function": _said(function)}


class TextFormat(BaseModel):
    """What the text must be like."""

    model_config = ConfigDict(extra="allow")

    type: Literal["text", "json_object", "json_schema"] = "text"

    def of_chat(self) -> dict[str, Any]:
        """Return it as chats have it."""
        members = self.model_dump(exclude={"type"})
        is_schema = self.type == "json_schema"
        return {"type": self.type, "json_schema": members} if is_schema else {"type": self.type}


class TextOptions(BaseModel):
    """What is asked of the text."""

    model_config = ConfigDict(extra="allow")

    format: TextFormat = TextFormat()


class ResponseRequest(Asked):
    """The body of ``POST /v1/responses``."""

    input: Annotated[list[InputItem], BeforeValidator(_as_items), Field(min_length=1)]
    instructions: str | None = None
    stream: bool | None = None
    max_output_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    tools: list[Annotated[FunctionTool, BeforeValidator(_function)]] | None = None
    tool_choice: Annotated[str | dict[str, Any] | None, BeforeValidator(_choice)] = None
    parallel_tool_calls: bool | None = None
    text: TextOptions | None = None
    metadata: dict[str, str] | None = None
    include: list[str] | None = None
    top_logprobs: Literal[0] | None = None
    truncation: Literal["disabled"] | None = None
    background: Literal[False] | None = None
    conversation: None = None
    previous_response_id: None = None
    prompt: None = None

    @field_validator(*NOT_OFFERED, mode="before")
    @classmethod
    def _is_offered(cls, given: Any, info: ValidationInfo) -> Any:
        if given:
            raise not_offered(NOT_OFFERED[str(info.field_name)])
        return given

    @model_validator(mode="after")
    def _has_the_tool(self) -> "ResponseRequest":
        names = [tool.name for tool in self.tools or ()]
        choice = self.tool_choice
        wanted = choice["name"] if isinstance(choice, dict) else None
        if (choice == "required" and not names) or (wanted is not None and wanted not in names):
            raise not_offered("tool_choice must be one of tools.")
        return self

    @field_validator("include")
    @classmethod
    def _has_no_logprobs(cls, given: list[str] | None) -> list[str] | None:
        if "message.output_text.logprobs" in (given or ()):
            raise not_offered("Log probabilities are not offered here.")
        return given

    def for_handler(self) -> Mapping[str, Any]:
        """Return the body of the chat."""
        system = [{"role": "system", "content": self.instructions}] if self.instructions else []
        choice = self.tool_choice
        if isinstance(choice, dict):
            choice = {"type": "function", "function": {"name": choice["name"]}}
        chat = {
            "model": self.model,
            "messages": [*system, *messages_of(self.input)],
            "stream": self.stream,
            "max_completion_tokens": self.max_output_tokens,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "tools": [tool.of_chat() for tool in self.tools] if self.tools else None,
            "tool_choice": choice,
            "parallel_tool_calls": self.parallel_tool_calls,
            "response_format": self.text and self.text.format.of_chat(),
        }
        return _said(chat)

    def shown(self) -> dict[str, Any]:
        """Return what a response says of its request."""
        return {
            "model": self.model,
            "instructions": self.instructions,
            "max_output_tokens": self.max_output_tokens,
            "metadata": self.metadata or {},
            "parallel_tool_calls": self.parallel_tool_calls is not False,
            "previous_response_id": None,
            "store": False,
            "temperature": self.temperature,
            "text": (self.text or TextOptions()).model_dump(),
            "tool_choice": self.tool_choice or "auto",
            "tools": [tool.model_dump() for tool in self.tools or ()],
            "top_p": self.top_p,
            "truncation": "disabled",
        }


def _said(members: dict[str, Any]) -> dict[str, Any]:
    """Return the members that are not null."""
    return {name: value for name, value in members.items() if value is not None}
