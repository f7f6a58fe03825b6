"""What a handler yields besides text."""

from dataclasses import asdict
from typing import Any

from potassium.errors import UnserializableOutput
from potassium.text.chunks import Finish, ToolCall

__all__ = ["Finish", "ToolCall", "as_chunk"]


def as_chunk(value: Any) -> str | Finish | ToolCall:
    """Return a chunk, which comes as JSON, as the handler has yielded it.

    Raises:
        UnserializableOutput: it is none of OpenAI's API.

    """
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        for kind in (Finish, ToolCall):
            if value.keys() == asdict(kind()).keys():
                return kind(**value)
    raise UnserializableOutput(
        f"A handler of OpenAI's API yields text, Finish and ToolCall, but not {value!r:.60}."
    )
