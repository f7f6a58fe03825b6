"""One form in which values of one kind can be sent."""

from collections.abc import Callable
from typing import Any, NamedTuple

from potassium.errors import UnserializableOutput

__all__ = ["JSON", "Form", "cannot_be_sent", "missing"]

JSON = "application/json"


class Form(NamedTuple):
    """One form in which values of one kind can be sent.

    Attributes:
        media_type: its content type.
        encode: returns the content; raises UnserializableOutput for a value that has none, and
            ModuleNotFoundError if a library is not installed.

    """

    media_type: str
    encode: Callable[[Any], bytes]


def cannot_be_sent(what: str, error: Exception) -> UnserializableOutput:
    """Return the error for a value that its own library cannot encode; the log has the cause."""
    return UnserializableOutput(f"{what} cannot be sent: {type(error).__name__}.")


def missing(what: str, library: str, extra: str) -> ModuleNotFoundError:
    """Return the error for a library that is not installed."""
    return ModuleNotFoundError(f'{what} needs {library}: pip install "potassium[{extra}]"')
