"""How open streams advance: which of them make a step, and when."""

import logging
from collections.abc import Callable
from contextvars import copy_context
from math import inf
from typing import TYPE_CHECKING

from potassium.engine.failure import Failure
from potassium.engine.job import Job
from potassium.engine.shared_step import SharedStep
from potassium.engine.steps import Steps
from potassium.engine.stream import Stream
from potassium.engine.stream_slots import StreamSlots
from potassium.engine.thread_status import ThreadStatus
from potassium.errors import WorkerFailed

if TYPE_CHECKING:
    from potassium.engine.operation import Operation

__all__ = ["Rounds"]

# A stream that makes shared steps sends all that came of one before it waits for the next: several
# chunks in one turn, but no more than these, so that the other streams get theirs.
MOST_CHUNKS = 16

logger = logging.getLogger("potassium")


class Rounds:
    """Lets the open streams advance, in rounds; belongs to the GPU thread.

    In a round, each stream has a turn, in the order in which they entered:

    - A stream whose job was called off is closed, also while it waits for a shared step.
    - A stream whose reader does not keep up stalls: it gets no turns until there is room. It has
      asked for no shared step by then, so nothing advances that it could not send.
    - A stream that waits for a shared step stays where it is.
    - Any other makes one step, up to its next chunk. If its operation has a shared step, it goes
      on until it waits for that, or has sent ``MOST_CHUNKS``.

    Then, for each operation with a shared step, the streams that have waited for it longest make it
    together; the operation says how many (``SharedStep.count``). Each of them has another turn, and
    so sends what came of it at once.

    Between two rounds, the thread runs one group of other calls. If streams have made a step
    together, it goes on for as long as that took: a step that advances many is worth waiting for
    those that are about to join it, and the other calls have half of the thread.

    Args:
        status: what the thread is doing.
        slots: the streams that are open.
        changed: called when there may be a place for another stream.

    """

    def __init__(
        self, status: ThreadStatus, slots: StreamSlots, changed: Callable[[], object]
    ) -> None:
        self._status = status
        self._slots = slots
        self._changed = changed
        # Those that wait for a shared step; the first has waited longest.
        self._waiting: dict[Operation, list[Stream[Job]]] = {}
        self._due_at = -inf  # when the next round has to begin, whoever waits

    def is_due(self) -> bool:
        """Return whether other calls have run for long enough since the last round."""
        return self._status.clock() >= self._due_at

    def run(self) -> None:
        """Run one round."""
        for stream in tuple(self._slots.active):
            self._take_turn(stream)
        spent = 0.0
        for operation, waiting in tuple(self._waiting.items()):
            shared = operation.shared_step
            if shared is None or self._status.fatal is not None:
                continue
            together = waiting[: shared.count([_steps_of(one) for one in waiting])]
            spent += self._step_together(shared, together)
            for stream in together:
                self._take_turn(stream)
        self._due_at = self._status.clock() + spent if spent else -inf

    def close(self, stream: Stream[Job]) -> None:
        """End a stream's call early; whatever it raises then concerns no caller."""
        self._wait_no_more(stream)
        try:
            if stream.steps is not None:
                stream.steps.close()
        except BaseException as error:
            self._status.note_error(error)
            logger.exception(
                "%s raised an exception while it was closed early", stream.job.operation.name
            )

    def _step_together(self, shared: SharedStep, together: list[Stream[Job]]) -> float:
        """Make a shared step; return how many seconds it took."""
        status = self._status
        steps = [_steps_of(one) for one in together]
        started = status.since = status.busy_since = status.clock()
        status.current = together[0].job
        try:
            results = copy_context().run(shared.run, steps, shared.ceiling)
        except BaseException as error:  # noqa: BLE001 - SystemExit must not end the thread either
            results = [status.failure(error).error] * len(steps)
        for one, result in zip(steps, results, strict=True):
            if isinstance(result, BaseException):
                status.note_error(result)
            one.result = result
        now = status.clock()
        status.rest(started, now)
        for stream in together:
            stream.spent += (now - started) / len(together)
            self._wait_no_more(stream)
        return now - started

    def _take_turn(self, stream: Stream[Job]) -> None:
        job, status = stream.job, self._status
        is_wanted = job.called_off is None and status.fatal is None
        if not is_wanted or not stream.waits:
            self._step(stream)
        if job.operation.shared_step is None:
            return
        for _ in range(MOST_CHUNKS - 1):
            if stream.waits or stream.has_stalled or stream.has_ended:
                return
            self._step(stream)

    def _step(self, stream: Stream[Job]) -> None:
        """Let a stream make a step, or leave its slot if it has to."""
        job, steps, status = stream.job, stream.steps, self._status
        assert steps is not None  # noqa: S101 - only generators take turns
        if job.called_off is None and status.fatal is None and stream.is_full:
            stream.has_stalled = True
            if stream.is_full:  # still: the reader now sees that it has to call ``job.interrupt``
                self._slots.stall(stream)
                self._changed()
                return
            stream.has_stalled = False
        started = status.since = status.busy_since = status.clock()
        status.current = job
        try:
            if job.called_off is None and status.fatal is None:
                chunk = next(steps)
                if chunk is None:
                    self._wait(stream)
                else:
                    stream.push(chunk)
                return
            self.close(stream)
            failure = None if status.fatal is None else Failure(WorkerFailed())
        except StopIteration:
            failure = status.lateness(job)
        except BaseException as error:  # noqa: BLE001 - SystemExit must not end the thread either
            failure = status.failure(error)
        finally:
            now = status.clock()
            status.rest(started, now)
            stream.spent += now - started
        stream.steps = None
        job.ended_at = status.since
        job.operation.service_time.add(stream.spent)
        stream.end(failure)
        self._slots.leave(stream)
        self._changed()

    def _wait(self, stream: Stream[Job]) -> None:
        """Let a stream wait for its operation's shared step."""
        stream.waits = True
        self._waiting.setdefault(stream.job.operation, []).append(stream)

    def _wait_no_more(self, stream: Stream[Job]) -> None:
        if stream.waits:
            stream.waits = False
            waiting = self._waiting[stream.job.operation]
            waiting.remove(stream)
            if not waiting:
                del self._waiting[stream.job.operation]


def _steps_of(stream: Stream[Job]) -> Steps:
    assert stream.steps is not None  # noqa: S101 - only generators take turns
    return stream.steps
