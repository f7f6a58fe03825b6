"""The GPU thread: the only thread that touches a model.

It runs one group or batch, if one was handed over, and then lets the open streams advance by one
round, in turns. ``stream_slots`` limits the open streams, ``rounds`` says how they advance, and
when the next round is due.
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
from potassium.engine.rounds import Rounds
from potassium.engine.steps import Steps
from potassium.engine.stream import Stream
from potassium.engine.stream_slots import StreamSlots
from potassium.engine.thread_status import ThreadStatus
from potassium.engine.unreported import Unreported
from potassium.errors import DeadlineExceeded, WorkerFailed

__all__ = ["Worker"]

# Jobs that are done are reported after this time at the latest, even in the middle of a group,
# so that a job that turns out slow does not hold back the answers of those before it.
REPORT_INTERVAL = 0.001  # seconds

logger = logging.getLogger("potassium")


class Worker(ThreadStatus):
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
        super().__init__(is_fatal=is_fatal, clock=clock)
        self.started = False
        self._begin_batch = begin_batch
        self._report = report
        self._streams = streams
        self._inbox: queue.SimpleQueue[Sequence[Job] | Stream[Job] | None] = queue.SimpleQueue()
        self.unreported = Unreported()  # of the running group
        self._slots = StreamSlots()
        self._rounds = Rounds(self, self._slots, self._changed)
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

    def run(self) -> None:
        """Run what is in the inbox until ``stop``; blocks the thread that it is called on."""
        self.started = True
        thread = threading.current_thread()
        name, thread.name = thread.name, "potassium-gpu"
        inbox, slots, rounds = self._inbox, self._slots, self._rounds
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
                if slots.active and (inbox.empty() or rounds.is_due()):
                    rounds.run()
                for job in slots.unparked() if slots.parked else ():
                    self._run_group([job], ends=False)
        finally:
            for stream in slots:
                rounds.close(stream)
            thread.name = name

    def _run_group(self, group: Sequence[Job], *, ends: bool = True) -> None:
        started = now = self.busy_since = self.clock()
        run = self._run_each if group[0].operation.batching is None else self._run_batch
        now = run(group, now)
        self.rest(started, now)
        self._report(self.unreported.take(), ends)

    def _run_each(self, group: Sequence[Job], now: float) -> float:
        """Run jobs one by one; return the time."""
        clock = self.clock
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
            outcome = self.failure(error)
        with self._pushes.opening:  # a thread of the handler's own may be about to send
            self._pushes.running = None
        job.argument = None  # tensors, perhaps, which no later step needs
        if isinstance(outcome, Steps):
            stream = job.stream or self._new_stream(job)
            stream.steps = outcome
            self._slots.enter(stream)
        elif job.stream is not None:  # the handler has pushed chunks
            job.ended_at = self.clock()  # before the loop is told
            job.stream.end(outcome if isinstance(outcome, Failure) else self.lateness(job))
        else:
            job.outcome = outcome
            return
        job.drop_input()  # job and stream refer to each other, and to nothing large

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
                if isinstance(outcome, Failure):
                    self.note_error(outcome.error)
                now = self.since = job.ended_at = self.clock()
                self.unreported.append(job)
                if now - reported > REPORT_INTERVAL and left:
                    self._report(self.unreported.take(), False)  # noqa: FBT003
                    reported = now
            failure = None
        except BaseException as error:  # noqa: BLE001 - as above
            failure = self.failure(error)
        for job in left.values():  # if nothing failed, nobody wanted them any more
            job.outcome = failure or Failure(job.called_off or DeadlineExceeded())
        now = self.clock()
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

    def _changed(self) -> None:
        """Report that there may be a place for another stream."""
        self._report((), False)  # noqa: FBT003 - of none has the outcome come, and no group ends
