"""What the front makes of the frames that its workers send."""

from collections.abc import Callable, Sequence

import orjson

from potassium.engine import Failure, Job, Operation, Stream
from potassium.engine.bridge import Bridge
from potassium.engine.model_runner import Surroundings
from potassium.engine.stream import CHUNK_OVERHEAD
from potassium.errors import PotassiumError
from potassium.handlers.in_process import InProcess
from potassium.http.foreign_reply import ForeignChunks
from potassium.workers.answering import Answering
from potassium.workers.failures import decode_failure
from potassium.workers.frames import FromWorker
from potassium.workers.given import Given
from potassium.workers.in_process import chunk_of, value_of
from potassium.workers.notes import (
    CEILING,
    COST,
    END,
    NUMBER,
    OVERRUN,
    SHARE,
    SLOTS,
    chunks_in,
    decode_chunks,
)
from potassium.workers.outcomes import decode_outcome, decode_times, set_times
from potassium.workers.remote import RemoteWorker

__all__ = ["Hearing"]


class Hearing:
    """Turns what workers send into outcomes, chunks and progress of the front's jobs.

    Args:
        around: what the workers work with.
        operations: those of the handlers, by number.
        ended: is told of each call that has ended while its worker lives.
        ran: is told how what was run between calls has ended.
        answering: answers what handlers ask, and posts.

    """

    def __init__(
        self,
        around: Surroundings,
        operations: Sequence[Operation],
        *,
        ended: Callable[[Job], object],
        ran: Callable[[RemoteWorker, bytes], None],
        answering: Answering,
    ) -> None:
        self._around = around
        self._operations = operations
        self._ended = ended
        self._bridge = Bridge[Stream[Job]](_at_once, around.hear)
        self._handlers: dict[int, Callable[[RemoteWorker, bytes], None]] = {
            FromWorker.DONE: self._done,
            FromWorker.GROUP_DONE: self._group_done,
            FromWorker.RETURNED: self._returned,
            FromWorker.PREPARED: self._prepared,
            FromWorker.HEAD: self._head,
            FromWorker.CHUNKS: self._chunks,
            FromWorker.END: self._end,
            FromWorker.SLOTS: self._slots,
            FromWorker.CEILING: self._ceiling,
            FromWorker.BEGUN: self._begun,
            FromWorker.PROGRESS: self._progress,
            FromWorker.POST: answering.post,
            FromWorker.READY: self._ready,
            FromWorker.NOT_LOADED: self._not_loaded,
            FromWorker.UNUSABLE: self._unusable,
            FromWorker.MEMORY: self._memory,
            FromWorker.RAN: ran,
            FromWorker.ASK: answering.begin,
            FromWorker.NEVER_MIND: answering.cancel,
        }

    def __call__(self, worker: RemoteWorker, kind: int, payload: bytes, /) -> None:
        """Handle one frame."""
        self._handlers[kind](worker, payload)

    def fail(self, job: Job, error: PotassiumError) -> None:
        """End a call whose worker has died."""
        self._around.jobs.capacity.leave(job)  # where its result was being finished
        if job.is_background:
            job.call_off(error)  # so that it is known to be no error of the handler's
            self._around.settle([job])
        elif job.stream is not None:
            if not job.stream.has_ended:
                job.stream.end(Failure(error))
        else:
            job.outcome = Failure(error)
            self._around.settle([job])

    def _done(self, worker: RemoteWorker, payload: bytes) -> None:
        number, outcome, times = decode_outcome(payload)
        given = worker.calls.get(number)
        if given is None:
            return  # it was only prepared there, and given up
        worker.forget(given)
        job = given.job
        set_times(job, *times)
        job.outcome = value_of(outcome) if type(job.origin) is InProcess else outcome
        if given.group is None:  # it could not be prepared
            job.outcome = outcome
            self._around.prepared(job)
            return
        worker.finished += 1
        self._ended(job)
        self._around.jobs.capacity.leave(job)  # where its result had to be finished
        if job.began_at is not None and job.ended_at is not None:
            job.operation.service_time.add((job.ended_at - job.began_at) / job.batch_size)
        self._around.settle([job])

    def _group_done(self, worker: RemoteWorker, payload: bytes) -> None:
        known = worker.end_group(NUMBER.unpack(payload)[0])
        if known is None:
            return  # it was given back
        group, members = known
        for given in members:
            if given.number in worker.calls and given.job.stream is None:
                self._around.jobs.capacity.enter(given.job)  # its result is being finished
        worker.dispatcher.ended(group, self._around.clock())

    def _returned(self, worker: RemoteWorker, payload: bytes) -> None:
        known = worker.end_group(NUMBER.unpack(payload)[0])
        if known is None:
            return
        group, members = known
        for given in members:
            if given.number not in worker.calls:
                continue  # it could not be prepared
            worker.forget(given)
            if given.job.called_off is None:
                self._around.jobs.put_admitted(given.job)  # at its old rank
        worker.dispatcher.returned(group)

    def _prepared(self, worker: RemoteWorker, payload: bytes) -> None:
        number, cost = COST.unpack(payload)
        given = worker.calls.get(number)
        if given is not None:
            given.job.cost = cost
            if given.job.called_off is not None:
                worker.forget(given)  # as the worker does once it hears of it
            self._around.prepared(given.job)

    def _head(self, worker: RemoteWorker, payload: bytes) -> None:
        given = worker.calls[NUMBER.unpack_from(payload)[0]]
        job = given.job
        size, times, at = decode_times(payload, NUMBER.size)
        set_times(job, size, times)
        if job.origin is None:
            return  # nobody waits for it any more
        status, headers, media_type, is_foreign = orjson.loads(payload[at:])
        if is_foreign:
            self._foreign_head(worker, given, status, headers)
            return
        form = job.origin.form
        if headers or status != form.status:
            told = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
            form = job.origin.answer_with(status, told)
        form.media_type = media_type.encode("latin-1")

    def _foreign_head(
        self, worker: RemoteWorker, given: Given, status: int, headers: list[tuple[str, str]]
    ) -> None:
        """Let a response begin that sends itself; how long it then takes is its own affair."""
        job = given.job
        told = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        job.origin.answer_as(ForeignChunks(status, told))
        if job.timer is not None:
            job.timer.cancel()
        may_stream = job.operation.may_stream
        stream = self._stream(worker, given)
        job.operation.may_stream = may_stream  # it takes no turns
        self._around.hear(stream)

    def _chunks(self, worker: RemoteWorker, payload: bytes) -> None:
        number, count, at = chunks_in(payload)
        given = worker.calls[number]
        stream = self._stream(worker, given)
        message = given.job.origin
        if message is not None and (message.background or type(message) is InProcess):
            for chunk in decode_chunks(payload):
                stream.push(chunk_of(chunk) if type(message) is InProcess else chunk)
            return
        # They are sent together, and are of no more interest one by one.
        stream.chunks += count - 1
        given.untold += CHUNK_OVERHEAD * (count - 1)
        stream.push(payload[at:])

    def _end(self, worker: RemoteWorker, payload: bytes) -> None:
        number, flags, spent, stalls = END.unpack_from(payload)
        given = worker.calls[number]
        size, times, at = decode_times(payload, END.size)
        stream = self._stream(worker, given)
        job = given.job
        set_times(job, size, times)
        worker.forget(given)
        worker.finished += 1
        self._ended(job)
        stream.spent, stream.stalls = spent, stalls
        if (seconds := job.run_time) is not None:
            job.operation.service_time.add(seconds)
        failure = Failure(decode_failure(payload[at:])) if at < len(payload) else None
        if flags & OVERRUN and failure is not None:
            stream.overrun = failure.to_raise()  # type: ignore[assignment]
        stream.end(failure)

    def _stream(self, worker: RemoteWorker, given: Given) -> Stream[Job]:
        job = given.job
        if job.stream is None:
            job.operation.may_stream = True
            self._around.jobs.capacity.leave(job)
            job.stream = Stream(job, self._bridge)
            job.stream.on_taken = lambda size: worker.took(given, size)
        return job.stream

    def _slots(self, worker: RemoteWorker, payload: bytes) -> None:
        number, *slots = SLOTS.unpack(payload)
        operation = self._operations[number]
        before = worker.slots.get(operation, (0, 0, 0))
        opened, stalled, parked = slots
        worker.slots[operation] = opened, stalled, parked
        operation.may_stream = True
        operation.open_streams += opened - before[0]
        operation.stalled_streams += stalled - before[1]
        operation.parked_jobs += parked - before[2]
        worker.dispatcher.wake()

    def _ceiling(self, worker: RemoteWorker, payload: bytes) -> None:  # noqa: ARG002 - as others
        number, weight = CEILING.unpack(payload)
        batching = self._operations[number].batching
        if batching is not None:
            batching.ceiling.value = weight

    def _begun(self, worker: RemoteWorker, payload: bytes) -> None:
        given = worker.calls.get(NUMBER.unpack(payload)[0])
        if given is not None and given.job.origin is not None:
            given.job.origin.background.began()

    def _progress(self, worker: RemoteWorker, payload: bytes) -> None:
        number, share = SHARE.unpack_from(payload)
        given = worker.calls.get(number)
        if given is None or given.job.origin is None:
            return
        is_text, text = payload[SHARE.size], payload[SHARE.size + 1 :]
        given.job.origin.background.progress(
            None if share != share else share,  # noqa: PLR0124 - NaN
            text.decode() if is_text else None,
        )

    def _ready(self, worker: RemoteWorker, payload: bytes) -> None:
        worker.keeper.loaded(orjson.loads(payload))

    def _not_loaded(self, worker: RemoteWorker, payload: bytes) -> None:
        worker.keeper.not_loaded(decode_failure(payload))

    def _memory(self, worker: RemoteWorker, payload: bytes) -> None:
        worker.device_memory = orjson.loads(payload)

    def _unusable(self, worker: RemoteWorker, payload: bytes) -> None:
        worker.keeper.unusable(decode_failure(payload))


def _at_once(callback: Callable[[], object]) -> None:
    callback()
