"""The cache: what ``init`` has loaded."""

from typing import Any

__all__ = ["Cache", "InWorkers"]


class InWorkers(dict[str, Any]):
    """The cache of a process whose handlers run in others: it is empty, and says why."""

    def __missing__(self, name: str) -> Any:
        """Raise KeyError, and say where the model is."""
        raise NotHereError(
            f"there is no {name!r} in this process: init runs in the worker processes, and async "
            "handlers in the front, which has no model. Write a plain handler that uses the model, "
            'and call it: await app.call("/path", item).'
        )


class NotHereError(KeyError):
    """A ``KeyError`` whose text is shown as it is, and not quoted as a key."""

    def __str__(self) -> str:
        return str(self.args[0])


class Cache:
    """Holds the dict that handlers get as their first argument.

    The dict may be replaced at any time, on any thread; the next call sees the new one.

    Attributes:
        contents: the dict itself.

    """

    __slots__ = ("contents",)

    def __init__(self) -> None:
        self.contents: dict[str, Any] = {}

    def replace(self, contents: dict[str, Any]) -> None:
        """Make ``contents`` the dict that the next call sees.

        Raises:
            TypeError: ``contents`` is not a dict.

        """
        if not isinstance(contents, dict):
            raise TypeError(f"The cache must be a dict, not {type(contents).__name__}.")
        self.contents = contents
