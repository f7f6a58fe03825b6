"""What a decoder reads of a request, whichever API it belongs to."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from potassium.text.sampling import Sampling

__all__ = ["Asked", "Completion", "Conversation", "sampling_of"]


class Asked(Protocol):
    """A request for a text; what is None is not said."""

    temperature: float | None
    top_p: float | None
    seed: int | None

    @property
    def token_limit(self) -> int | None:
        """How many tokens follow at most."""

    @property
    def stops(self) -> Sequence[str]:
        """The texts that end it."""

    @property
    def schema_of_text(self) -> Mapping[str, Any] | None:
        """JSON Schema that it must be valid for."""


class Conversation(Asked, Protocol):
    """A request for the answer of a chat."""

    @property
    def offered_tools(self) -> Sequence[Mapping[str, Any]]:
        """The functions that the model may call, as chat templates take them."""

    @property
    def required_tools(self) -> Sequence[Mapping[str, Any]]:
        """The functions one of which it must call; empty if it may answer with text."""

    @property
    def conversation(self) -> Sequence[Mapping[str, Any]]:
        """The messages, as chat templates take them."""


class Completion(Asked, Protocol):
    """A request for what follows a text."""

    @property
    def text(self) -> str | list[int]:
        """The text, or its tokens."""


def sampling_of(request: Asked, schema: Mapping[str, Any] | None = None) -> Sampling:
    """Return what a request says; what it does not say is as for any text."""
    given: dict[str, Any] = {
        "temperature": request.temperature,
        "top_p": request.top_p,
        "seed": request.seed,
    }
    return Sampling(
        max_tokens=request.token_limit,
        stop=request.stops,
        schema=request.schema_of_text if schema is None else schema,
        **{name: value for name, value in given.items() if value is not None},
    )
