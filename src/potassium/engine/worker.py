"""The GPU thread: the only thread that touches a model.

It works in rounds. In each, every open stream makes one step, in the order in which they began, and
then one group or batch is run, if one was handed over. ``stream_slots`` limits the open streams.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from contextvars import copy_context

from potassium.engine.bridge import Bridge
from potassium.engine.failure import Failure
from potassium.engine.job import Job
from potassium.engine.push_room import PushRoom
from potassium.engine.pushes import Pushes
from potassium.engine.stream import Steps, Stream
from potassium.engine.stream_slots import StreamSlots
from potassium.engine.unreported import Unreported
from potassium.errors import DeadlineExceeded, WorkerFailed

__all__ = ["Worker"]

# Jobs that are done are reported after this time at the latest, even in the middle of a group,
# so that a job that turns out slow does not hold back the answers of those before it.
REPORT_INTERVAL = 0.001  # seconds

logger = logging.getLogger("potassium")


class Worker:
    """Runs groups of jobs, batches and streams, in the order in which they were handed over.

    ``run`` is all that the thread does. ``hand_over``, ``resume`` and ``stop`` may be called from
    any thread.

    Args:
        report: called on the GPU thread with the jobs that have their outcome, and with whether
            their group ends there: once per group, more often if a group turns out slow. Jobs
            that stream are not reported, only the end of their group.
        streams: notifies the loop of the jobs that stream.
        room: how far ahead of their readers handlers that push may be.
        is_fatal: returns whether an error means that the thread can run nothing any more.
        begin_batch: called with the jobs of each batch, in the context that it will run in.

    """

    def __init__(  # noqa: PLR0913 - what differs between apps and tests
        self,
        report: Callable[[Sequence[Job], bool], None],
        streams: Bridge[Stream[Job]],
        room: PushRoom,
        *,
        is_fatal: Callable[[BaseException], bool] = lambda _: False,
        begin_batch: Callable[[Sequence[Job]], object] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.started = False
        self.fatal: BaseException | None = None  # the error after which it runs nothing
        self.current: Job | None = None  # the job that the thread is running
        self.since = clock()  # when it began to run that one, or to be idle
        self.progressed_at = self.since  # when that one last told that it goes on
        self.busy = 0.0  # seconds spent on the groups and steps that have ended
        self.busy_since: float | None = None  # when the one began that has not ended
        self._is_fatal = is_fatal
        self._begin_batch = begin_batch
        self._report = report
        self._streams = streams
        self._clock = clock
        self._inbox: queue.SimpleQueue[Sequence[Job] | Stream[Job] | None] = queue.SimpleQueue()
        self.unreported = Unreported()  # of the running group
        self._slots = StreamSlots()
        self.turns = self._slots.active  # the streams that are about to make a step
        self.free_streams = self._slots.unclaimed
        self._pushes = Pushes(room, self._new_stream)
        self.open_stream = self._pushes.stream_of

    def hand_over(self, group: Sequence[Job]) -> None:
        """Put ``group`` into the inbox."""
        self._inbox.put(group)

    def resume(self, stream: Stream[Job]) -> None:
        """Let ``stream`` go on if it has stalled: there is room, or nobody wants it any more."""
        self._inbox.put(stream)

    def stop(self) -> None:
        """Let ``run`` return once all that was handed over has been run; closes open streams."""
        self._inbox.put(None)

    def note_progress(self, job: Job) -> None:
        """Note that ``job``, if it is the one that runs, goes on; may be called on any thread."""
        if self.current is job:
            self.progressed_at = self._clock()

    def run(self) -> None:
        """Run what is in the inbox until ``stop``; blocks the thread that it is called on."""
        self.started = True
        thread = threading.current_thread()
        name, thread.name = thread.name, "potassium-gpu"
        inbox, slots = self._inbox, self._slots
        try:
            while True:
                if not slots.active or not inbox.empty():
                    item = inbox.get()
                    if item is None:
                        break
                    if isinstance(item, Stream):
                        slots.come_back(item)
                    else:
                        self._run_group(item)
                    # A blocked thread holds on to its locals: here, to the last results' memory.
                    del item
                if slots.active:
                    self._run_round()
                for job in slots.unparked() if slots.parked else ():
                    self._run_group([job], ends=False)
        finally:
            for stream in slots:
                self._close(stream)
            thread.name = name

    def _run_group(self, group: Sequence[Job], *, ends: bool = True) -> None:
        started = now = self.busy_since = self._clock()
        run = self._run_each if group[0].operation.batching is None else self._run_batch
        now = run(group, now)
        self._rest(started, now)
        self._report(self.unreported.take(), ends)

    def _run_each(self, group: Sequence[Job], now: float) -> float:
        """Run jobs one by one; return the time."""
        clock = self._clock
        reported = now
        for job in group:
            if self._is_called_for(job, now):
                operation = job.operation
                if operation.may_stream and self._slots.is_taken(operation):
                    self._slots.park(job)
                    continue
                # Before current: whoever sees a job must not see an older time.
                self.since = job.began_at = now
                self.current = self._pushes.running = job
                self._run(job)
                began, now = now, clock()
                job.ended_at = now
                if job.stream is None or job.stream.steps is None:
                    operation.service_time.add(now - began)
                else:
                    job.stream.spent += now - began  # its total is known at its end
                if job.stream is not None:
                    continue
            self.unreported.append(job)
            if now - reported > REPORT_INTERVAL and job is not group[-1]:
                self._report(self.unreported.take(), False)  # noqa: FBT003
                reported = now
        return now

    def _is_called_for(self, job: Job, now: float) -> bool:
        """Return whether to run ``job``; if not, give it an outcome unless it needs none."""
        if self.fatal is not None:
            job.outcome = Failure(WorkerFailed())
        elif not job.is_unwanted(now):
            return True
        elif job.called_off is None:
            job.outcome = Failure(DeadlineExceeded())
        return False

    def _run(self, job: Job) -> None:
        """Run one job and keep its outcome or its stream."""
        try:
            outcome = job.context.run(job.operation.run, job)
        except BaseException as error:  # noqa: BLE001 - SystemExit must not end the thread either
            outcome = self._failure(error)
        with self._pushes.opening:  # a thread of the handler's own may be about to send
            self._pushes.running = None
        job.argument = None  # tensors, perhaps, which no later step needs
        if isinstance(outcome, Steps):
            stream = job.stream or self._new_stream(job)
            stream.steps = outcome
            self._slots.enter(stream)
        elif job.stream is not None:  # the handler has pushed chunks
            job.ended_at = self._clock()  # before the loop is told
            job.stream.end(outcome if isinstance(outcome, Failure) else self._lateness(job))
        else:
            job.outcome = outcome
            return
        job.drop_input()  # job and stream refer to each other, and to nothing large

    def _lateness(self, job: Job) -> Failure | None:
        """Return the failure of a call that saw its deadline pass and so ended early, or None."""
        return Failure(DeadlineExceeded()) if job.is_unwanted(self._clock()) else None

    def _failure(self, error: BaseException) -> Failure:
        # Without our own frame, which holds the job and so would create a reference cycle.
        traceback = error.__traceback__
        if self._is_fatal(error):
            self.fatal = error
        return Failure(error.with_traceback(traceback and traceback.tb_next))

    def _run_batch(self, batch: Sequence[Job], now: float) -> float:
        """Run jobs as one batch; return the time."""
        operation = batch[0].operation
        jobs = [job for job in batch if self._is_called_for(job, now)]
        self.unreported += [job for job in batch if job not in jobs]
        if not jobs:
            return now
        started = reported = self.since = now
        self.current = jobs[0]
        for job in jobs:
            job.began_at, job.batch_size = now, len(jobs)
        left = dict(enumerate(jobs))
        context = copy_context()
        context.run(self._begin_batch, jobs)
        try:
            outcomes = context.run(operation.run, jobs)
            while (item := context.run(next, outcomes, None)) is not None:
                index, outcome = item
                job = left.pop(index)
                job.outcome = outcome
                if isinstance(outcome, Failure) and self._is_fatal(outcome.error):
                    self.fatal = outcome.error
                now = self.since = job.ended_at = self._clock()
                self.unreported.append(job)
                if now - reported > REPORT_INTERVAL and left:
                    self._report(self.unreported.take(), False)  # noqa: FBT003
                    reported = now
            failure = None
        except BaseException as error:  # noqa: BLE001 - as above
            failure = self._failure(error)
        for job in left.values():  # if nothing failed, nobody wanted them any more
            job.outcome = failure or Failure(job.called_off or DeadlineExceeded())
        now = self._clock()
        for job in jobs:
            job.argument = None  # as above
            job.ended_at = job.ended_at or now
        self.unreported += left.values()
        operation.service_time.add((now - started) / len(jobs))
        return now

    def _new_stream(self, job: Job) -> Stream[Job]:
        job.operation.may_stream = True
        stream = job.stream = Stream(job, self._streams, on_progress=self.note_progress)
        job.interrupt = lambda: self.resume(stream)
        return stream

    def _run_round(self) -> None:
        for stream in tuple(self._slots.active):
            self._step(stream)

    def _step(self, stream: Stream[Job]) -> None:
        """Let a stream make a step, or leave its slot if it has to."""
        job, steps = stream.job, stream.steps
        assert steps is not None  # noqa: S101 - only generators take turns
        if job.called_off is None and self.fatal is None and stream.is_full:
            stream.has_stalled = True
            if stream.is_full:  # still: the reader now sees that it has to call ``job.interrupt``
                self._slots.stall(stream)
                self._report((), False)  # noqa: FBT003 - there may be a place now
                return
            stream.has_stalled = False
        started = self.since = self.busy_since = self._clock()
        self.current = job
        try:
            if job.called_off is None and self.fatal is None:
                stream.push(next(steps))
                return
            self._close(stream)
            failure = None if self.fatal is None else Failure(WorkerFailed())
        except StopIteration:
            failure = self._lateness(job)
        except BaseException as error:  # noqa: BLE001 - as above
            failure = self._failure(error)
        finally:
            now = self._clock()
            self._rest(started, now)
            stream.spent += now - started
        stream.steps = None
        job.ended_at = self.since
        job.operation.service_time.add(stream.spent)
        stream.end(failure)
        self._slots.leave(stream)
        self._report((), False)  # noqa: FBT003 - there may be a place now

    def _rest(self, started: float, now: float) -> None:
        """Note that the thread is idle, after it was busy from ``started`` to ``now``."""
        self.current, self.since, self.busy_since = None, now, None
        self.busy += now - started

    def _close(self, stream: Stream[Job]) -> None:
        """End a stream's call early; whatever it raises then concerns no caller."""
        try:
            if stream.steps is not None:
                stream.steps.close()
        except BaseException as error:
            if self._is_fatal(error):
                self.fatal = error
            logger.exception(
                "%s raised an exception while it was closed early", stream.job.operation.name
            )
