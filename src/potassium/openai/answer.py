"""How OpenAI's API tells what a handler yields or returns."""

from abc import ABC, abstractmethod
from typing import Any

from potassium.http.codec import encode

__all__ = ["DONE", "Answer", "data_event"]

DONE = b"data: [DONE]\n\n"


class Answer(ABC):
    """Turns the chunks of one call into the response that a client of OpenAI's API reads.

    Attributes:
        is_stream: whether it is sent piece by piece, as server-sent events; otherwise at the end.
        media_type: what it is sent as then.

    """

    is_stream = False
    media_type = b"application/json"

    @abstractmethod
    def add(self, chunk: Any) -> bytes:
        """Take the next chunk, or what a plain function has returned; return what is sent now.

        Args:
            chunk: as JSON has it.

        Raises:
            UnserializableOutput: the API knows nothing of the kind.

        """

    @abstractmethod
    def end(self) -> bytes:
        """Return what is sent once there are no more chunks."""

    def fail(self, error: dict[str, Any]) -> bytes:
        """Return what ends a stream that has failed with ``error``, OpenAI's error object."""
        return data_event({"error": error}) + DONE


def data_event(document: Any) -> bytes:
    """Return a server-sent event without an id or a type, as these clients take it."""
    return b"data: %b\n\n" % encode(document)
