"""The input of a response, item by item, and the messages of a chat that it stands for."""

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Discriminator, Tag

from potassium.openai.errors import not_offered

__all__ = ["InputItem", "messages_of"]

TEXT_OF = {"input_text": "text", "output_text": "text", "text": "text", "refusal": "refusal"}
ITEMS = "The items of the input may be messages, function_call and function_call_output."
PARTS = "The parts of a content may be input_text and output_text."


def _as_text(given: Any) -> Any:
    """Return a content as text: what its parts say, one behind the other."""
    return "".join(map(_text_of, given)) if isinstance(given, list) else given


def _text_of(part: Any) -> str:
    named = TEXT_OF.get(str(part.get("type"))) if isinstance(part, dict) else None
    if named is None or not isinstance(text := part.get(named), str):
        raise not_offered(PARTS)
    return text


Text = Annotated[str, BeforeValidator(_as_text)]


class InputMessage(BaseModel):
    """What was said by one party."""

    role: Literal["user", "assistant", "system", "developer"]
    content: Text

    def of_chat(self) -> dict[str, Any]:
        """Return it as chat templates take it, which know no developers."""
        role = "system" if self.role == "developer" else self.role
        return {"role": role, "content": self.content}


class FunctionCall(BaseModel):
    """A call of a function that the model wanted."""

    call_id: str
    name: str
    arguments: str

    def of_chat(self) -> dict[str, Any]:
        """Return it as a message of a chat has it."""
        function = {"name": self.name, "arguments": self.arguments}
        return {"id": self.call_id, "type": "function", "function": function}


class FunctionCallOutput(BaseModel):
    """What a function has returned."""

    call_id: str
    output: Text

    def of_chat(self) -> dict[str, Any]:
        """Return it as a message."""
        return {"role": "tool", "tool_call_id": self.call_id, "content": self.output}


def _kind(item: Any) -> Any:
    return item.get("type", "message") if isinstance(item, dict) else None


InputItem = Annotated[
    Annotated[InputMessage, Tag("message")]
    | Annotated[FunctionCall, Tag("function_call")]
    | Annotated[FunctionCallOutput, Tag("function_call_output")],
    Discriminator(_kind, custom_error_type="not_offered", custom_error_message=ITEMS),
]


def messages_of(
    items: Iterable[InputMessage | FunctionCall | FunctionCallOutput],
) -> list[dict[str, Any]]:
    """Return the messages of a chat: calls of functions are part of what the assistant says."""
    messages: list[dict[str, Any]] = []
    for item in items:
        if not isinstance(item, FunctionCall):
            messages.append(item.of_chat())
            continue
        if not messages or messages[-1]["role"] != "assistant":
            messages.append({"role": "assistant"})
        messages[-1].setdefault("tool_calls", []).append(item.of_chat())
    return messages
