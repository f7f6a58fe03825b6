"""Batches as they are kept: what was asked for, and how far the run is."""

import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import orjson

from potassium.openai.errors import Refused
from potassium.openai.files import new_number
from potassium.openai.whole_files import write_whole

__all__ = ["Batch", "Batches", "Progress"]

ID = re.compile(r"batch_[0-9a-f]{40}")


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What a client has asked for. Times are in seconds since the epoch.

    Attributes:
        id: names it.
        owner: whose it is; empty if batches belong to nobody.
        input_file_id: the file of the requests.
        endpoint: where each of them goes, such as ``/v1/chat/completions``.
        completion_window: how long it may take, as the client wrote it.
        metadata: what the client keeps with it.
        created_at: when it was asked for.
        expires_at: when the requests that are left are given up.
        keeps_results: for how many seconds the files of the results are kept; None for ever.
        job_id: the background job that runs it; empty until there is one.
        cancelling_at: when a client has cancelled it.

    """

    id: str = field(default_factory=lambda: f"batch_{new_number()}")
    owner: str
    input_file_id: str
    endpoint: str
    completion_window: str
    metadata: Mapping[str, str] | None
    created_at: int
    expires_at: int
    keeps_results: int | None = None
    job_id: str = ""
    cancelling_at: int | None = None

    @property
    def number(self) -> str:
        """The part of the id that is its own."""
        return self.id.removeprefix("batch_")

    @property
    def output_id(self) -> str:
        """The id of the file of answers."""
        return f"file-{self.number}-output"

    @property
    def errors_id(self) -> str:
        """The id of the file of errors."""
        return f"file-{self.number}-errors"


@dataclass(kw_only=True)
class Progress:
    """How far the run of a batch is, as the job that runs it keeps it.

    Attributes:
        status: ``completed``, ``expired`` or ``failed`` once it has ended so; empty until then.
        total: how many requests there are.
        completed: how many have an answer.
        failed: how many have an error.
        in_progress_at: when the file was read through.
        finalizing_at: when the last request was done.
        ended_at: when it ended.
        errors: why none was run, as OpenAI's API has it.
        done_before: how many requests were done when the last attempt at the job began.
        crashes_before: how often the server had died, as the job counts it, when that many were.

    """

    status: str = ""
    total: int = 0
    completed: int = 0
    failed: int = 0
    in_progress_at: int | None = None
    finalizing_at: int | None = None
    ended_at: int | None = None
    errors: Sequence[Mapping[str, Any]] = ()
    done_before: int = 0
    crashes_before: int = 0

    @property
    def done(self) -> int:
        """How many requests have an answer or an error."""
        return self.completed + self.failed


class Batches:
    """Batches in a folder, each in a folder of its own: ``asked.json`` and ``progress.json``.

    The routes write the one, the job of the batch writes the other. Several servers may share the
    folder. Everything here blocks, and raises OSError if the disk fails.

    Args:
        folder: where they are; it is created with the first one.
        clock: returns seconds since the epoch.

    """

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        self._folder = folder / "batches"
        self._clock = clock

    def now(self) -> int:
        """Return the time, in seconds since the epoch."""
        return int(self._clock())

    def seconds_left(self, batch: Batch) -> float:
        """Return the seconds until a batch expires."""
        return batch.expires_at - self._clock()

    def keep(self, batch: Batch) -> None:
        """Store a batch, in place of what was stored of it."""
        folder = self._folder / batch.id
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / "asked.json", orjson.dumps(asdict(batch)))

    def find(self, batch_id: str) -> Batch | None:
        """Return the batch with this id, or None."""
        asked = self._read(batch_id, "asked.json")
        return None if asked is None else Batch(**orjson.loads(asked))

    def drop(self, batch: Batch) -> None:
        """Delete a batch that has not got a job."""
        shutil.rmtree(self._folder / batch.id, ignore_errors=True)

    def get(self, batch_id: str, owner: str | None) -> Batch:
        """Return a batch that has a job.

        Args:
            batch_id: its id.
            owner: who asks; None if batches belong to nobody.

        Raises:
            Refused: there is no such batch, or it belongs to somebody else.

        """
        batch = self.find(batch_id)
        if batch is None or not batch.job_id or owner not in (None, batch.owner):
            raise Refused(f"There is no batch {batch_id!r:.80}.", code="not_found", status=404)
        return batch

    def newest_first(self, owner: str | None) -> Iterator[Batch]:
        """Yield each batch that whoever asks may see."""
        with suppress(FileNotFoundError):
            for name in sorted((one.name for one in self._folder.iterdir()), reverse=True):
                batch = self.find(name)
                if batch is not None and batch.job_id and owner in (None, batch.owner):
                    yield batch

    def of_file(self, file_id: str) -> list[Batch]:
        """Return the batches whose requests or results are in a file."""
        return [
            batch
            for batch in self.newest_first(None)
            if file_id in (batch.input_file_id, batch.output_id, batch.errors_id)
        ]

    def progress(self, batch: Batch) -> Progress:
        """Return how far the run of a batch is."""
        found = self._read(batch.id, "progress.json")
        return Progress(**orjson.loads(found)) if found else Progress()

    def note(self, batch: Batch, progress: Progress, *, synced: bool = True) -> None:
        """Store how far the run of a batch is; ``synced`` if it must survive a power failure."""
        path = self._folder / batch.id / "progress.json"
        write_whole(path, orjson.dumps(asdict(progress)), synced=synced)

    def _read(self, batch_id: str, name: str) -> bytes | None:
        if not ID.fullmatch(batch_id):
            return None
        try:
            return (self._folder / batch_id / name).read_bytes()
        except FileNotFoundError:
            return None
