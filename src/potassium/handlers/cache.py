"""The cache: what ``init`` has loaded."""

from typing import Any

__all__ = ["Cache"]


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
