"""How much room the bodies of all requests take together."""

from threading import Lock

from potassium.errors import Overloaded

__all__ = ["BodyRoom"]


class BodyRoom:
    """Counts the bytes that bodies take, in memory or on disk, and refuses what is too much.

    May be used on any thread.

    Attributes:
        held: how many bytes they take now.

    """

    def __init__(self, most: int) -> None:
        self.held = 0
        self._most = most
        self._lock = Lock()

    def hold(self, size: int, own: int = 0) -> int:
        """Count ``size`` more bytes for a request that has ``own`` already; return ``size``.

        A single request may have any number.

        Raises:
            Overloaded: together with those of other requests, they are too many.

        """
        with self._lock:
            self.check(size, own)
            self.held += size
        return size

    def check(self, size: int, own: int = 0) -> None:
        """Raise ``Overloaded`` if ``hold`` would."""
        if self.held > own and self.held + size > self._most:
            raise Overloaded(retry_after=1)

    def let_go(self, size: int) -> int:
        """Count ``size`` bytes no longer; return 0, as many as the request has then."""
        if size:
            with self._lock:
                self.held -= size
        return 0
