"""A background job as the client knows it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypeAlias

__all__ = ["FINAL", "JobEvent", "JobRecord", "Status"]

Status: TypeAlias = Literal["queued", "running", "succeeded", "failed", "cancelled", "expired"]

FINAL: tuple[Status, ...] = ("succeeded", "failed", "cancelled", "expired")


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEvent:
    """Something that has happened to a job.

    Attributes:
        id: counts up from 1; ``job.events(after=id)`` goes on behind it.
        kind: ``status``, ``progress`` or ``chunk``.
        data: of a status: ``{"status": ..., "attempts": ...}``; of progress: ``{"progress": ...,
            "message": ...}``; of a chunk: what the handler yielded.

    """

    id: int
    kind: str
    data: Any


class JobRecord:
    """What the server last said about a job.

    Attributes:
        document: all of it, as the server sent it.

    """

    def __init__(self, path: str, document: Mapping[str, Any]) -> None:
        self.path = path
        self.document = document

    def __repr__(self) -> str:
        """Show what tells jobs apart."""
        return f"<{type(self).__name__} {self.id} {self.handler} {self.status}>"

    @property
    def id(self) -> str:
        """The job's id; ``client.job(id)`` finds it again."""
        return str(self.document["id"])

    @property
    def handler(self) -> str:
        """The path of the handler that runs it."""
        return str(self.document["handler"])

    @property
    def status(self) -> Status:
        """``queued``, ``running``, ``succeeded``, ``failed``, ``cancelled`` or ``expired``."""
        status: Status = self.document["status"]
        return status

    @property
    def has_ended(self) -> bool:
        """Whether the job changes no more, unless it is retried."""
        return self.status in FINAL

    @property
    def progress(self) -> float | None:
        """How much is done, from 0 to 1; None before the handler says so."""
        progress: float | None = self.document["progress"]
        return progress

    @property
    def message(self) -> str | None:
        """What the handler last said about its progress."""
        message: str | None = self.document["message"]
        return message

    @property
    def attempts(self) -> int:
        """How often the job has been started."""
        return int(self.document["attempts"])

    @property
    def position(self) -> int | None:
        """Its place among the queued jobs of its handler, from 1; None if it is not queued."""
        position: int | None = self.document.get("position")
        return position

    @property
    def created_at(self) -> datetime:
        """When it was submitted."""
        return datetime.fromisoformat(self.document["created_at"])

    @property
    def started_at(self) -> datetime | None:
        """When its last attempt began."""
        return _moment(self.document["started_at"])

    @property
    def finished_at(self) -> datetime | None:
        """When it ended."""
        return _moment(self.document["finished_at"])


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
