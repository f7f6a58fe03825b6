"""Which text is in which slot of the keys and values."""

from collections.abc import Sequence

from potassium.text.key_values import KeyValues
from potassium.text.row import Row

__all__ = ["Slots"]

# Fewer tokens than these are faster computed than looked for.
SHORTEST_PREFIX = 8

# A row that was in none of as many steps is one that nobody reads.
PATIENCE = 64


class Slots:
    """The slots of a model's keys and values.

    A run of the model takes slots that lie side by side, so that nothing has to be gathered; rows
    are moved for that, which is seldom necessary: one that ends leaves a hole, and the last one
    comes into it. A row without a slot takes that of a row that has ended or, if there is none,
    of one that has been in no step for a while, as its client does not read; such a row is computed
    again when its turn comes. Otherwise it waits: rows that go on would only drive each other out.

    What a row that has ended has left behind is used: a text that begins as an earlier one has
    begun, or as one beside it, takes the keys and values of what they share.

    Args:
        kept: the keys and values.
        count: the number of slots.

    """

    def __init__(self, kept: KeyValues, count: int) -> None:
        self._kept = kept
        self._rows: list[Row | None] = [None] * count  # also those that have ended

    def __len__(self) -> int:
        """Return the number of slots."""
        return len(self._rows)

    def leave(self, row: Row) -> None:
        """Note that ``row`` has ended; what is in its slot stays until another row takes it."""
        row.slot = row.sampler = None

    def spoil(self, row: Row) -> None:
        """Let nobody use what the slot of ``row`` has: not numbers, which would spread."""
        if row.slot is not None:
            self._kept.clear(row.slot)
        row.seen = 0

    def enter(self, row: Row, step: int) -> bool:
        """Give ``row`` a slot, with the keys and values of what it shares with another one.

        Args:
            row: one that has none.
            step: the number of this step.

        Returns:
            Whether it has one now.

        """
        shared, source = max((_shared(row, other), place) for place, other in enumerate(self._rows))
        if shared < SHORTEST_PREFIX:
            shared = 0
        slot = self._unused(source, shared)
        if slot is None:
            slot = min(range(len(self._rows)), key=self._last_step)
            if step - self._last_step(slot) < PATIENCE:
                return False
        loser = self._rows[slot]
        if shared and source != slot:
            self._kept.copy(source, slot, shared)
        if loser is not None and loser.slot == slot:
            loser.slot, loser.seen = None, 0
        self._rows[slot], row.slot, row.seen = row, slot, shared
        return True

    def _unused(self, source: int, shared: int) -> int | None:
        """Return the slot of no row that goes on, best the one whose contents are of most use."""
        unused = [slot for slot in range(len(self._rows)) if not self._is_live(slot)]
        if source in unused and 2 * shared > self._size(source):
            return source
        return min(unused, key=self._size, default=None)

    def _last_step(self, slot: int) -> int:
        row = self._rows[slot]
        return 0 if row is None else row.stepped

    def place(self, rows: Sequence[Row], first: int) -> list[Row]:
        """Move ``rows`` to the slots from ``first`` on; return them in the order of these."""
        slots = range(first, first + len(rows))
        inside = {row.slot for row in rows if row.slot in slots}
        holes = [slot for slot in slots if slot not in inside]
        for row in rows:
            if row.slot is not None and row.slot not in slots:
                self._swap(row.slot, holes.pop())
        return [row for row in self._rows[first : first + len(rows)] if row is not None]

    def _is_live(self, slot: int) -> bool:
        row = self._rows[slot]
        return row is not None and row.slot == slot

    def _swap(self, one: int, other: int) -> None:
        self._exchange(one, other)
        live = [(self._rows[slot], slot) for slot in (one, other) if self._is_live(slot)]
        rows = self._rows
        rows[one], rows[other] = rows[other], rows[one]
        for row, slot in live:
            assert row is not None  # noqa: S101 - it is live
            row.slot = other if slot == one else one

    def _exchange(self, one: int, other: int) -> None:
        count = max(self._size(one), self._size(other))
        try:
            if count:
                self._kept.swap(one, other, count)
        except BaseException:  # memory has run out in the middle of it, perhaps
            for row in (self._rows[one], self._rows[other]):
                if row is not None:
                    row.seen = 0
            raise

    def _size(self, slot: int) -> int:
        row = self._rows[slot]
        return 0 if row is None else row.seen


def _shared(row: Row, other: Row | None) -> int:
    """Return how many tokens of ``row`` the model has seen in ``other``; at least one is left."""
    if other is None:
        return 0
    most = min(len(row.tokens) - 1, other.seen)
    if row.tokens[:most] == other.tokens[:most]:
        return most
    return next(i for i in range(most) if row.tokens[i] != other.tokens[i])
