"""Vectors of texts as OpenAI's API has them."""

import base64
import struct
from collections.abc import Sequence
from typing import Any

__all__ = ["embedding_document"]


def embedding_document(
    vectors: Sequence[Sequence[float]], model: str, tokens: int | None, *, as_base64: bool
) -> dict[str, Any]:
    """Return the document of vectors.

    Args:
        vectors: one for each input.
        model: the model's name.
        tokens: how many tokens the inputs had; None if nobody knows.
        as_base64: whether each is sent as little-endian ``float32`` in base64.

    """
    return {
        "object": "list",
        "model": model,
        "data": [
            {
                "object": "embedding",
                "index": index,
                "embedding": _base64(vector) if as_base64 else [float(one) for one in vector],
            }
            for index, vector in enumerate(vectors)
        ],
        "usage": {"prompt_tokens": tokens or 0, "total_tokens": tokens or 0},
    }


def _base64(vector: Sequence[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
