"""What a handler yields besides text."""

from dataclasses import asdict, dataclass
from typing import Any

from potassium.errors import UnserializableOutput
from potassium.text.finish import Finish

__all__ = ["Finish", "ToolCall", "as_chunk"]


@dataclass(frozen=True, kw_only=True)
class ToolCall:
    """A function that the model wants to be called, or the next piece of its arguments.

    Attributes:
        index: which of the calls of this answer it is; from 0.
        id: names the call; in its first piece only.
        name: that of the function; in the first piece only.
        arguments: JSON, or a piece of it.

    """

    index: int = 0
    id: str | None = None
    name: str | None = None
    arguments: str = ""


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
