"""An inbox that knows whether everything put into it has been processed."""

import queue
from typing import Any

__all__ = ["Inbox"]


class Inbox(queue.SimpleQueue[Any]):
    """The inbox of one thread, which calls ``get`` when it has nothing else to do."""

    def __init__(self) -> None:
        super().__init__()
        self._given = self._taken = self._done = 0

    @property
    def is_at_rest(self) -> bool:
        """Whether the thread waits for more, and nothing is on its way."""
        return self._done == self._given

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        self._given += 1
        super().put(item)

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        self._done = self._taken
        item = super().get()
        self._taken += 1
        return item
