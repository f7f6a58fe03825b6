"""Checks the examples of inputs that a schema shows."""

from typing import Any

from potassium.errors import InvalidInput, PotassiumError, UnserializableOutput, UsageError
from potassium.handlers.arguments import Binding
from potassium.handlers.options import HandlerOptions
from potassium.http.codec import encode
from potassium.http.message import Message

__all__ = ["check_examples", "why"]

HEADERS = [(b"content-type", b"application/json")]


def check_examples(bind: Binding, options: HandlerOptions) -> None:
    """Bind the examples that a handler was given, as if a client had sent them as JSON.

    Those of a type that refers to classes that are not defined yet need only be JSON.

    Raises:
        UsageError: one of them is not a valid input; the message says why.

    """
    examples = {f"examples[{name!r}]": one for name, one in (options.get("examples") or {}).items()}
    if options.get("example") is not None:
        examples["example"] = options.get("example")
    is_known = bind.adapter is None or bind.adapter.pydantic_complete
    for name, example in examples.items():
        try:
            message = Message("example", HEADERS, encode(example))
            if is_known:
                bind(message)
        except UnserializableOutput:
            raise UsageError(f"{name}= must be JSON, but is {example!r}.") from None
        except PotassiumError as error:
            raise UsageError(f"{name}={example!r} is not a valid input: {why(error)}") from None


def why(error: PotassiumError) -> str:
    """Return what is wrong with an input, in a sentence."""
    if not isinstance(error, InvalidInput) or not error.errors:
        return error.detail
    return "; ".join(f"{_place(fault['loc'])}{fault['msg']}" for fault in error.errors) + "."


def _place(loc: Any) -> str:
    return ".".join(str(step) for step in loc) + ": " if loc else ""
