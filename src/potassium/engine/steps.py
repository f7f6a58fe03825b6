"""The rest of a call that streams, which is run step by step."""

from typing import Any

__all__ = ["AsyncSteps", "Steps"]


class Steps:
    """The rest of a call that streams; each ``next`` runs it up to its next chunk.

    Attributes:
        cost: what it adds to the cost of the shared step that it waits for.
        result: what has become of that step for it, set before the next ``next``: a result, or
            an exception.

    """

    cost: float = 1.0
    result: Any = None

    def __next__(self) -> bytes | None:
        """Return the next chunk, encoded for the wire; runs on the GPU thread.

        None says that it waits for the shared step of its operation.

        Raises:
            StopIteration: there are no more chunks.
            BaseException: whatever the handler raises.

        """
        raise NotImplementedError

    def close(self) -> None:
        """End the call early; runs on the GPU thread, once, unless the call ended by itself."""
        raise NotImplementedError


class AsyncSteps:
    """The rest of a call that streams and runs on the event loop."""

    async def next(self) -> bytes:
        """Return the next chunk.

        Raises:
            StopAsyncIteration: there are no more chunks.
            BaseException: whatever the handler raises.

        """
        raise NotImplementedError

    async def close(self) -> None:
        """End the call early."""
        raise NotImplementedError
