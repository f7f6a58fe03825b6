"""What a worker process does: it runs the calls that arrive, and sends their outcomes."""

import asyncio
import logging
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import orjson

from potassium.config import Limits
from potassium.engine import Failure, Job, Operation, Stream, Unfinished
from potassium.engine.bridge import Bridge
from potassium.engine.pipeline import receive
from potassium.engine.push_room import PushRoom
from potassium.engine.rehearsal import rehearse
from potassium.engine.side_pool import SidePool
from potassium.engine.threads import Threads
from potassium.handlers.accelerator import is_fatal
from potassium.handlers.handler import Handler
from potassium.handlers.thread_defaults import thread_defaults
from potassium.http.codec import encode
from potassium.http.foreign_reply import ForeignReply
from potassium.workers.arrivals import Arrivals, WorkerJob
from potassium.workers.failures import decode_failure, encode_failure
from potassium.workers.frames import FromWorker, ToWorker, frame
from potassium.workers.groups import Groups
from potassium.workers.link import WorkerLink
from potassium.workers.notes import NUMBER, TAKEN
from potassium.workers.outcomes import encode_outcome
from potassium.workers.page import Page
from potassium.workers.paged_worker import PagedWorker
from potassium.workers.responses import Responses
from potassium.workers.telling import Figures, end_of, is_result, part_of, ran

__all__ = ["BROKEN", "UNUSABLE", "Inside"]

POOL_THREADS = 4
UNUSABLE = 70  # exit status of a worker whose accelerator is lost
BROKEN = 71  # exit status of a worker that has received what it cannot read

logger = logging.getLogger("potassium")


class Inside:
    """Runs the handlers of an app for the front.

    A thread of its own reads what arrives and hands it to the GPU thread or, where something has
    to be prepared, to the pool first. The event loop sends the chunks of streams, and hosts the
    threads, so that ``anyio.from_thread`` works in handlers. Outcomes are sent by the threads that
    make them.

    Args:
        handlers: those of the app, by path.
        link: the socket to the front.
        page: the memory that is shared with it.
        run: runs a function that the front has sent the name of, on the GPU thread.
        answered: is given the front's answers to what handlers have asked.
        max_output: maximum bytes of the output of a background job.

    Attributes:
        worker: what the GPU thread runs.

    """

    def __init__(  # noqa: PLR0913 - what differs between apps
        self,
        handlers: Mapping[str, Handler],
        limits: Limits,
        link: WorkerLink,
        page: Page,
        *,
        run: Callable[[bytes], Any],
        answered: Callable[[bytes], object],
        max_output: int,
    ) -> None:
        self._run = run
        self._link = link
        self._loop = asyncio.get_running_loop()
        self._is_over = asyncio.Event()
        self._threads = Threads(self._tell_loop, thread_defaults(), lost=self._lost)
        streams = Bridge[Stream[Job]](self._tell_loop, self._hear)
        room = PushRoom(limits)
        self.worker = PagedWorker(
            page,
            lambda: self._groups.skipped(),  # noqa: PLW0108 - which come later
            self._report,
            streams,
            room,
            is_fatal=is_fatal,
        )
        self._pool = SidePool(
            POOL_THREADS,
            self._tell_loop,
            prepared=lambda job: self._groups.prepared(job),  # noqa: PLW0108 - which come later
            finished=self._finished,
        )
        self._arrivals = Arrivals(handlers, link, self.worker.open_stream)
        self._responses = Responses(streams, self._finished, max_output)
        self._groups = Groups(self.worker, self._pool, self._arrivals, link, self._done)
        self._figures = Figures(self._arrivals.operations)
        self._is_ready = False
        self._receivers: dict[int, Callable[[bytes], object]] = {
            ToWorker.CALLS: self._groups.take,
            ToWorker.PREPARE: self._groups.prepare,
            ToWorker.CALL_OFF: self._call_off,
            ToWorker.TAKEN: lambda payload: self._arrivals.took(*TAKEN.unpack(payload)),
            ToWorker.BODY: self._arrivals.attach,
            ToWorker.FILE: lambda _: self._arrivals.attach_file(link.next_file()),
            ToWorker.RECALL: lambda payload: self._groups.give_back(*NUMBER.unpack(payload)),
            ToWorker.RUN: self._run_order,
            ToWorker.ANSWER: answered,
            ToWorker.COLLECT: lambda _: self._send(self.worker.unreported.take()),
            ToWorker.STOP: lambda _: self._tell_loop(self._is_over.set),
        }

    async def load(self, init: Operation) -> bool:
        """Load the model; return False, and tell the front why, if that fails."""
        self._threads.start("potassium-gpu", self.worker)
        job = Job(init, None, self._loop.create_future())
        self.worker.hand_over([job])
        outcome = await job.future
        for number in range(POOL_THREADS):
            self._threads.start(f"potassium-pool-{number}", self._pool)
        return self.passed(outcome)

    async def rehearse(
        self, operation: Operation, calls: Sequence[tuple[Any, Any]]
    ) -> Sequence[Job]:
        """Run an operation before there are calls; see ``Pipeline.rehearse``."""
        worker = self.worker
        return await rehearse(operation, calls, worker.open_stream, self._pool, worker.hand_over)

    def passed(self, outcome: object) -> bool:
        """Return whether something before the first call went well; if not, tell the front why."""
        if type(outcome) is not Failure:
            return True
        self._link.send(frame(FromWorker.NOT_LOADED, encode_failure(outcome.error)))
        self._link.flush()
        return False

    async def run(self, about: Mapping[str, Any]) -> None:
        """Run calls until the front has no more; ``about`` is what it is told of this process."""
        self._is_ready = True
        self._link.send(frame(FromWorker.READY, orjson.dumps(about)))
        threading.Thread(target=self._read, name="potassium-receive", daemon=True).start()
        await self._is_over.wait()
        await self._responses.wait()
        self.worker.stop()
        self._pool.stop()
        await self._threads.wait([], None)
        self._link.flush()

    def _read(self) -> None:
        try:
            self._link.run(lambda kind, payload: self._receivers[kind](payload))
        except BaseException:
            logger.critical("a worker cannot go on", exc_info=True)
            os._exit(BROKEN)
        os._exit(0)  # the front is gone, and with it everybody who waits

    def _call_off(self, payload: bytes) -> None:
        number = NUMBER.unpack_from(payload)[0]
        self._arrivals.call_off(number, decode_failure(payload[NUMBER.size :]))

    def _run_order(self, order: bytes) -> None:
        """Run a function on the GPU thread, behind what that has already."""
        self._groups.run(Operation("broadcast", lambda _: encode(self._run(order))))

    def _report(self, done: Sequence[Job], ended: bool) -> None:  # noqa: FBT001
        """Send what has become of jobs; called on the GPU thread."""
        if not self._is_ready:
            self._tell_loop(self._settle, done)
            return
        fatal = self.worker.fatal
        if fatal is not None:  # another worker can run what has not begun
            done = [job for job in done if job.began_at is not None]
        more = self._figures.new_ceiling(done[0].operation) if done else []
        more += self._figures.changed_slots()
        if ended:
            more += self._groups.ended()
        self._send(done, more)
        if fatal is not None:
            self._end(fatal)

    def _send(self, done: Sequence[Job], more: Sequence[bytes] = ()) -> None:
        """Send the outcomes of jobs, those that are still to be finished later; and more."""
        buffers, unfinished = self._outcomes(done)
        buffers += more
        if buffers:
            self._link.send(buffers)
        for job in unfinished:
            job.in_pool = True
            self._pool.finish(job)

    def _outcomes(self, done: Sequence[Job]) -> tuple[list[bytes], list[WorkerJob]]:
        """Return frames with the outcomes of jobs, and the jobs whose outcome is still to come."""
        buffers: list[bytes] = []
        unfinished: list[WorkerJob] = []
        for job in done:
            outcome = job.outcome
            if not isinstance(job, WorkerJob):
                buffers += ran(job)
            elif type(outcome) is Unfinished or (job.operation.finish and is_result(job)):
                unfinished.append(job)
            else:
                buffers += self._ready(job)
        return buffers, unfinished

    def _settle(self, done: Sequence[Job]) -> None:
        """Settle what was run before there are calls, or finish its results first."""
        for job in done:
            kind = type(job.outcome)
            if kind is Failure or (job.operation.finish is None and kind is not Unfinished):
                job.settle()
            else:
                self._pool.finish(job)

    def _finished(self, job: Job) -> None:
        if not isinstance(job, WorkerJob):
            job.settle()
            return
        if job.called_off is not None:
            job.outcome = None  # the pool has left it unfinished
        if buffers := self._ready(job):
            self._link.send(buffers)

    def _ready(self, job: WorkerJob) -> list[bytes]:
        """Return the frame that tells the outcome of a job; none if that still sends itself."""
        if type(job.outcome) is ForeignReply:
            self._tell_loop(self._responses.begin, job)
            return []
        return self._done(job)

    def _done(self, job: WorkerJob) -> list[bytes]:
        """Return the frame that tells the outcome of a job, and forget the job."""
        self._arrivals.forget(job)
        buffers = frame(FromWorker.DONE, *encode_outcome(job.number, job))
        job.outcome = None
        job.drop_input()
        return buffers

    def _hear(self, stream: Stream[Job]) -> None:
        """Send what a stream has for its reader; called on the loop."""
        job = stream.job
        if not isinstance(job, WorkerJob):
            receive(stream)  # its reader is here
            return
        ended = stream.has_ended  # before the chunks: the last ones are pushed before it is set
        chunks = stream.pass_on()
        buffers = part_of(job, chunks)
        if ended and not stream.is_reported:
            stream.is_reported = True
            self._arrivals.forget(job)
            buffers += end_of(stream, job)
        if buffers:
            self._link.send(buffers)

    def _tell_loop(self, callback: Callable[..., object], *args: object) -> None:
        with suppress(RuntimeError):  # it was closed
            self._loop.call_soon_threadsafe(callback, *args)

    def _lost(self, why: str) -> None:
        self._end(RuntimeError(why))

    def _end(self, why: BaseException) -> None:
        """End the process, as one of its threads has ended, or the accelerator is lost."""
        self._link.send(frame(FromWorker.UNUSABLE, encode_failure(why)))
        self._link.flush()
        logging.shutdown()  # what handlers have logged may still be on its way
        os._exit(UNUSABLE)
