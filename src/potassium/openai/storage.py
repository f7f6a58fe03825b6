"""Where files and batches are kept, and how much of them there may be."""

from dataclasses import KW_ONLY, dataclass
from os import PathLike
from pathlib import Path

from potassium.config import check_count
from potassium.errors import UsageError

__all__ = ["Storage"]


@dataclass(frozen=True)
class Storage:
    """Where files and batches are kept: ``OpenAI(app, model=..., files=Storage("files"))``.

    Attributes:
        folder: the folder, relative to the working directory; it is created with the first file.
            All servers that share the jobs of the app must share it.
        file_size: maximum bytes of a file that clients upload; a larger one is refused with 413.
        requests: maximum requests of a batch, which fails with more; OpenAI's takes as many.
        in_flight: how many requests of all batches a server runs at the same time.

    Raises:
        UsageError: a value is invalid.

    """

    folder: str | PathLike[str]
    _: KW_ONLY
    file_size: int = 512 * 1024 * 1024
    requests: int = 50_000
    in_flight: int = 8

    def __post_init__(self) -> None:
        """Check every value."""
        if not isinstance(self.folder, str | PathLike) or not str(self.folder):
            raise UsageError(f"files={self.folder!r} must be the name of a folder.")
        check_count("file_size", self.file_size)
        check_count("requests", self.requests)
        check_count("in_flight", self.in_flight)

    @property
    def path(self) -> Path:
        """The folder."""
        return Path(self.folder).absolute()

    @classmethod
    def of(cls, given: "Storage | str | PathLike[str]") -> "Storage":
        """Return the storage in a folder, or the one that was given."""
        return given if isinstance(given, Storage) else cls(given)
