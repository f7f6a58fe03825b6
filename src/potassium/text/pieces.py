"""The text of tokens as they come."""

from collections.abc import Sequence
from typing import Any

from tokenizers.decoders import DecodeStream

__all__ = ["Pieces", "beginning"]


class Pieces:
    """The text of tokens as they come, up to a stop string.

    A piece is given out once it is certain: a character may take several tokens, and what may be
    the beginning of a stop string waits until that is decided.

    Args:
        tokenizer: of transformers, one that is made with the library tokenizers.
        stop: the texts that end it; they are not part of it.

    Attributes:
        has_stopped: whether one of those has come.

    """

    def __init__(self, tokenizer: Any, stop: Sequence[str] = ()) -> None:
        self.has_stopped = False
        self._tokenizer = tokenizer.backend_tokenizer
        self._stream = DecodeStream(skip_special_tokens=True)
        self._stop = tuple(text for text in stop if text)
        self._held = ""  # may be the beginning of a stop string

    def add(self, token: int) -> str:
        """Return the text that is certain with one more token."""
        piece = self._stream.step(self._tokenizer, token) or ""
        if not self._stop or not piece:
            return piece
        text = self._held + piece
        ends = [place for stop in self._stop if (place := text.find(stop)) >= 0]
        if ends:
            self.has_stopped, self._held = True, ""
            return text[: min(ends)]
        held = max(beginning(text, stop) for stop in self._stop)
        self._held = text[len(text) - held :]
        return text[: len(text) - held]

    def rest(self) -> str:
        """Return what was held back; no more tokens come."""
        rest, self._held = self._held, ""
        return rest


def beginning(text: str, stop: str) -> int:
    """Return how long the end of ``text`` is with which ``stop`` begins."""
    longest = min(len(text), len(stop) - 1)
    return next((n for n in range(longest, 0, -1) if text.endswith(stop[:n])), 0)
