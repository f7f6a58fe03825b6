"""The GPU thread: the only thread that touches a model.

It goes in rounds. In each, every open stream makes one step, in the order in which they began, and
then one group or batch is run, where one was handed over. An operation has a number of streams that
may be open at a time; what would be one more is parked until one of them leaves: it has ended, or
its reader does not keep up, in which case it comes back when there is room.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence

from potassium.engine.bridge import Bridge
from potassium.engine.job import Failure, Job, Operation
from potassium.engine.stream import Steps, Stream
from potassium.errors import DeadlineExceeded, UsageError, WorkerFailed

__all__ = ["Worker"]

# Jobs that are done are reported at the latest after this time, even in the middle of a group,
# so that a job that turns out slow does not hold back the answers of those before it.
REPORT_INTERVAL = 0.001  # seconds

logger = logging.getLogger("potassium")


class Worker:
    """Runs groups of jobs, batches and streams, in the order in which they were handed over.

    ``run`` is the thread's whole life. ``hand_over``, ``resume`` and ``stop`` may be called from
    any thread. ``report`` is called on the GPU thread, with the jobs that have their outcome and
    with whether their group ends there: once a group, more often where a group turns out slow.
    Jobs that stream are not reported, but for the group's end: ``streams`` tells of them.
    """

    def __init__(
        self,
        report: Callable[[Sequence[Job], bool], None],
        streams: Bridge[Stream],
        *,
        is_fatal: Callable[[BaseException], bool] = lambda _: False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Set the thread's inbox up; ``run`` has yet to be called on the thread.

        ``is_fatal`` tells errors after which the thread can run nothing any more.
        """
        self.started = False
        self.fatal: BaseException | None = None  # the error after which it runs nothing
        self.current: Job | None = None  # the job that the thread is at
        self.since = clock()  # when it began with that one, or with having nothing to do
        self.busy = 0.0  # seconds spent running groups and steps that have ended
        self._is_fatal = is_fatal
        self._report = report
        self._streams = streams
        self._clock = clock
        self._inbox: queue.SimpleQueue[Sequence[Job] | Stream | None] = queue.SimpleQueue()
        self._turns: list[Stream] = []  # they make a step in each round
        self._parked: list[Stream | Job] = []  # they wait until one of theirs leaves
        self._stalled: set[Stream] = set()  # their readers do not keep up

    def hand_over(self, group: Sequence[Job]) -> None:
        """Put ``group`` into the inbox."""
        self._inbox.put(group)

    def resume(self, stream: Stream) -> None:
        """Let ``stream`` go on if it has stalled: there is room, or nobody wants it any more."""
        self._inbox.put(stream)

    def stop(self) -> None:
        """Let ``run`` return once everything handed over before has been run.

        Streams that are open by then are closed.
        """
        self._inbox.put(None)

    def run(self) -> None:
        """Run what comes into the inbox until ``stop``; blocks the thread it is called on."""
        self.started = True
        thread = threading.current_thread()
        name, thread.name = thread.name, "potassium-gpu"
        inbox, turns = self._inbox, self._turns
        try:
            while True:
                if not turns or not inbox.empty():
                    item = inbox.get()
                    if item is None:
                        break
                    if isinstance(item, Stream):
                        self._go_on(item)
                    else:
                        self._run_group(item)
                    # A blocked thread holds on to its locals: here, to the last results' memory.
                    del item
                for stream in tuple(turns):
                    self._step(stream)
                if self._parked:
                    self._unpark()
        finally:
            for one in [*turns, *self._stalled, *self._parked]:
                if isinstance(one, Stream):
                    _close(one)
            thread.name = name

    def _run_group(self, group: Sequence[Job]) -> None:
        started = now = self._clock()
        if group[0].operation.batching is not None:
            done, now = self._run_batch(group, now)
        else:
            done, now = self._run_each(group, now)
        self._rest(started, now)
        self._report(done, True)  # noqa: FBT003

    def _run_each(self, group: Sequence[Job], now: float) -> tuple[list[Job], float]:
        """Run jobs one by one; return those not reported yet, and the time."""
        clock = self._clock
        reported = now
        done: list[Job] = []
        for job in group:
            if self._is_called_for(job, now):
                operation = job.operation
                if operation.may_stream and self._is_taken(operation):
                    operation.open_streams += 1
                    self._parked.append(job)
                    continue
                self.since = now  # before current: who sees a job must not see an older time
                self.current = job
                is_done = self._run(job)
                ended = clock()
                stream = job.stream
                if stream is not None and stream.steps is not None:
                    stream.spent += ended - now  # what it takes is known at its end
                else:
                    operation.service_time.add(ended - now)
                now = ended
                if not is_done:
                    continue
            done.append(job)
            if now - reported > REPORT_INTERVAL and job is not group[-1]:
                self._report(done, False)  # noqa: FBT003
                done, reported = [], now
        return done, now

    def _is_called_for(self, job: Job, now: float) -> bool:
        """Return whether ``job`` is to be run; otherwise it has its outcome, if it needs one."""
        if self.fatal is not None:
            job.outcome = Failure(WorkerFailed())
        elif not job.is_unwanted(now):
            return True
        elif job.called_off is None:
            job.outcome = Failure(DeadlineExceeded())
        return False

    def _run(self, job: Job) -> bool:
        """Run one job and keep what comes of it; return whether it has its outcome."""
        try:
            outcome = job.operation.run(job.argument)
        except BaseException as error:  # noqa: BLE001 - SystemExit must not end the thread either
            outcome = self._failure(error)
        job.argument = None  # the request refers to the job, and not the other way any more
        if isinstance(outcome, Steps):
            stream = job.stream or self._new_stream(job)
            stream.steps = outcome
            job.operation.open_streams += 1
            self._turns.append(stream)
            return False
        if job.stream is not None:  # it was pushed into
            job.stream.end(outcome if isinstance(outcome, Failure) else None)
            return False
        job.outcome = outcome
        return True

    def _failure(self, error: BaseException) -> Failure:
        # Without our own frame, which holds the job and so would make a cycle of them.
        traceback = error.__traceback__
        failure = Failure(error.with_traceback(traceback and traceback.tb_next))
        if self._is_fatal(error):
            self.fatal = error
        return failure

    def _run_batch(self, batch: Sequence[Job], now: float) -> tuple[list[Job], float]:
        """Run jobs in one; return those not reported yet, and the time."""
        operation = batch[0].operation
        jobs = [job for job in batch if self._is_called_for(job, now)]
        done = [job for job in batch if job not in jobs]
        if not jobs:
            return done, now
        started = reported = self.since = now
        self.current = jobs[0]
        left = dict(enumerate(jobs))
        try:
            for index, outcome in operation.run([job.argument for job in jobs]):
                job = left.pop(index)
                job.outcome = outcome
                if isinstance(outcome, Failure) and self._is_fatal(outcome.error):
                    self.fatal = outcome.error
                done.append(job)
                now = self.since = self._clock()
                if now - reported > REPORT_INTERVAL and left:
                    self._report(done, False)  # noqa: FBT003
                    done, reported = [], now
        except BaseException as error:  # noqa: BLE001 - as above
            failure = self._failure(error)
            for job in left.values():
                job.outcome = failure
                done.append(job)
        for job in jobs:
            job.argument = None
        now = self._clock()
        operation.service_time.add((now - started) / len(jobs))
        return done, now

    # Streams.

    def open_stream(self, job: Job) -> Stream:
        """Open the stream of the job that the thread is at, for what that pushes itself.

        Raises:
            UsageError: it is at another one, or at none.

        """
        if self.current is not job or job.operation.batching is not None:
            raise UsageError("request.send() is for plain handlers, while they run.")
        return self._new_stream(job)

    def _new_stream(self, job: Job) -> Stream:
        job.operation.may_stream = True
        stream = job.stream = Stream(job, self._streams)
        job.interrupt = lambda: self.resume(stream)
        return stream

    def _is_taken(self, operation: Operation) -> bool:
        """Return whether as many streams of ``operation`` take turns as may."""
        turns = sum(stream.job.operation is operation for stream in self._turns)
        return turns >= operation.streams

    def _step(self, stream: Stream) -> None:
        job, steps = stream.job, stream.steps
        assert steps is not None  # noqa: S101 - only generators take turns
        if job.called_off is not None or self.fatal is not None:
            self.since, self.current = self._clock(), job
            _close(stream)
            self._account(stream, self.since)
            stream.end(None if self.fatal is None else Failure(WorkerFailed()))
            self._leave(stream)
            return
        if stream.is_full:
            stream.has_stalled = True
            if stream.is_full:  # still: the reader now sees that it has to call
                self._stalled.add(stream)
                self._leave(stream)
                return
            stream.has_stalled = False
        started = self._clock()
        self.since = started
        self.current = job
        failure = None
        try:
            stream.push(next(steps))
        except StopIteration:
            pass
        except BaseException as error:  # noqa: BLE001 - as above
            failure = self._failure(error)
        else:
            self._account(stream, started)
            return
        self._account(stream, started)
        job.operation.service_time.add(stream.spent)
        stream.end(failure)
        self._leave(stream)

    def _account(self, stream: Stream, started: float) -> None:
        now = self._clock()
        self._rest(started, now)
        stream.spent += now - started

    def _go_on(self, stream: Stream) -> None:
        if stream not in self._stalled:
            return
        self._stalled.discard(stream)
        stream.has_stalled = False
        operation = stream.job.operation
        operation.open_streams += 1
        # One that was called off needs no place: its next step closes it.
        if self._is_taken(operation) and stream.job.called_off is None:
            self._parked.append(stream)
        else:
            self._turns.append(stream)

    def _leave(self, stream: Stream) -> None:
        """Take no more turns: one of those that are parked may."""
        self._turns.remove(stream)
        stream.job.operation.open_streams -= 1
        self._report((), False)  # noqa: FBT003 - there may be a place now

    def _unpark(self) -> None:
        """Let those go on, in their order, for whom there is a place, or who need none."""
        for parked in tuple(self._parked):
            job = parked.job if isinstance(parked, Stream) else parked
            if self._is_taken(job.operation) and job.called_off is None:
                continue
            self._parked.remove(parked)
            if isinstance(parked, Stream):
                self._turns.append(parked)
                continue
            job.operation.open_streams -= 1
            started = self._clock()
            done, now = self._run_each([job], started)
            self._rest(started, now)
            self._report(done, False)  # noqa: FBT003

    def _rest(self, started: float, now: float) -> None:
        """Note that the thread is at no job any more, after it was at some from ``started`` on."""
        self.current = None
        self.since = now
        self.busy += now - started


def _close(stream: Stream) -> None:
    """End a stream's call early; what it raises then concerns nobody."""
    assert stream.steps is not None  # noqa: S101 - only generators are closed
    try:
        stream.steps.close()
    except BaseException:
        logger.exception("%s raised when it was closed early", stream.job.operation.name)
