"""Where metrics are shown, and to whom."""

from dataclasses import dataclass

from potassium.errors import UsageError

__all__ = ["Metrics"]


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """Where metrics are shown, and to whom.

    Attributes:
        path: the path to scrape.
        needs_key: whether a scrape needs an API key, where the app has any.

    Raises:
        UsageError: the path is invalid.

    """

    path: str = "/metrics"
    needs_key: bool = False

    def __post_init__(self) -> None:
        """Check every value."""
        path = self.path
        if not isinstance(path, str) or path[:1] != "/" or any(sign in path for sign in "{}?#"):
            raise UsageError(f'Metrics(path={self.path!r}): write a path, such as "/metrics".')
