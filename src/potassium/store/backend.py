"""What a store requires of that in which it keeps values."""

from typing import Protocol

__all__ = ["Backend"]


class Backend(Protocol):
    """Keeps bytes under keys. Constructing one does no I/O; the first operation connects.

    Attributes:
        threads: how many threads may call it at a time; always the same one, if it is 1.
        place: where the values are, as log lines name it, without secrets.
        faults: the errors by which operations fail.

    """

    threads: int
    place: str
    faults: tuple[type[Exception], ...]

    def get(self, key: str) -> bytes | None:
        """Return what is kept under ``key``; None if there is nothing, or it has expired."""

    def set(self, key: str, data: bytes, ttl: float | None) -> None:
        """Keep ``data`` under ``key`` for ``ttl`` seconds, or for ever."""

    def delete(self, key: str) -> None:
        """Delete what is kept under ``key``, if there is anything."""

    def close(self) -> None:
        """Disconnect."""
