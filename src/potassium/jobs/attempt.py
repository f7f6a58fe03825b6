"""One attempt at a job, from its claim to its outcome."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import orjson

from potassium.engine import Job
from potassium.errors import StoreFailed
from potassium.jobs.model import Event, StoredJob
from potassium.jobs.room import EVENT_OVERHEAD
from potassium.jobs.store import JobStore
from potassium.jobs.watch import Watch

__all__ = ["Attempt", "status_event"]

PROGRESS_PAUSE = 0.05  # seconds between two progress events, so that a job does not store millions
BEGIN_PAUSE = 0.01  # seconds until a beginning is stored; a short job stores it with its end
MOST_PROGRESS = 16 * 1024 * 1024  # bytes of progress events; later ones only change the job
LONGEST_MESSAGE = 10_000  # characters of a message that are stored

# A stream that is further ahead of the store waits for it, also while the store fails.
MOST_UNSAVED = 1000  # events
MOST_UNSAVED_BYTES = 4 * 1024 * 1024
RETRY_STORE = 1.0  # seconds until a store that has failed is asked again


class Attempt:
    """One attempt at a job: what its handler reports, and requests to end it.

    ``began`` and ``progress`` may be called from any thread, everything else belongs to the event
    loop. Reports are stored in the background; one write stores all that have piled up.

    Args:
        last_event: the id of the job's last event; new events follow it.

    Attributes:
        job: as it was claimed.
        on_cancel: called when the job should end early.
        on_put_off: called when the handler should no longer begin, as the server stops.
        on_begin: called on the loop when the handler has begun, one after the other.
        on_progress: called with each progress, on the thread that reports it.
        is_cancelled: whether the job should end early.
        is_lost: whether another server may have taken the job up.
        has_begun: whether the handler has begun.
        waited: the seconds for which its call has waited in the queue of its handler; None if it
            never ran.
        ran: the seconds for which its call has run; None if it never ran.
        batch_size: how many calls ran together with its own, itself included.
        is_over: whether the outcome is known, so that the job can no longer be cancelled.

    """

    def __init__(self, job: StoredJob, store: JobStore, watch: Watch, last_event: int) -> None:
        self.job = job
        self.on_cancel: Callable[[], object] | None = None
        self.on_put_off: Callable[[], object] | None = None
        self.on_begin: list[Callable[[], object]] = []
        self.on_progress: Callable[[], object] | None = None
        self.is_cancelled = False
        self.is_lost = False
        self.has_begun = False
        self.waited: float | None = None
        self.ran: float | None = None
        self.batch_size = 1
        self._store = store
        self._watch = watch
        self._loop = asyncio.get_running_loop()
        self._last_event = last_event
        self._events: list[Event] = []
        self._progress: float | None = None
        self._message: str | None = None
        self._has_progress = False
        self._progress_bytes = 0
        self._latest: tuple[float | None, str | None] = (None, None)
        self._paced_until = 0.0
        self._is_noted = False  # the loop is about to look at _latest
        self._saving: asyncio.Task[None] | None = None
        self._saved = asyncio.Event()
        self._unsaved_bytes = 0
        self._is_interrupted = asyncio.Event()
        self._has_more = asyncio.Event()  # something other than progress, or the end
        self.is_over = False

    @property
    def id(self) -> str:
        """The id of the job."""
        return self.job.id

    def note_times(self, call: Job) -> None:
        """Note the times of the call that has run for this attempt, for whoever measures it."""
        if call.began_at is not None:
            self.waited, self.ran = call.began_at - call.queued_at, call.run_time
            self.batch_size = call.batch_size

    def began(self) -> None:
        """Report that the handler has begun; later calls do nothing."""
        if not self.has_begun:
            self.has_begun = True
            self._on_loop(self._begin)

    def progress(self, share: float | None, message: str | None) -> None:
        """Report progress: a ``share`` from 0 to 1, and a message; None leaves the last one."""
        if self.on_progress is not None:
            self.on_progress()
        before = self._latest
        self._latest = (
            before[0] if share is None else share,
            before[1] if message is None else message[:LONGEST_MESSAGE],
        )
        if not self._is_noted:  # one wake-up for all that is reported until the loop comes to it
            self._is_noted = True
            self._on_loop(self._note_progress)

    async def chunk(self, data: bytes) -> None:
        """Report a chunk of the result, as JSON; wait for the store if it is far behind.

        Otherwise the chunks of a stream without an end would pile up in memory. Returns early
        after ``interrupt``.
        """
        self._add("chunk", data)
        while self._is_far_ahead and not self._is_interrupted.is_set():
            if self._saving is not None:
                self._saved.clear()
                await self._saved.wait()
                continue
            with suppress(TimeoutError):  # the store has failed
                async with asyncio.timeout(RETRY_STORE):
                    await self._is_interrupted.wait()
            self._save_soon()

    def interrupt(self) -> None:
        """Let ``chunk`` wait no longer: nobody wants the rest of the stream."""
        self._is_interrupted.set()
        self._saved.set()

    def cancel(self) -> None:
        """Ask the handler to end, if it has not ended."""
        self.is_cancelled = True
        if self.on_cancel is not None:
            self.on_cancel()

    def lose(self) -> None:
        """Ask the handler to end, as another server may have taken the job up."""
        self.is_lost = True
        self.cancel()

    def put_off(self) -> None:
        """Leave the job to the next server, if its handler has not begun."""
        if not self.has_begun and self.on_put_off is not None:
            self.on_put_off()

    @property
    def told(self) -> StoredJob:
        """The job with the progress and message that its handler last reported."""
        return replace(self.job, progress=self._progress, message=self._message)

    async def finish(self, status: dict[str, Any]) -> Sequence[Event]:
        """Return the events that are not stored yet, and a last one with ``status``.

        From then on, only the caller stores anything of this attempt.
        """
        self.is_over = True
        self._has_more.set()
        if self._saving is not None:
            await asyncio.wait({self._saving})
        self._take_progress()
        self._append("status", orjson.dumps(status))
        return self._events

    @property
    def _is_far_ahead(self) -> bool:
        return len(self._events) >= MOST_UNSAVED or self._unsaved_bytes >= MOST_UNSAVED_BYTES

    def _on_loop(self, call: Callable[[], object]) -> None:
        with suppress(RuntimeError):  # the loop is closed, and nobody is left to hear it
            self._loop.call_soon_threadsafe(call)

    def _begin(self) -> None:
        if not self.is_over:
            self._append("status", status_event("running", self.job.attempts))
            self._paced_until = self._loop.time() + BEGIN_PAUSE
            self._save_soon()
            for call in self.on_begin:
                call()

    def _note_progress(self) -> None:
        self._is_noted = False  # before the look: what is reported later comes here again
        if not self.is_over:
            self._progress, self._message = self._latest
            self._has_progress = True
            self._save_soon()

    def _add(self, kind: str, data: bytes) -> None:
        self._take_progress()
        self._append(kind, data)
        self._has_more.set()
        self._save_soon()

    def _append(self, kind: str, data: bytes) -> None:
        self._last_event += 1
        self._unsaved_bytes += len(data)
        self._events.append(Event(id=self._last_event, kind=kind, data=data))

    def _take_progress(self) -> None:
        if self._has_progress:
            self._has_progress = False
            told = orjson.dumps({"progress": self._progress, "message": self._message})
            self._progress_bytes += len(told) + EVENT_OVERHEAD
            if self._progress_bytes <= MOST_PROGRESS:
                self._append("progress", told)

    def _save_soon(self) -> None:
        if self._saving is None and not self.is_over:
            self._saving = self._loop.create_task(self._save(), name="potassium-job-events")

    async def _save(self) -> None:
        try:
            while (self._events or self._has_progress) and not self.is_over:
                await self._pace()
                if self.is_over:
                    return  # finish() returns the rest
                self._take_progress()
                if not await self._note():
                    return
        finally:
            self._saving = None
            self._saved.set()

    async def _pace(self) -> None:
        """Wait until a beginning or the next progress may be stored, unless there is more."""
        left = self._paced_until - self._loop.time()
        if left > 0 and not self._has_more.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._has_more.wait()
        self._has_more.clear()
        if self._has_progress:
            self._paced_until = self._loop.time() + PROGRESS_PAUSE

    async def _note(self) -> bool:
        """Store what has piled up; return False if it stays for the next time, or for the end."""
        events, self._events = self._events, []
        try:
            await self._store.note(
                self.job, progress=self._progress, message=self._message, events=events
            )
        except StoreFailed:
            self._events = events + self._events
            return False
        self._unsaved_bytes -= sum(len(event.data) for event in events)
        self._saved.set()
        self._watch.tell(self.job.id)
        return True


def status_event(status: str, attempts: int) -> bytes:
    """Return the data of the event that reports a job's new status."""
    return orjson.dumps({"status": status, "attempts": attempts})
