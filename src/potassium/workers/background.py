"""What a call in a worker process reports to its background job."""

from math import nan

from potassium.workers.frames import FromWorker, frame
from potassium.workers.link import WorkerLink
from potassium.workers.notes import NUMBER, SHARE

__all__ = ["RemoteRun"]


class RemoteRun:
    """Passes on what is reported to the front, where the job is kept.

    Attributes:
        id: the id of the job.

    """

    def __init__(self, job: str, call: int, link: WorkerLink) -> None:
        self.id = job
        self._call = call
        self._link = link
        self._has_begun = False

    def began(self) -> None:
        """Report that the handler has begun; later calls do nothing."""
        if not self._has_begun:
            self._has_begun = True
            self._link.send(frame(FromWorker.BEGUN, NUMBER.pack(self._call)))

    def progress(self, share: float | None, message: str | None) -> None:
        """Report progress; may be called on any thread."""
        text = b"" if message is None else message.encode()
        is_text = b"\0" if message is None else b"\1"
        head = SHARE.pack(self._call, nan if share is None else share)
        self._link.send(frame(FromWorker.PROGRESS, head, is_text, text))
