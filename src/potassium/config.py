"""Groups of options: frozen, and validated when they are built."""

from dataclasses import dataclass, fields

from potassium.errors import UsageError

__all__ = ["Limits"]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one server takes on at a time.

    Attributes:
        queue_size: jobs that may wait; one more is refused with 503 ``queue_full``.
        body_size: bytes in a request's body; a longer one is refused with 413.

    Raises:
        UsageError: a limit is not a whole number above zero.

    """

    queue_size: int = 256
    body_size: int = 10 * 1024 * 1024

    def __post_init__(self) -> None:
        """Check every limit."""
        for field in fields(self):
            value = getattr(self, field.name)
            if type(value) is not int or value < 1:
                raise UsageError(
                    f"Limits({field.name}={value!r}): a whole number above zero is needed."
                )
