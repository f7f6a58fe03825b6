"""The deliveries of one side in memory, and which of them give way when there are too many."""

from bisect import bisect_left, insort
from collections.abc import Sequence

from potassium.webhooks.lines import Lines
from potassium.webhooks.losses import Losses
from potassium.webhooks.model import Delivery, Full
from potassium.webhooks.shares import Shares

__all__ = ["Backlog"]

OVERHEAD = 1024  # bytes that a delivery takes beyond its body and its URL


class Backlog:
    """The deliveries that have neither arrived nor been given up; bounded.

    If a new one does not fit, those that have failed and wait give way: the one with the most
    attempts first, and of these the oldest. All others keep their room, of which one owner gets no
    more than is left free, so that a slow receiver does not keep out what is for others; a new
    delivery beyond that is dropped.

    Args:
        max_waiting: maximum number of deliveries.
        max_bytes: maximum bytes of them.
        losses: is told of deliveries that are dropped.

    """

    def __init__(self, *, max_waiting: int, max_bytes: int, losses: Losses) -> None:
        self._losses = losses
        self._why = (
            f"no room in memory, which holds {max_waiting} deliveries and {max_bytes} bytes at "
            "most, see Webhooks(max_waiting=, max_bytes=)"
        )
        self._held: dict[str, Delivery] = {}
        self._lines = Lines()
        # Taken by those that do not give way.
        self._room, self._room_bytes = Shares(max_waiting), Shares(max_bytes)
        # Those that give way, sorted; the last one is the first to do so.
        self._yielding: list[tuple[int, float, str]] = []
        self._yielding_bytes = 0

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._held)

    def get(self, delivery_id: str) -> Delivery | None:
        """Return a delivery, or None if it has ended."""
        return self._held.get(delivery_id)

    def add(self, delivery: Delivery) -> None:
        """Let a new delivery wait, or drop it if there is no room."""
        owner, size = delivery.owner, _size(delivery)
        if self._room.has_room(owner) and self._room_bytes.has_room(owner, size):
            self._make_room(size)
            self._hold(delivery)
        else:
            self._losses.add(delivery, self._why)

    def take(self, *, now: float, limit: int, full: Full) -> Sequence[Delivery]:
        """Return one delivery of each of the next ``limit`` owners whose turn has come."""
        taken = self._lines.take(now=now, limit=limit, full=full)
        for delivery in taken:
            if delivery.attempts:
                self._leave_yielding(delivery)
                self._take_room(delivery)
        return taken

    def next_turn(self, full: Full) -> float | None:
        """Return when the next turn comes, or None if nothing waits."""
        return self._lines.next_turn(full)

    def tried(self, delivery_id: str, next_at: float | None) -> None:
        """End a delivery that was taken, or let it wait until ``next_at``."""
        delivery = self.end(delivery_id)
        if delivery is not None and next_at is not None:
            self._hold(delivery.tried(next_at))

    def end(self, delivery_id: str) -> Delivery | None:
        """Hold a delivery no longer, and return it; None if it has ended already."""
        delivery = self._held.pop(delivery_id, None)
        if delivery is None:
            return None
        waits = self._lines.leave(delivery_id)
        if waits and delivery.attempts:
            self._leave_yielding(delivery)
        else:
            self._room.give_back(delivery.owner)
            self._room_bytes.give_back(delivery.owner, _size(delivery))
        return delivery

    def _hold(self, delivery: Delivery) -> None:
        self._held[delivery.id] = delivery
        self._lines.enter(delivery)
        if delivery.attempts:
            insort(self._yielding, _rank(delivery))
            self._yielding_bytes += _size(delivery)
        else:
            self._take_room(delivery)

    def _take_room(self, delivery: Delivery) -> None:
        self._room.take(delivery.owner)
        self._room_bytes.take(delivery.owner, _size(delivery))

    def _leave_yielding(self, delivery: Delivery) -> None:
        del self._yielding[bisect_left(self._yielding, _rank(delivery))]
        self._yielding_bytes -= _size(delivery)

    def _make_room(self, size: int) -> None:
        """Drop what gives way until ``size`` bytes fit, as they do beside all that does not."""
        while (
            len(self._yielding) >= self._room.free
            or self._yielding_bytes + size > self._room_bytes.free
        ):
            dropped = self._held[self._yielding[-1][2]]
            self.end(dropped.id)
            self._losses.add(dropped, self._why)


def _rank(delivery: Delivery) -> tuple[int, float, str]:
    return delivery.attempts, -delivery.created_at, delivery.id


def _size(delivery: Delivery) -> int:
    return len(delivery.body) + len(delivery.url) + OVERHEAD
