"""Deliveries that wait in memory, in a line for each host, and whose turn it is."""

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import count

from potassium.webhooks.model import Delivery, Full

__all__ = ["Lines"]


class _Turns:
    """Names in the order of the times when their turns come."""

    def __init__(self) -> None:
        self._turns: list[tuple[float, int, str]] = []  # sorted
        self._of: dict[str, tuple[float, int, str]] = {}
        self._numbers = count()

    def __iter__(self) -> Iterator[tuple[float, str]]:
        return ((at, name) for at, _, name in self._turns)

    def __bool__(self) -> bool:
        return bool(self._turns)

    def at(self, name: str) -> float | None:
        turn = self._of.get(name)
        return None if turn is None else turn[0]

    def set(self, name: str, at: float | None) -> None:
        """Put a name behind those whose turn comes at the same time; None removes it."""
        turn = self._of.pop(name, None)
        if turn is not None:
            del self._turns[bisect_left(self._turns, turn)]
        if at is not None:
            self._of[name] = (at, next(self._numbers), name)
            insort(self._turns, self._of[name])

    def set_next(self, name: str, due_at: float | None, had_turn_at: float | None) -> None:
        """Set the turn of a name that has had one, or some of whose deliveries wait no longer."""
        not_before = had_turn_at if had_turn_at is not None else self.at(name) or 0.0
        self.set(name, None if due_at is None else max(not_before, due_at))

    def first(self) -> float | None:
        return self._turns[0][0] if self._turns else None


class Lines:
    """The waiting deliveries of one side, and whose turn it is; see ``DeliveryStore``.

    Whatever happens to one delivery takes a few binary searches, not a look at all that wait.
    """

    def __init__(self) -> None:
        self._owners = _Turns()
        self._hosts: defaultdict[str, _Turns] = defaultdict(_Turns)  # of each owner
        # Those to each host, sorted by due time.
        self._waiting: defaultdict[str, list[tuple[float, int, Delivery]]] = defaultdict(list)
        self._places: dict[str, tuple[float, int, Delivery]] = {}  # of each delivery, by id
        self._numbers = count()

    def enter(self, delivery: Delivery) -> None:
        """Let a delivery wait until it is due."""
        host, owner, due_at = delivery.host, delivery.owner, delivery.due_at or 0.0
        place = self._places[delivery.id] = (due_at, next(self._numbers), delivery)
        insort(self._waiting[host], place)
        for turns, name in ((self._hosts[owner], host), (self._owners, owner)):
            at = turns.at(name)
            if at is None or due_at < at:
                turns.set(name, due_at)

    def leave(self, delivery_id: str) -> bool:
        """Let a delivery wait no longer; return False if it did not."""
        place = self._places.pop(delivery_id, None)
        if place is None:
            return False
        delivery = place[2]
        line = self._waiting[delivery.host]
        del line[bisect_left(line, place)]
        self._set_turns(delivery.owner, delivery.host)
        return True

    def take(self, *, now: float, limit: int, full: Full) -> Sequence[Delivery]:
        """Return one delivery of each of the next ``limit`` owners whose turn has come."""
        chosen: list[tuple[str, str]] = []
        for turn_at, owner in self._owners:
            if turn_at > now or len(chosen) == limit:
                break
            host = self._next_host(owner, now, full)
            if host is not None:
                chosen.append((owner, host))
        taken = []
        for owner, host in chosen:
            _, _, delivery = self._waiting[host].pop(0)
            del self._places[delivery.id]
            self._set_turns(owner, host, had_turn_at=now)
            taken.append(delivery)
        return taken

    def next_turn(self, full: Full) -> float | None:
        """Return when the next turn comes, or None if nothing waits."""
        soonest: float | None = None
        for turn_at, owner in self._owners:
            if soonest is not None and soonest <= turn_at:
                break
            if owner in full.owners:
                continue
            first = next((at for at, host in self._hosts[owner] if host not in full.hosts), None)
            if first is not None:
                at = max(turn_at, first)
                soonest = at if soonest is None else min(soonest, at)
        return soonest

    def _next_host(self, owner: str, now: float, full: Full) -> str | None:
        if owner in full.owners:
            return None
        for turn_at, host in self._hosts[owner]:
            if turn_at > now:
                return None
            if host not in full.hosts:
                return host
        return None

    def _set_turns(self, owner: str, host: str, *, had_turn_at: float | None = None) -> None:
        """Set the next turns of a host and its owner, now that a delivery waits no longer."""
        hosts, line = self._hosts[owner], self._waiting[host]
        hosts.set_next(host, line[0][0] if line else None, had_turn_at)
        self._owners.set_next(owner, hosts.first(), had_turn_at)
        if not line:
            del self._waiting[host]
        if not hosts:
            del self._hosts[owner]
