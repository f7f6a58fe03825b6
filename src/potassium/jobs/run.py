"""One attempt at a job, from the claim to what comes of it."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from potassium.errors import StoreFailed
from potassium.jobs.model import Event, StoredJob
from potassium.jobs.store import JobStore
from potassium.jobs.watch import Watch

__all__ = [
    "Cancelled",
    "Done",
    "Failed",
    "Lane",
    "NotDone",
    "Outcome",
    "Run",
    "Work",
    "status_event",
]

MOST_UNSAVED = 10_000  # events; a writer that is ahead of the store by more is not told of all


@dataclass(frozen=True, slots=True)
class Done:
    """It has succeeded, with this JSON."""

    output: bytes


@dataclass(frozen=True, slots=True)
class Failed:
    """It has failed, with this problem document; where it ``may_retry``, it may do better later."""

    error: bytes
    may_retry: bool


@dataclass(frozen=True, slots=True)
class Cancelled:
    """It was cancelled, with this problem document."""

    error: bytes


@dataclass(frozen=True, slots=True)
class NotDone:
    """The server stopped before it came to an end."""


Outcome = Done | Failed | Cancelled | NotDone


class Lane(Protocol):
    """Jobs that wait for one another: those of the GPU thread, of one batch, of one async handler.

    Attributes:
        handlers: whose jobs they are.

    """

    handlers: Sequence[str]

    def room(self, waiting: int, claimed: int, quiet: float) -> int:
        """Return how many more may be claimed.

        ``claimed`` are, and have not come to an outcome; ``waiting`` of them have not begun. For
        ``quiet`` seconds none has begun or come to one.
        """


class Work(Protocol):
    """What runs jobs."""

    lanes: Sequence[Lane]

    async def run(self, run: "Run") -> Outcome:
        """Run a job to its end; never raises for what the handler does."""


class Run:
    """One attempt at a job: what its handler tells on the way, and who wants it to end.

    ``began`` and ``progress`` may be called from any thread, everything else belongs to the event
    loop. What is told is stored in the background, all that has piled up at a time.

    Attributes:
        job: as it was claimed.
        on_cancel: called when the job is to end early.
        on_begin: called on the loop when the handler has begun, one after the other.
        is_cancelled: whether it is to end early.
        has_begun: whether its handler has begun.

    """

    def __init__(self, job: StoredJob, store: JobStore, watch: Watch, last_event: int) -> None:
        """Begin after the job's event of number ``last_event``."""
        self.job = job
        self.on_cancel: Callable[[], object] | None = None
        self.on_begin: list[Callable[[], object]] = []
        self.is_cancelled = False
        self.has_begun = False
        self._store = store
        self._watch = watch
        self._loop = asyncio.get_running_loop()
        self._last_event = last_event
        self._events: list[Event] = []
        self._progress: float | None = None
        self._message: str | None = None
        self._has_progress = False
        self._saving: asyncio.Task[None] | None = None
        self._is_over = False

    def began(self) -> None:
        """Note that the handler has begun; calls after the first count for nothing."""
        if not self.has_begun:
            self.has_begun = True
            self._on_loop(self._begin)

    def progress(self, share: float | None, message: str | None) -> None:
        """Note how far the handler is: ``share`` of 1, and in words."""
        self._on_loop(self._note_progress, share, message)

    def chunk(self, data: bytes) -> None:
        """Note a chunk of the result, as JSON."""
        self._add("chunk", data)

    def cancel(self) -> None:
        """Ask the handler to end, where it has not yet."""
        self.is_cancelled = True
        if self.on_cancel is not None:
            self.on_cancel()

    async def finish(self, status: dict[str, Any] | None) -> Sequence[Event]:
        """Return the events that are not stored yet, the last one telling ``status``.

        Nothing is stored of this run any more but by the caller.
        """
        self._is_over = True
        if self._saving is not None:
            await asyncio.wait({self._saving})
        self._take_progress()
        if status is not None:
            self._append("status", orjson.dumps(status))
        return self._events

    def _on_loop(self, call: Callable[..., object], *args: object) -> None:
        self._loop.call_soon_threadsafe(call, *args)

    def _begin(self) -> None:
        if not self._is_over:
            self._add("status", status_event("running", self.job.attempts))
            for call in self.on_begin:
                call()

    def _note_progress(self, share: float | None, message: str | None) -> None:
        if not self._is_over:
            self._progress = self._progress if share is None else share
            self._message = self._message if message is None else message
            self._has_progress = True
            self._save_soon()

    def _add(self, kind: str, data: bytes) -> None:
        if len(self._events) < MOST_UNSAVED:
            self._take_progress()
            self._append(kind, data)
            self._save_soon()

    def _append(self, kind: str, data: bytes) -> None:
        self._last_event += 1
        self._events.append(Event(id=self._last_event, kind=kind, data=data))

    def _take_progress(self) -> None:
        if self._has_progress:
            self._has_progress = False
            told = {"progress": self._progress, "message": self._message}
            self._append("progress", orjson.dumps(told))

    def _save_soon(self) -> None:
        if self._saving is None and not self._is_over:
            self._saving = self._loop.create_task(self._save(), name="potassium-job-events")

    async def _save(self) -> None:
        try:
            while (self._events or self._has_progress) and not self._is_over:
                self._take_progress()
                events, self._events = self._events, []
                try:
                    await self._store.note(
                        self.job, progress=self._progress, message=self._message, events=events
                    )
                except StoreFailed:
                    self._events = events + self._events  # with the next ones, or at the end
                    return
                self._watch.tell(self.job.id)
        finally:
            self._saving = None


def status_event(status: str, attempts: int) -> bytes:
    """Return what the event stream tells of a job that has come to a new status."""
    return orjson.dumps({"status": status, "attempts": attempts})
