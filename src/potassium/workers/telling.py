"""The frames in which a worker tells how its calls, streams and batches go."""

from collections.abc import Sequence
from math import inf

from potassium.engine import Failure, Job, Operation, Stream
from potassium.workers.arrivals import WorkerJob
from potassium.workers.failures import encode_failure
from potassium.workers.frames import FromWorker, frame
from potassium.workers.notes import CEILING, END, NUMBER, OVERRUN, SLOTS, encode_chunks
from potassium.workers.outcomes import times_of

__all__ = ["Figures", "end_of", "is_result", "part_of", "ran"]


class Figures:
    """What the front knows of streams and batches; tells it what has changed.

    Args:
        operations: those of the handlers, by number.

    """

    def __init__(self, operations: Sequence[Operation]) -> None:
        self._operations = operations
        self._slots: dict[Operation, tuple[int, int, int]] = {}
        self._ceilings: dict[Operation, float] = {}

    def changed_slots(self) -> list[bytes]:
        """Return frames that tell how many streams are open, where that has changed."""
        buffers: list[bytes] = []
        for number, operation in enumerate(self._operations):
            if not operation.may_stream:
                continue
            slots = operation.open_streams, operation.stalled_streams, operation.parked_jobs
            if slots != self._slots.get(operation, (0, 0, 0)):
                self._slots[operation] = slots
                buffers += frame(FromWorker.SLOTS, SLOTS.pack(number, *slots))
        return buffers

    def new_ceiling(self, operation: Operation) -> list[bytes]:
        """Return a frame that tells what of a batch fits into memory, if that has changed."""
        if operation.batching is None:
            return []
        ceiling = operation.batching.ceiling.value
        if ceiling == self._ceilings.setdefault(operation, inf):
            return []
        self._ceilings[operation] = ceiling
        number = self._operations.index(operation)
        return frame(FromWorker.CEILING, CEILING.pack(number, ceiling))


def part_of(job: WorkerJob, chunks: Sequence[bytes]) -> list[bytes]:
    """Return the frames that tell the next chunks of a stream, and before them how it begins."""
    buffers: list[bytes] = []
    if (chunks or job.is_foreign) and (head := job.new_head()) is not None:
        buffers += frame(FromWorker.HEAD, NUMBER.pack(job.number), times_of(job), head)
    if chunks:
        buffers += frame(FromWorker.CHUNKS, *encode_chunks(job.number, chunks))
    return buffers


def end_of(stream: Stream[Job], job: WorkerJob) -> list[bytes]:
    """Return the frame that tells how a stream has ended."""
    failure = stream.failure or job.incomplete()
    flags = OVERRUN if stream.overrun is not None else 0
    return frame(
        FromWorker.END,
        END.pack(job.number, flags, stream.spent, stream.stalls),
        times_of(job),
        b"" if failure is None else encode_failure(failure.error),
    )


def ran(job: Job) -> list[bytes]:
    """Return the frame that tells how what was run between calls has ended."""
    outcome = job.outcome
    if type(outcome) is Failure:
        return frame(FromWorker.RAN, b"\1", encode_failure(outcome.error))
    return frame(FromWorker.RAN, b"\0", outcome)


def is_result(job: Job) -> bool:
    """Return whether the outcome of a job, perhaps None, is what its handler has returned.

    Nothing has run for a job that nobody wanted any more.
    """
    return job.began_at is not None and type(job.outcome) is not Failure
