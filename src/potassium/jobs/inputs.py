"""The inputs of jobs: in memory, or on disk if they are large."""

from typing import Protocol

from potassium.http.spooled import IN_MEMORY, SpooledBody

__all__ = ["Input", "InputOnDisk", "is_large", "size_of"]


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
