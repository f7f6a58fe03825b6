"""One worker process that serves: what it has been given, and what it is told."""

from collections.abc import Callable, Mapping, Sequence
from contextvars import Context
from functools import partial
from typing import Any, Protocol

from potassium.engine import UNBOUND, Job, Operation
from potassium.engine.model_runner import Surroundings
from potassium.errors import WorkerFailed
from potassium.http.spooled import SpooledBody
from potassium.workers.calls import Call, encode_call, encode_group
from potassium.workers.dispatching import WorkerDispatcher
from potassium.workers.failures import encode_failure
from potassium.workers.frames import LARGE, ToWorker, frame
from potassium.workers.given import Given, Remains
from potassium.workers.link import FrontLink
from potassium.workers.notes import NUMBER, TAKEN
from potassium.workers.page import SLOTS
from potassium.workers.process import WorkerProcess
from potassium.workers.traces import trace_of
from potassium.workers.variables import variables_of_process
from potassium.workers.view import WorkerView

__all__ = ["Keeper", "RemoteWorker"]

ACKNOWLEDGED = 128 * 1024  # bytes that a reader takes before the worker is told


class Receiver(Protocol):
    """Handles what a worker sends."""

    def __call__(self, worker: "RemoteWorker", kind: int, payload: bytes, /) -> object:
        """Handle one frame."""


class Keeper(Protocol):
    """The owner of a worker: it has started the process."""

    def loaded(self, about: dict[str, Any]) -> None:
        """Note that the worker has loaded the model; ``about`` is what it tells of itself."""

    def not_loaded(self, error: BaseException) -> None:
        """Note that the app could not be imported in the worker, or that ``init`` has raised."""

    def unusable(self, error: BaseException) -> None:
        """Note that the worker has lost its accelerator, and is about to end."""

    def note_eof(self) -> None:
        """Note that the worker has closed its end of the socket."""


class RemoteWorker(WorkerView):
    """A worker process, as the dispatcher sees it. Belongs to the event loop.

    Args:
        process: the process.
        number_of: the number of each operation.
        around: what it works with.
        receive: is given what it sends.
        look: lets all workers look at the queue soon.
        look_now: lets them look at it at once.
        keeper: its owner.
        homes: the worker that prepares, or has prepared, each call that none has been given.

    Attributes:
        dispatcher: supplies it from the queue.
        has_left: whether its end of the socket is closed; it may live for a moment.

    """

    def __init__(  # noqa: PLR0913 - what it is between
        self,
        process: WorkerProcess,
        number_of: Mapping[Operation, int],
        around: Surroundings,
        *,
        receive: Receiver,
        look: Callable[[], object],
        look_now: Callable[[], object],
        keeper: Keeper,
        homes: "dict[Job, RemoteWorker]",
    ) -> None:
        super().__init__(process.page)
        self.process = process
        self.keeper = keeper
        self.has_left = False
        self.look_at_all, self.look_now = look, look_now
        self.dispatcher = WorkerDispatcher(around.jobs, self, homes=homes, clock=around.clock)
        self._number_of = number_of
        self._begin_batch = around.begin_batch
        self._variables = variables_of_process()
        self._clock = around.clock
        self._last = 0  # number given out
        self._free = list(range(SLOTS))
        self._recalled: set[int] = set()  # groups that are wanted back
        self._homes = homes
        self._link = FrontLink(process.socket, partial(receive, self), self._note_eof)

    @property
    def has_room(self) -> bool:
        """Whether it can keep track of any group or batch more."""
        return len(self._free) > SLOTS // 2

    def hand_over(self, group: Sequence[Job]) -> None:
        """Send a group."""
        self._last = number = self._last + 1
        calls: list[list[bytes]] = []
        members: list[Given] = []
        for job in group:
            given = self.prepared.get(job)
            if given is not None:
                self._leave_home(job)
                given.slot = self._new_slot()
                call = self._encoded(given, is_held=True)
            else:
                if (home := self._homes.get(job)) is not None:
                    home.give_up(job)
                given, call = self._new(job, self._new_slot())
            given.group, given.since = number, self._clock()
            job.interrupt = partial(self._call_off, given)
            calls.append(call)
            members.append(given)
        self.groups[number] = group, members
        trace = self._trace_of_batch(group)
        self._link.send(frame(ToWorker.CALLS, *encode_group(number, calls, trace)))

    def collect(self) -> None:
        """Ask for what is done of the group that it runs."""
        self._link.send(frame(ToWorker.COLLECT))

    def recall(self, group: Sequence[Job]) -> None:
        """Ask for a group back, unless the worker has begun it."""
        for number, (jobs, _) in self.groups.items():
            if jobs is group and number not in self._recalled:
                self._recalled.add(number)
                self._link.send(frame(ToWorker.RECALL, NUMBER.pack(number)))

    def prepare(self, job: Job) -> None:
        """Send a call to be prepared here, and perhaps run."""
        given, call = self._new(job, None)
        self.prepared[job], self._homes[job] = given, self
        job.interrupt = partial(self._call_off, given)
        self._link.send(frame(ToWorker.PREPARE, *encode_group(0, [call])))

    def give_up(self, job: Job) -> None:
        """Forget a call that was prepared here: nobody wants it, or another worker runs it."""
        given = self.prepared[job]
        self.forget(given)
        self._send_off(given, job.called_off or WorkerFailed("Another worker runs it."))

    def unbegun(self) -> list[Job]:
        """Return the calls that it has and has not begun, those that it prepares included."""
        page = self.page
        return [
            given.job
            for given in self.calls.values()
            if given.slot is None or not page.has_begun(given.slot)
        ]

    def may_overtake(self, job: Job) -> bool:
        """Return whether one more may go before a call that was prepared here; count that one."""
        return self.prepared[job].may_be_overtaken()

    def took(self, given: Given, size: int) -> None:
        """Note that the reader of a stream has taken ``size`` bytes."""
        given.untold += size
        if given.untold >= ACKNOWLEDGED:
            self._link.send(frame(ToWorker.TAKEN, TAKEN.pack(given.number, given.untold)))
            given.untold = 0

    def end_group(self, number: int) -> tuple[Sequence[Job], list[Given]] | None:
        """Return a group that is done or given back, and forget it; None if it is not known."""
        self._recalled.discard(number)
        return self.groups.pop(number, None)

    def forget(self, given: Given) -> None:
        """Note that a call is done: its slot can be that of another one."""
        del self.calls[given.number]
        self._leave_home(given.job)
        if given.slot is not None:
            self._free.append(given.slot)
        given.job.interrupt = None

    def send(self, kind: ToWorker, *parts: bytes) -> None:
        """Send a frame."""
        self._link.send(frame(kind, *parts))

    def hear_out(self) -> None:
        """Handle what a process that has ended has sent before, and give it nothing more."""
        self.has_left = True
        self.dispatcher.close()
        self._link.drain()

    def bury(self) -> Remains:
        """Close what belongs to a process that has ended; return what it has left behind."""
        self.hear_out()
        for operation, (opened, stalled, parked) in self.slots.items():
            operation.open_streams -= opened
            operation.stalled_streams -= stalled
            operation.parked_jobs -= parked
        remains = Remains.of(self.calls.values(), self.page)
        for given in self.calls.values():
            self._leave_home(given.job)
        self.calls.clear()
        self.page.close()
        return remains

    def _note_eof(self) -> None:
        self.has_left = True
        self.dispatcher.close()
        self.keeper.note_eof()

    def _leave_home(self, job: Job) -> None:
        """Note that a call is part of a group, or done."""
        if self.prepared.pop(job, None) is not None:
            del self._homes[job]

    def _new_slot(self) -> int:
        slot = self._free.pop()
        self.page.clear(slot)
        return slot

    def _new(self, job: Job, slot: int | None) -> tuple[Given, list[bytes]]:
        self._last += 1
        given = Given(job, self._last, slot, self._clock())
        self.calls[given.number] = given
        content = job.origin.content
        if isinstance(content, SpooledBody):
            self._link.send_file(content)
        elif len(content) > LARGE:
            self._link.send(frame(ToWorker.BODY, content))
        return given, self._encoded(given, is_held=False)

    def _encoded(self, given: Given, *, is_held: bool) -> list[bytes]:
        job = given.job
        return encode_call(
            Call(
                id=given.number,
                slot=given.slot or 0,
                operation=self._number_of[job.operation],
                deadline=job.deadline,
                cost=job.cost,
                message=None if is_held else job.origin,
                context={} if is_held else self._variables.of(job.context),
                trace={} if is_held else trace_of(job.context),
                is_unbound=job.argument is UNBOUND,
            )
        )

    def _trace_of_batch(self, group: Sequence[Job]) -> Mapping[str, str]:
        """Begin a batch for whoever observes it; return the headers that continue its trace."""
        if group[0].operation.batching is None:
            return {}
        context = Context()
        context.run(self._begin_batch, group)
        return trace_of(context)

    def _call_off(self, given: Given) -> None:
        """Tell the worker that nobody wants a call any more; called once it is over."""
        job, error = given.job, given.job.called_off
        if given.group is None and not job.in_pool:  # it waits in the queue, or did
            self.give_up(job)
        elif error is not None and given.number in self.calls:
            self._send_off(given, error)

    def _send_off(self, given: Given, error: BaseException) -> None:
        self._link.send(frame(ToWorker.CALL_OFF, NUMBER.pack(given.number), encode_failure(error)))
