"""How a chat template writes calls of functions."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from jinja2 import TemplateError

__all__ = ["DECODER", "CallStyle", "call_style", "schema_of_call"]

# A call that the template is asked to write, to see how it does.
CONTENT = "c0c0c0"
NAME = "f0f0f0"
ARGUMENTS = {"k0k0k0": 1}
ASKED = {"role": "user", "content": "?"}
CALLED = {
    "role": "assistant",
    "content": CONTENT,
    "tool_calls": [
        {
            "id": "call00000",  # as long as Mistral's templates want it
            "type": "function",
            "function": {"name": NAME, "arguments": ARGUMENTS},
        }
    ],
}

DECODER = json.JSONDecoder()


@dataclass(frozen=True)
class CallStyle:
    """How a model writes calls: as JSON objects.

    Attributes:
        opener: the text before a call, such as ``<tool_call>``; empty if the call is all there is.
        name: the member that holds the name of the function.
        arguments: the member that holds its arguments.

    """

    opener: str = ""
    name: str = "name"
    arguments: str = "arguments"


def call_style(tokenizer: Any) -> CallStyle | None:
    """Return how the chat template writes a call; None if it does not write JSON.

    Special tokens are left out, as they are in texts.
    """
    try:
        asked, called = (
            tokenizer.decode(
                tokenizer.apply_chat_template(
                    messages, add_generation_prompt=not answer, tokenize=True, return_dict=False
                ),
                skip_special_tokens=True,
            )
            for messages, answer in (([ASKED], False), ([ASKED, CALLED], True))
        )
    except (TemplateError, TypeError, KeyError, ValueError):
        return None
    same = takewhile(lambda pair: pair[0] == pair[1], zip(asked, called, strict=False))
    written = called[len(list(same)) :]
    start = written.find("{")
    if start < 0:
        return None
    name, arguments = _members(written, start)
    if name is None or arguments is None:
        return None
    before = written[:start].rpartition(CONTENT)[2]
    return CallStyle(before.strip().rstrip("[").strip(), name, arguments)


def schema_of_call(tools: Sequence[Mapping[str, Any]], style: CallStyle) -> dict[str, Any]:
    """Return the JSON Schema of a call of one of ``tools``."""
    calls = [
        {
            "type": "object",
            "properties": {
                style.name: {"const": tool["function"]["name"]},
                style.arguments: tool["function"].get("parameters") or {"type": "object"},
            },
            "required": [style.name, style.arguments],
            "additionalProperties": False,
        }
        for tool in tools
    ]
    return calls[0] if len(calls) == 1 else {"anyOf": calls}


def _members(text: str, start: int) -> tuple[str | None, str | None]:
    """Return which members hold the name and the arguments of the call that is written there."""
    try:
        call, _ = DECODER.raw_decode(text, start)
    except json.JSONDecodeError:
        return None, None
    names = {json.dumps(value).replace("\\", "").strip('"'): name for name, value in call.items()}
    return names.get(NAME), names.get(json.dumps(ARGUMENTS))
