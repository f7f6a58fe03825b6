"""Content codings of request bodies, undone as they arrive (RFC 9110, section 8.4)."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from potassium.errors import BodyTooLarge, MalformedEncoding, UnsupportedEncoding
from potassium.http.decoders import MEMORY, Coding, Sink, decoders

__all__ = ["Decoding", "codings_of"]

ALIASES = {"x-gzip": "gzip"}  # RFC 9110, section 8.4.1.3
MOST_CODINGS = 3  # of one body, one upon the other

DAMAGED = "The body is not valid {}, as its Content-Encoding says."
TRUNCATED = "The body ends before the {} that its Content-Encoding announces is complete."


def codings_of(values: Sequence[bytes]) -> Sequence[str]:
    """Return the codings in the ``Content-Encoding`` fields of a request, in order.

    Raises:
        UnsupportedEncoding: one of them is not known or not installed, or there are too many.

    """
    names = [name.strip().lower() for name in b",".join(values).decode("latin-1").split(",")]
    names = [ALIASES.get(name, name) for name in names if name not in ("", "identity")]
    known = decoders()
    unknown = [name for name in names if name not in known]
    if unknown:
        missing = {"br": "brotli", "zstd": "zstandard"}.keys() & set(unknown)
        raise UnsupportedEncoding(_refusal(unknown[0], is_missing=bool(missing)), list(known))
    if len(names) > MOST_CODINGS:
        raise UnsupportedEncoding(
            f"The body may have {MOST_CODINGS} content codings at most.", list(known)
        )
    return names


def _refusal(name: str, *, is_missing: bool) -> str:
    if is_missing:
        return (
            f"This server has no decoder for {name} (pip install potassium[compression]); see "
            "Accept-Encoding for those that it has."
        )
    return "The body has a content coding that is not known here; see Accept-Encoding."


class Decoding:
    """Undoes the codings of one body, from the last to the first.

    Args:
        names: the codings, in the order in which they were applied.
        most: maximum bytes that the body may have, as it arrives and after each step.
        too_large: returns the error for a larger one.

    Attributes:
        is_stacked: whether there are several, between which few bytes may unfold to many.
        memory: the bytes that it needs from one part of the body to the next.

    """

    def __init__(
        self, names: Sequence[str], most: int, too_large: Callable[[], BodyTooLarge]
    ) -> None:
        self._stages = [(name, decoders()[name]()) for name in reversed(names)]
        self.is_stacked = len(names) > 1
        self.memory = sum(MEMORY[name] for name in names)
        self._left = [most] * (len(names) + 1)
        self._too_large = too_large

    def feed(self, data: bytes, sink: Sink) -> None:
        """Decode what has arrived; hand the content to ``sink``, a bounded part at a time.

        Raises:
            MalformedEncoding: the body is damaged.
            BodyTooLarge: it has too many bytes at one of the steps.
            Exception: whatever ``sink`` raises.

        """
        self._pass_on(data, 0, sink)

    def end(self) -> None:
        """Check that the body is complete.

        Raises:
            MalformedEncoding: it is not.

        """
        for name, coding in self._stages:
            with _named(name, coding):
                is_complete = coding.is_complete()
            if not is_complete:
                raise MalformedEncoding(TRUNCATED.format(name))

    def _pass_on(self, data: bytes, stage: int, sink: Sink) -> None:
        self._left[stage] -= len(data)
        if self._left[stage] < 0:
            raise self._too_large()
        if stage == len(self._stages):
            sink(data)
        elif data:
            name, coding = self._stages[stage]
            with _named(name, coding):
                coding.feed(data, lambda more: self._pass_on(more, stage + 1, sink))


@contextmanager
def _named(name: str, coding: Coding) -> Iterator[None]:
    """Raise MalformedEncoding if ``coding`` finds that the body is damaged."""
    try:
        yield
    except coding.error:
        raise MalformedEncoding(DAMAGED.format(name)) from None
