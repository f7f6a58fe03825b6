"""Vectors as OpenAI's API has them."""

import base64
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from potassium.errors import UnserializableOutput
from potassium.http.codec import encode
from potassium.openai.answer import Answer
from potassium.openai.requests import EmbeddingRequest

__all__ = ["EmbeddingAnswer", "Embeddings"]

WRONG = "An embeddings handler returns a list with one vector for each input."


@dataclass(frozen=True, kw_only=True)
class Embeddings:
    """The vectors of a request, and how many tokens its inputs had.

    Attributes:
        vectors: one for each input: lists of numbers, or an array or tensor of shape
            (inputs, dimensions).
        prompt_tokens: how many tokens the inputs had, in all.

    """

    vectors: Any
    prompt_tokens: int = 0


class EmbeddingAnswer(Answer):
    """The document of the vectors that a handler has returned.

    Args:
        asked: what they were asked for with: ``"float"`` as numbers, ``"base64"`` as
            little-endian ``float32``.

    """

    def __init__(self, asked: EmbeddingRequest) -> None:
        self._asked = asked
        self._vectors: list[Any] = []
        self._tokens = 0

    def add(self, chunk: Any) -> bytes:
        """Keep the vectors.

        Raises:
            UnserializableOutput: there is not one for each input.

        """
        if isinstance(chunk, dict) and chunk.keys() == {"vectors", "prompt_tokens"}:
            chunk, self._tokens = chunk["vectors"], chunk["prompt_tokens"]
        if not isinstance(chunk, list) or len(chunk) != len(self._asked.inputs):
            raise UnserializableOutput(WRONG)
        shown = _base64 if self._asked.encoding_format == "base64" else _numbers
        try:
            self._vectors = [shown(vector) for vector in chunk]
        except (TypeError, ValueError, struct.error):
            raise UnserializableOutput(WRONG) from None
        return b""

    def end(self) -> bytes:
        """Return the document."""
        return encode(self.document())

    def document(self) -> dict[str, Any]:
        """Return the document, once the vectors are here."""
        return {
            "object": "list",
            "model": self._asked.model,
            "data": [
                {"object": "embedding", "index": index, "embedding": vector}
                for index, vector in enumerate(self._vectors)
            ],
            "usage": {"prompt_tokens": self._tokens, "total_tokens": self._tokens},
        }


def _numbers(vector: Sequence[float]) -> list[float]:
    return [float(one) for one in vector]


def _base64(vector: Sequence[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
