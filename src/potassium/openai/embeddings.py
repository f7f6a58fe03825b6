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
        # The request is not kept: it may be large.
        self._model = asked.model
        self._count = len(asked.inputs)
        self._shown = _base64 if asked.encoding_format == "base64" else _numbers
        self._document = b""

    def add(self, chunk: Any) -> bytes:
        """Make the document.

        Raises:
            UnserializableOutput: there is not one vector for each input.

        """
        vectors, tokens = chunk, 0
        if isinstance(chunk, dict) and chunk.keys() == {"vectors", "prompt_tokens"}:
            vectors, tokens = chunk["vectors"], chunk["prompt_tokens"]
        if not isinstance(vectors, list) or len(vectors) != self._count:
            raise UnserializableOutput(WRONG)
        try:
            shown = list(map(self._shown, vectors))
        except (TypeError, ValueError, struct.error):
            raise UnserializableOutput(WRONG) from None
        document = {
            "object": "list",
            "model": self._model,
            "data": [
                {"object": "embedding", "index": index, "embedding": vector}
                for index, vector in enumerate(shown)
            ],
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }
        self._document = encode(document)
        return b""

    def end(self) -> bytes:
        """Return the document."""
        return self._document


def _numbers(vector: Sequence[float]) -> list[float]:
    return [float(one) for one in vector]


def _base64(vector: Sequence[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
