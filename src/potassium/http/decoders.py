"""Decoders of content codings: those that are installed, each for one body."""

import importlib
import zlib
from collections.abc import Callable
from functools import cache
from typing import Any, Protocol

__all__ = ["MEMORY", "STEP", "Coding", "Sink", "decoders"]

STEP = 64 * 1024  # bytes that are decoded at a time

MOST_MEMBERS = 65_536  # of a gzip body; each takes microseconds, and may be empty

# The largest window that a client may use (RFC 9659, section 3).
ZSTD_WINDOW = 8 * 1024 * 1024  # bytes
ZSTD_LOG = 23  # the same, as its binary logarithm

# What a decoder needs at most from one part of a body to the next: the window of its coding.
MEMORY = {"gzip": 2**16, "deflate": 2**16, "br": 2**24, "zstd": ZSTD_WINDOW}  # bytes

Sink = Callable[[bytes], object]


class Coding(Protocol):
    """Undoes one coding of one body.

    Attributes:
        error: raised by both methods if the body is damaged.

    """

    error: type[Exception]

    def feed(self, data: bytes, sink: Sink) -> None:
        """Decode what has arrived; hand the content to ``sink``, ``STEP`` bytes or so at a time."""

    def is_complete(self) -> bool:
        """Return whether nothing is missing at the end."""


class _Gzip:
    """Gzip, of many members (RFC 1952); with other ``wbits``, what ``zlib`` reads with these."""

    error: type[Exception] = zlib.error

    def __init__(self, wbits: int, most_members: int) -> None:
        self._wbits = wbits
        self._left = most_members
        self._member = self._next_member()

    def feed(self, data: bytes, sink: Sink) -> None:
        is_full = False  # then more may come without more data
        while data or is_full:
            if data and self._member.eof:
                self._member = self._next_member()
            content = self._member.decompress(data, STEP)
            sink(content)
            is_full = len(content) == STEP
            data = self._member.unconsumed_tail or self._member.unused_data

    def is_complete(self) -> bool:
        return self._member.eof

    def _next_member(self) -> "zlib._Decompress":
        self._left -= 1
        if self._left < 0:
            raise zlib.error("it has too many members")
        return zlib.decompressobj(self._wbits)


class _Deflate:
    """The zlib format (RFC 1950), or raw deflate, which some send (RFC 9110, section 8.4.1.2)."""

    error: type[Exception] = zlib.error

    def __init__(self) -> None:
        self._head = b""
        self._coding: _Gzip | None = None

    def feed(self, data: bytes, sink: Sink) -> None:
        if self._coding is None:
            self._head = data = self._head + data
            if len(data) < 2:  # noqa: PLR2004 - the bytes of a zlib header
                return
            is_zlib = data[0] & 15 == zlib.DEFLATED and int.from_bytes(data[:2]) % 31 == 0
            self._coding = _Gzip(zlib.MAX_WBITS if is_zlib else -zlib.MAX_WBITS, 1)
        self._coding.feed(data, sink)

    def is_complete(self) -> bool:
        return self._coding is not None and self._coding.is_complete()


class _Brotli:
    def __init__(self, module: Any) -> None:
        self.error: type[Exception] = module.error
        self._decompressor = module.Decompressor()

    def feed(self, data: bytes, sink: Sink) -> None:
        decompressor = self._decompressor
        content = decompressor.process(data, output_buffer_limit=STEP)
        while content or not decompressor.can_accept_more_data():
            sink(content)
            content = decompressor.process(b"", output_buffer_limit=STEP)

    def is_complete(self) -> bool:
        return bool(self._decompressor.is_finished())


class _NativeZstd:
    """Any number of frames, with the module of Python 3.14."""

    def __init__(self, module: Any) -> None:
        self.error: type[Exception] = module.ZstdError
        options = {module.DecompressionParameter.window_log_max: ZSTD_LOG}
        self._new: Callable[[], Any] = lambda: module.ZstdDecompressor(options=options)
        self._frame = self._new()

    def feed(self, data: bytes, sink: Sink) -> None:
        while data or not (self._frame.eof or self._frame.needs_input):
            if self._frame.eof:
                self._frame = self._new()
            sink(self._frame.decompress(data, STEP))
            data = self._frame.unused_data if self._frame.eof else b""

    def is_complete(self) -> bool:
        return bool(self._frame.eof)


class _Zstd:
    """Any number of frames, with the package ``zstandard``.

    What it offers to bound the output does not tell whether the last frame is complete. So a frame
    of our own is decoded after it: only then does it come out as it went in.
    """

    PROBE = b"potassium"

    def __init__(self, module: Any) -> None:
        self.error: type[Exception] = module.ZstdError
        decompressor = module.ZstdDecompressor(max_window_size=ZSTD_WINDOW)
        self._writer = decompressor.stream_writer(self, write_size=STEP)
        self._probe = module.compress(self.PROBE)
        self._sink: Sink

    def feed(self, data: bytes, sink: Sink) -> None:
        self._sink = sink
        self._writer.write(data)

    def write(self, data: bytes) -> int:
        """Take what the package has decoded."""
        self._sink(bytes(data))
        return len(data)

    def is_complete(self) -> bool:
        found: list[bytes] = []
        self.feed(self._probe[:1], found.append)  # in two parts: a whole frame may be taken for
        self.feed(self._probe[1:], found.append)  # the next one, even if a header was cut off
        return found == [self.PROBE]


@cache
def decoders() -> dict[str, Callable[[], Coding]]:
    """Return what makes a decoder for one body, by the name of the coding: what is installed."""
    found: dict[str, Callable[[], Coding]] = {
        "gzip": lambda: _Gzip(16 + zlib.MAX_WBITS, MOST_MEMBERS),
        "deflate": _Deflate,
    }
    brotli, native, zstandard = map(_module, ("brotli", "compression.zstd", "zstandard"))
    if hasattr(getattr(brotli, "Decompressor", None), "can_accept_more_data"):  # since 1.2
        found["br"] = lambda: _Brotli(brotli)
    if native is not None:
        found["zstd"] = lambda: _NativeZstd(native)
    elif zstandard is not None:
        found["zstd"] = lambda: _Zstd(zstandard)
    return found


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None
