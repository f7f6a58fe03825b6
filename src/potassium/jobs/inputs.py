"""The inputs of jobs: in memory, or on disk if they are large."""

import hashlib
from io import BytesIO
from typing import Protocol

from potassium.http.spooled import IN_MEMORY, SpooledBody

__all__ = ["Input", "InputOnDisk", "fingerprint", "is_large", "size_of"]


class InputOnDisk(Protocol):
    """An input that is not in memory.

    Attributes:
        size: its size in bytes.

    """

    @property
    def size(self) -> int: ...  # noqa: D102 - above

    def share(self) -> SpooledBody:
        """Return it for reading; the caller must close it. May block.

        Raises:
            InputLost: it is no longer there.

        """


Input = bytes | SpooledBody | InputOnDisk


def size_of(body: Input) -> int:
    """Return the size of an input in bytes."""
    return len(body) if isinstance(body, bytes) else body.size


def is_large(body: Input) -> bool:
    """Return whether a store keeps an input as a file."""
    return size_of(body) > IN_MEMORY


def fingerprint(body: bytes | SpooledBody, *, without: bytes = b"") -> bytes:
    """Return a hash of an input, leaving ``without`` out; blocks while it reads one on disk."""
    digest = hashlib.sha256()
    with BytesIO(body) if isinstance(body, bytes) else body.open() as reader:
        rest = b""
        while data := reader.read(IN_MEMORY):
            *parts, rest = (rest + data).split(without) if without else (data, b"")
            for part in parts:
                digest.update(part)
            done = max(0, len(rest) - len(without) + 1)  # with what follows, the end may be one
            digest.update(rest[:done])
            rest = rest[done:]
        digest.update(rest)
    return digest.digest()
