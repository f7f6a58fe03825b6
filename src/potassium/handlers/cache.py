"""What ``init`` has loaded."""

from typing import Any

__all__ = ["Cache"]


class Cache:
    """Holds the dict that handlers get as their first argument.

    It may be replaced at any time, from any thread; the next call sees the new one.

    Attributes:
        contents: the dict itself.

    """

    __slots__ = ("contents",)

    def __init__(self) -> None:
        self.contents: dict[str, Any] = {}

    def replace(self, contents: dict[str, Any]) -> None:
        """Let the next call see ``contents``.

        Raises:
            TypeError: it is not a dict.

        """
        if not isinstance(contents, dict):
            raise TypeError(f"The cache must be a dict, not {type(contents).__name__}.")
        self.contents = contents
