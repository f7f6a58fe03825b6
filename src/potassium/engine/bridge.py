"""Passing items from other threads to the event loop."""

from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["Bridge"]

Item = TypeVar("Item")


class Bridge(Generic[Item]):
    """Carries items to the event loop, with one wake-up for all that have piled up.

    A wake-up costs a system call and an iteration of the loop; a thread that sends ten thousand
    items a second must not pay for as many. ``send`` may be called on any thread.

    Args:
        tell_loop: schedules a callback on the loop, from any thread.
        receive: called on the loop with each item.

    """

    def __init__(
        self,
        tell_loop: Callable[[Callable[[], object]], None],
        receive: Callable[[Item], object],
    ) -> None:
        self._tell_loop = tell_loop
        self._receive = receive
        self._items: deque[Item] = deque()
        self._on_its_way = False

    def send(self, item: Item) -> None:
        """Deliver ``item`` to the loop soon."""
        self._items.append(item)
        if not self._on_its_way:
            self._on_its_way = True
            self._tell_loop(self._deliver)

    def _deliver(self) -> None:
        # This comes first: an item that is sent from here on finds that nothing is on its way.
        self._on_its_way = False
        items = self._items
        while items:
            self._receive(items.popleft())
