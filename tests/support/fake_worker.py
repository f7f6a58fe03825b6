"""A worker process without a process: a test is what happens in it."""

import asyncio
import itertools
import socket
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import orjson

from potassium.engine import Failure, Job
from potassium.http.reply import JSON, Reply
from potassium.workers.arrivals import NOBODY
from potassium.workers.calls import Arrived, decode_calls
from potassium.workers.failures import decode_failure, encode_failure
from potassium.workers.frames import FromWorker, Splitter, ToWorker, frame
from potassium.workers.notes import COST, END, NUMBER, SLOTS, TAKEN, encode_chunks
from potassium.workers.outcomes import encode_outcome, times_of
from potassium.workers.page import Page
from potassium.workers.process import Start, WorkerProcess

__all__ = ["FakeCall", "FakeWorker", "Spawner"]

SIGKILL = -9


class FakeCall(Job):
    """A call that a fake worker has.

    Attributes:
        number: its id.
        slot: its byte in the page.
        name: the id of its request.
        body: the content of its request.
        operation_number: the number of its operation.
        group: the number of its group; None while it is only prepared.
        is_open: whether it streams.
        off: why nobody wants it any more, as the worker was told.
        taken: the bytes of its stream that the worker knows to be taken.

    """

    def __init__(self, arrived: Arrived, group: int | None) -> None:
        super().__init__(NOBODY, None, NOBODY, arrived.deadline)
        self.number, self.slot, self.cost = arrived.id, arrived.slot, arrived.cost
        self.operation_number = arrived.operation
        self.name = str(arrived.description[0]) if arrived.description else ""
        self.body = arrived.body
        self.group = group
        self.is_prepared = False
        self.is_open = self.has_head = False
        self.off: BaseException | None = None
        self.taken = 0


class FakeWorker:
    """Both sides of a ``WorkerProcess``: the front's, and what a process would do.

    It takes calls in, begins, ends and loses them only when a test says so. What it sends goes into
    the socket at once, unless it ``is_mute``; then, it waits in its memory, and dies with it.

    Args:
        start: how it was to be started.
        ended: told the status when it ends.
        clock: the time that it writes into the page.

    Attributes:
        pid: a number of its own.
        socket: the front's end.
        page: the memory that both share.
        was_killed: whether the front has killed it.
        is_alive: whether it has not ended.
        calls: those that it has, by number.
        groups: those that it has, first the one that it runs.
        running: the call that it runs, or those of the batch.
        stalled: the streams that have no turns.
        begun: the names of the calls that it has begun, in order.
        returned: the numbers of the groups that it has given back.
        recalled: the numbers of those that it was asked for, each time.
        is_stopping: whether the front has told it to end.

    """

    pids = itertools.count(1)

    def __init__(
        self, start: Start, ended: Callable[[int], object], clock: Callable[[], float]
    ) -> None:
        self._handlers = start.handlers
        self.pid = next(self.pids)
        self.socket, self._its = socket.socketpair()
        self._its.setblocking(False)
        self.page = Page()
        self.page.since, self.page.busy_since = clock(), None
        self.was_killed = False
        self.is_alive = self.has_socket = True
        self.is_loaded = self.is_mute = self.is_stopping = False
        self.calls: dict[int, FakeCall] = {}
        self.groups: list[tuple[int, list[FakeCall]]] = []
        self.preparing: list[FakeCall] = []
        self.running: list[FakeCall] = []
        self.finishing: list[FakeCall] = []
        self.parked: list[FakeCall] = []
        self.begun: list[str] = []
        self.errands: list[bytes] = []
        self.returned: set[int] = set()
        self.recalled: list[int] = []
        self._begun_groups: set[int] = set()
        self._ended = ended
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._splitter = Splitter()
        self._unsent = bytearray()
        self._slots: dict[int, tuple[int, int, int]] = {}
        self.stalled: list[FakeCall] = []

    # What the front does with it.

    def kill(self) -> None:
        """End it soon, as SIGKILL does."""
        self.was_killed = True
        self._loop.call_soon(self.die, SIGKILL)

    # What it is sent.

    def hear(self) -> bool:
        """Take in what has arrived; return whether that was anything."""
        heard = False
        while self.has_socket:
            try:
                size = self._its.recv_into(self._splitter.room())
            except (BlockingIOError, ConnectionResetError):
                break
            if not size:
                break
            for kind, payload in self._splitter.frames(size):
                heard = True
                self._receive(kind, payload)
        return heard

    def _receive(self, kind: int, payload: bytes) -> None:  # noqa: C901 - one branch for each kind
        if kind == ToWorker.CALLS:
            number, arrived, _ = decode_calls(payload)
            self.groups.append((number, [self._take(one, number) for one in arrived]))
        elif kind == ToWorker.PREPARE:
            _, arrived, _ = decode_calls(payload)
            self.preparing += [self._take(one, None) for one in arrived]
        elif kind == ToWorker.CALL_OFF:
            call = self.calls.get(NUMBER.unpack_from(payload)[0])
            if call is not None and call.off is None:
                call.off = decode_failure(payload[NUMBER.size :])
                if call.group is None and call.is_prepared:
                    del self.calls[call.number]
        elif kind == ToWorker.TAKEN:
            number, size = TAKEN.unpack(payload)
            if number in self.calls:
                self.calls[number].taken += size
        elif kind == ToWorker.RECALL:
            self.recalled.append(NUMBER.unpack(payload)[0])
            self._give_back(self.recalled[-1])
        elif kind == ToWorker.RUN:
            self.errands.append(payload)
        elif kind == ToWorker.STOP:
            self.is_stopping = True

    def _take(self, arrived: Arrived, group: int | None) -> FakeCall:
        call = self.calls[arrived.id] if arrived.is_held else FakeCall(arrived, group)
        call.group, call.slot = group, arrived.slot
        self.calls[call.number] = call
        return call

    def _give_back(self, number: int) -> None:
        """Give a group back unless it has begun; its turn comes all the same, and passes."""
        calls = next((calls for group, calls in self.groups if group == number), None)
        if calls is not None and number not in self._begun_groups:
            for call in calls:
                del self.calls[call.number]
            calls.clear()
            self.returned.add(number)
            self.send(FromWorker.RETURNED, NUMBER.pack(number))
            self._end_groups()

    # What it does.

    def load(self, handlers: Sequence[str] | None = None) -> None:
        """Be ready to serve, with the handlers that the front has, or with these."""
        self.is_loaded = True
        told = self._handlers if handlers is None else handlers
        self.send(FromWorker.READY, orjson.dumps({"handlers": told}))

    def fail_to_load(self, error: BaseException) -> None:
        """Tell that ``init`` has raised; the process then has to ``die``."""
        self.send(FromWorker.NOT_LOADED, encode_failure(error))

    def prepared(self, *, cost: float = 1, error: BaseException | None = None) -> FakeCall:
        """End the preparation of the oldest call that is being prepared."""
        call = self.preparing.pop(0)
        if error is not None or call.off is not None:
            call.outcome = None if error is None else Failure(error)
            self._done(call)
        else:
            call.is_prepared = True
            self.send(FromWorker.PREPARED, COST.pack(call.number, cost))
        return call

    @property
    def next_calls(self) -> list[FakeCall]:
        """What is left of the group that is next."""
        return self.groups[0][1] if self.groups else []

    def begin(self, *, together: int = 1) -> list[FakeCall]:
        """Begin the next call, or so many of a batch; those that nobody wants are passed over."""
        assert not self.running
        now = self._clock()
        while self.groups:
            number, calls = self.groups[0]
            self._begun_groups.add(number)
            while calls and len(self.running) < together:
                call = calls.pop(0)
                if call.is_unwanted(now) or call.off is not None:
                    call.outcome = None
                    self._done(call)
                else:
                    self.running.append(call)
            if self.running:
                break
            self._end_groups()
        for call in self.running:
            self.page.begin(call.slot)
            self.begun.append(call.name)
            call.began_at, call.batch_size = now, len(self.running)
        if self.running:
            self.page.current = self.running[0].number
            self.page.since = self.page.busy_since = now
        return self.running

    def finish(self, *, error: BaseException | None = None) -> list[FakeCall]:
        """End what it runs; each call returns the id of its request."""
        calls = self.running
        for call in calls:
            call.outcome = Failure(error) if error is not None else _reply(call)
            call.ended_at = self._clock()
            self._done(call)
        self._rest()
        return calls

    def fail_early(self, call: FakeCall, error: BaseException) -> None:
        """Fail to prepare a call of a group that has not begun."""
        for _, calls in self.groups:
            if call in calls:
                calls.remove(call)
        call.outcome = Failure(error)
        self._done(call)
        self._end_groups()

    def open(self) -> FakeCall:
        """Let the call that it runs become a stream."""
        (call,) = self.running
        call.is_open = True
        self._count(call, 1, 0, 0)
        self._rest()
        return call

    def park(self) -> FakeCall:
        """Let the next call wait until it may open a stream."""
        number, calls = self.groups[0]
        self._begun_groups.add(number)
        call = calls.pop(0)
        self.parked.append(call)
        self._count(call, 0, 0, 1)
        self._end_groups()
        return call

    def unpark(self) -> FakeCall:
        """Begin the first call that waits so, and let it become a stream."""
        call = self.parked.pop(0)
        self._count(call, 1, 0, -1)
        self.page.begin(call.slot)
        self.begun.append(call.name)
        call.began_at, call.is_open = self._clock(), True
        return call

    def hand_to_pool(self) -> FakeCall:
        """Let the result of the call that it runs be finished elsewhere, and go on."""
        (call,) = self.running
        call.ended_at = self._clock()
        self.finishing.append(call)
        self._rest()
        return call

    def finished(self) -> FakeCall:
        """Have finished the oldest such result."""
        call = self.finishing.pop(0)
        call.outcome = _reply(call)
        self._done(call)
        return call

    def push(self, call: FakeCall, *chunks: bytes) -> None:
        """Send chunks of a stream."""
        if not call.has_head:
            call.has_head = True
            head = orjson.dumps([200, [], "application/x-ndjson", False])
            self.send(FromWorker.HEAD, NUMBER.pack(call.number), times_of(call), head)
        self.send(FromWorker.CHUNKS, *encode_chunks(call.number, chunks))

    def stall(self, call: FakeCall) -> None:
        """Give the turns of a stream to another one."""
        self.stalled.append(call)
        self._count(call, 0, 1, 0)

    def end(self, call: FakeCall, error: BaseException | None = None) -> None:
        """End a stream."""
        call.ended_at = self._clock()
        del self.calls[call.number]
        was_stalled = call in self.stalled
        if was_stalled:
            self.stalled.remove(call)
        self.send(
            FromWorker.END,
            END.pack(call.number, 0, 0.0, 0),
            times_of(call),
            b"" if error is None else encode_failure(error),
        )
        self._count(call, -1, -was_stalled, 0)

    def ran(self, answer: Any = None) -> None:
        """Have run the oldest errand."""
        self.errands.pop(0)
        self.send(FromWorker.RAN, b"\0", orjson.dumps(answer))

    def tell_unusable(self, error: BaseException) -> None:
        """Tell that the accelerator is lost; the process then has to ``die``."""
        self.send(FromWorker.UNUSABLE, encode_failure(error))

    def close_socket(self) -> None:
        """Close its end, and live on."""
        if self.has_socket:
            self.has_socket = False
            self._its.close()

    def die(self, status: int = SIGKILL) -> None:
        """End, with what is unsent; does nothing if it has ended."""
        if self.is_alive:
            self.is_alive = False
            self.close_socket()
            self._ended(status)

    @property
    def streams(self) -> list[FakeCall]:
        """The streams that are open."""
        return [call for call in self.calls.values() if call.is_open]

    def send(self, kind: FromWorker, *parts: bytes) -> None:
        """Send a frame, or keep it."""
        self._unsent += b"".join(frame(kind, *parts))
        if not self.is_mute:
            self.speak()

    def speak(self) -> None:
        """Send what was kept."""
        self.is_mute = False
        if self.has_socket:
            self._its.sendall(self._unsent)
        self._unsent.clear()

    def _done(self, call: FakeCall) -> None:
        del self.calls[call.number]
        self.send(FromWorker.DONE, *encode_outcome(call.number, call))

    def _rest(self) -> None:
        now = self._clock()
        if self.page.busy_since is not None:
            self.page.busy += now - self.page.busy_since
        self.running = []
        self.page.current, self.page.since, self.page.busy_since = 0, now, None
        self._end_groups()

    def _end_groups(self) -> None:
        while self.groups and not self.running and not self.groups[0][1]:
            number, _ = self.groups.pop(0)
            if number not in self.returned:
                self.send(FromWorker.GROUP_DONE, NUMBER.pack(number))

    def _count(self, call: FakeCall, opened: int, stalled: int, parked: int) -> None:
        number = call.operation_number
        before = self._slots.get(number, (0, 0, 0))
        now = before[0] + opened, before[1] + stalled, before[2] + parked
        self._slots[number] = now
        self.send(FromWorker.SLOTS, SLOTS.pack(number, *now))


class Spawner:
    """Starts fake workers: a ``Spawn``.

    Attributes:
        workers: all that were started, in order.
        starts: how each was to be started.
        error: raised instead of starting the next one.

    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.workers: list[FakeWorker] = []
        self.starts: list[Start] = []
        self.error: OSError | None = None
        self._clock = clock

    def __call__(self, start: Start, ended: Callable[[int], object]) -> WorkerProcess:
        if self.error is not None:
            raise self.error
        worker = FakeWorker(start, ended, self._clock)
        self.workers.append(worker)
        self.starts.append(start)
        return worker  # type: ignore[return-value] # it has the same face

    def __iter__(self) -> Iterator[FakeWorker]:
        """Return those that live."""
        return (worker for worker in self.workers if worker.is_alive)


def _reply(call: FakeCall) -> Reply:
    return Reply(200, orjson.dumps(call.name), JSON)
