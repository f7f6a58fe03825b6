"""What is traced."""

from dataclasses import dataclass

from potassium.errors import UsageError

__all__ = ["Traces"]


@dataclass(frozen=True, kw_only=True)
class Traces:
    """What is traced.

    Attributes:
        health: whether requests for health, metrics and the page are traced, too.

    Raises:
        UsageError: the value is not a bool.

    """

    health: bool = False

    def __post_init__(self) -> None:
        """Check every value."""
        if type(self.health) is not bool:
            raise UsageError(f"Traces(health={self.health!r}): write True or False.")
