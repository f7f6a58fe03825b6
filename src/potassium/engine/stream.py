"""The chunks of a job that streams, on their way from its thread to its caller."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from potassium.engine.bridge import Bridge
from potassium.engine.failure import Failure
from potassium.errors import PotassiumError, StreamBroken

if TYPE_CHECKING:
    from potassium.engine.push_room import PushShare
    from potassium.engine.steps import Steps

__all__ = ["CHUNK_OVERHEAD", "NOT_RUNNING", "Stream"]

# The buffer between thread and caller. A text of any usual length fits as a whole, so that its
# generator can finish however slowly the text is read.
BUFFER = 1024 * 1024  # bytes
NOT_RUNNING = "request.send() works only in a plain handler, while it is running."
TOO_SLOW = "The client reads its stream too slowly for what request.send() has sent."
CHUNK_OVERHEAD = 64  # bytes that a chunk takes in addition to its content


class Streaming(Protocol):
    """What a stream needs from its job."""

    @property
    def is_background(self) -> bool:
        """Whether its reader is the server itself."""

    @property
    def called_off(self) -> PotassiumError | None:
        """Why nobody wants the stream any more; None while somebody does."""

    @property
    def interrupt(self) -> Callable[[], object] | None:
        """Makes the writer look again; None if it need not be called."""


JobT = TypeVar("JobT", bound=Streaming)


class Stream(Generic[JobT]):
    """A bounded buffer of chunks between the thread that runs a job and the job's caller.

    The writer calls ``push`` and ``end``, on the GPU thread or, for async handlers, on the loop; a
    handler that pushes chunks itself calls ``send``. The reader calls ``take`` on the loop. Each
    side counts for itself what it has pushed or taken, so that neither needs a lock.

    Args:
        bridge: notifies the loop that the stream has something for its reader.
        on_progress: called with the job on the writing thread whenever a handler that pushes goes
            on: with each chunk, and after it has waited for the reader.

    """

    __slots__ = (
        "_bridge",
        "_chunks",
        "_is_noted",
        "_on_progress",
        "_pushed",
        "_reader",
        "_taken",
        "_writer",
        "began_at",
        "chunks",
        "failure",
        "has_ended",
        "has_stalled",
        "is_over",
        "is_reported",
        "is_waiting",
        "job",
        "on_called_off",
        "on_taken",
        "overrun",
        "share",
        "spent",
        "stalls",
        "steps",
        "waits",
    )

    def __init__(
        self,
        job: JobT,
        bridge: Bridge["Stream[JobT]"],
        *,
        on_progress: Callable[[JobT], object] | None = None,
    ) -> None:
        self.job = job
        self.steps: Steps | None = None  # set for a generator only
        self.spent = 0.0  # seconds that its steps took
        self.began_at: float | None = None  # when its first chunk arrived, in monotonic seconds
        self.chunks = 0  # how many its reader has taken
        self.stalls = 0  # how often it gave up its turns, as its reader did not keep up
        self.waits = False  # for the shared step of its operation
        self.has_stalled = False  # it gets no turns until there is room
        self.has_ended = False  # nothing more will be pushed
        self.is_reported = False  # somebody who measures knows that
        self.failure: Failure | None = None  # what it ended with, if it failed
        self.is_over = False  # the reader has all of it, or has stopped reading
        self.is_waiting = False  # its writer is blocked until the reader takes something
        self.share: PushShare | None = None  # set for a handler that pushes
        self.overrun: StreamBroken | None = None  # such a handler was too far ahead for too long
        self.on_called_off: Callable[[], object] | None = None  # interrupts a reader that is busy
        self.on_taken: Callable[[int], object] | None = None  # told how many bytes were
        self._on_progress = on_progress
        self._bridge = bridge
        self._chunks: deque[bytes] = deque()
        self._pushed = 0  # bytes; the writer counts
        self._taken = 0  # bytes; the reader counts
        self._is_noted = False  # the reader was notified of something that it has not taken
        self._reader: asyncio.Future[None] | None = None
        self._writer: asyncio.Future[None] | None = None

    @property
    def is_full(self) -> bool:
        """Whether the writer has to wait for the reader."""
        return self._ahead() >= BUFFER

    @property
    def was_begun(self) -> bool:
        """Whether anything was pushed."""
        return self._pushed > 0

    def push(self, chunk: bytes) -> None:
        """Add a chunk; never blocks. Called by the writer."""
        self._chunks.append(chunk)
        self._pushed += len(chunk) + CHUNK_OVERHEAD
        self._tell()

    def end(self, failure: Failure | None = None) -> None:
        """Note that no more chunks follow; ``failure`` says why, if the stream is incomplete."""
        if self.overrun is not None:
            failure = Failure(self.overrun)  # whatever its handler has made of it
        self.failure = failure
        self.has_ended = True
        self._tell()

    def send(self, chunk: bytes) -> None:
        """Add a chunk for a handler that pushes; block while it is too far ahead of the reader.

        May be called on any thread of the handler. The stream needs a ``share``.

        Raises:
            StreamBroken: the handler has waited too long for the reader; the stream is cut off.

        """
        share, job = self.share, self.job
        assert share is not None  # noqa: S101 - see Pushes
        with share.changed:
            if self.overrun is not None:
                raise StreamBroken(TOO_SLOW)
            self.push(chunk)
            share.count(self._ahead)
        self._note_progress()
        if not self.is_full:
            return
        self.is_waiting = True
        is_in_time = share.wait(
            lambda: not self.is_full or job.called_off is not None, forever=job.is_background
        )
        self._note_progress()  # before it counts as running again
        self.is_waiting = False
        if not is_in_time:
            self.overrun = StreamBroken(TOO_SLOW)
            self._tell()
            raise StreamBroken(TOO_SLOW)

    async def room(self) -> None:
        """Wait on the loop while the buffer is full and the job is not called off."""
        while self.is_full and self.job.called_off is None:
            self._writer = asyncio.get_running_loop().create_future()
            await self._writer

    async def take(self) -> list[bytes] | None:
        """Wait for chunks and return those that have piled up; None once the stream has ended.

        At most a buffer's worth is returned at a time.

        Called by the reader. Cancellation takes no chunks.

        Raises:
            PotassiumError: the job was called off, or it failed.

        """
        while True:
            if self.job.called_off is not None:
                raise self.job.called_off
            ended = self.has_ended  # before the chunks: the last ones are pushed before it is set
            if self._chunks:
                return self._take_some()
            if ended:
                self.is_over = True
                if self.failure is not None:
                    raise self.failure.to_raise()
                return None
            self._reader = asyncio.get_running_loop().create_future()
            await self._reader

    def pass_on(self) -> list[bytes]:
        """Return all chunks for a reader elsewhere, who has not taken them; see ``took``."""
        self._is_noted = False
        chunks = self._chunks
        return [chunks.popleft() for _ in range(len(chunks))]

    def took(self, size: int) -> None:
        """Note that the reader has taken ``size`` bytes, overhead included."""
        self._taken += size
        if self.share is not None:
            self.share.count(self._ahead)
        self.wake()
        if self.has_stalled and self.job.interrupt is not None:
            self.job.interrupt()

    def wake(self) -> None:
        """Make the reader and the writer look again."""
        self._is_noted = False
        for waiting in (self._reader, self._writer):
            if waiting is not None and not waiting.done():
                waiting.set_result(None)
        if self.job.called_off is not None:
            if self.share is not None:
                self.share.close()
            if self.on_called_off is not None:
                self.on_called_off()

    def _note_progress(self) -> None:
        if self._on_progress is not None:
            self._on_progress(self.job)

    def _ahead(self) -> int:
        """Return how many bytes the reader has not taken."""
        return self._pushed - self._taken

    def _take_some(self) -> list[bytes]:
        """Take all chunks, or as many as fill the buffer once: the reader holds them meanwhile."""
        taken, size = [], 0
        chunks = self._chunks
        while chunks and size < BUFFER:
            taken.append(chunks.popleft())
            size += len(taken[-1]) + CHUNK_OVERHEAD
        self.chunks += len(taken)
        self.took(size)
        if self.on_taken is not None:
            self.on_taken(size)
        return taken

    def _tell(self) -> None:
        if not self._is_noted:
            self._is_noted = True
            self._bridge.send(self)
