"""Bytes that arrive in pieces."""

__all__ = ["Pieces"]

# Smaller pieces are copied, one behind the other: as objects, they could take much more than they
# have. Larger ones are copied only once, when all is here.
SMALL = 4 * 1024  # bytes


class Pieces:
    """Collects pieces of bytes.

    Attributes:
        size: how many bytes it has.

    """

    def __init__(self) -> None:
        self.size = 0
        self._pieces: list[bytes | bytearray] = []

    def add(self, data: bytes) -> None:
        """Add a piece behind the others."""
        self.size += len(data)
        if len(data) >= SMALL:
            self._pieces.append(data)
            return
        last = self._pieces[-1] if self._pieces else b""
        if isinstance(last, bytearray):
            last += data
        else:
            self._pieces.append(bytearray(data))

    def joined(self) -> bytes:
        """Return all that was added."""
        whole = self.take()
        self.add(whole)
        return whole

    def take(self) -> bytes:
        """Return all that was added, and begin anew."""
        pieces, self._pieces, self.size = self._pieces, [], 0
        return b"".join(pieces)
