"""How places are shared out among those who want them."""

from collections import Counter
from collections.abc import Collection

__all__ = ["Shares"]


class Shares:
    """A number of places, of which nobody gets more than are left free.

    If ``n`` owners take all they can, each has about 1/(n+1) of the places, and as many are free
    for the next one: nobody has to be stopped for someone else to begin. (Buffers of network
    switches are shared out like this, see Choudhury and Hahne, "Dynamic queue length thresholds",
    1998.)

    Args:
        places: how many there are.

    Attributes:
        free: how many places are left.

    """

    def __init__(self, places: int) -> None:
        self.free = places
        self._taken: Counter[str] = Counter()

    def has_room(self, owner: str, places: int = 1) -> bool:
        """Return whether ``owner`` may take this many more."""
        return self._taken[owner] + places <= self.free

    def take(self, owner: str, places: int = 1) -> None:
        """Take places."""
        self._taken[owner] += places
        self.free -= places

    def give_back(self, owner: str, places: int = 1) -> None:
        """Give places back."""
        self.free += places
        self._taken[owner] -= places
        if not self._taken[owner]:
            del self._taken[owner]

    def full(self) -> Collection[str]:
        """Return the owners that may not take another place."""
        return [owner for owner in self._taken if not self.has_room(owner)]

    def room_for_all(self) -> int:
        """Return how many places may be taken, by any owners that are not full, one by each."""
        most = max((self._taken[owner] for owner in self._taken if self.has_room(owner)), default=0)
        return max(0, self.free - most)
