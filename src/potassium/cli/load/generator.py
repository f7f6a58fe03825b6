"""Calls a server from many connections, as fast as it answers or at a fixed rate."""

import asyncio
import signal
import ssl
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial

from potassium.cli.load.connection import Answer, Connection
from potassium.cli.load.figures import Figures
from potassium.cli.load.target import Target

__all__ = ["Load", "Terms"]

TICK = 0.001  # seconds between two looks at which calls are due
LATE = 0.005  # seconds by which a timer may be late; beyond that, the call is
PAUSE = 0.1  # seconds before a connection is tried again
SWEEP = 0.25  # seconds between two looks for calls that take too long, and between progress lines

Tell = Callable[[Figures, int], object]


@dataclass(frozen=True, kw_only=True)
class Terms:
    """How much is called, and for how long.

    Attributes:
        connections: how many there are at most; each has one call at a time.
        seconds: for which is measured; None if only ``calls`` ends it.
        calls: after how many it ends; None if only ``seconds`` does.
        warmup: seconds before, which do not count.
        rate: calls per second; None for as many as the server answers.
        waits: whether a connection that was refused waits for as long as the server asks.
        timeout: seconds after which a call has failed.

    """

    connections: int
    seconds: float | None
    calls: int | None
    warmup: float
    rate: float | None
    waits: bool
    timeout: float


class Load:
    """Calls a server, and measures.

    Without a rate, each connection calls again once it is answered: a slow answer delays the calls
    that would have come meanwhile, and hides how long they would have taken ("coordinated
    omission"). With a rate, a call is due whether or not there is an answer, and its time counts
    from when it was due.
    """

    def __init__(self, target: Target, terms: Terms, tell: Tell) -> None:
        self._target = target
        self._tls = ssl.create_default_context() if target.is_tls else None
        self._terms = terms
        self._tell = tell
        self._figures = Figures()
        self._idle: deque[Connection] = deque()
        self._backlog: deque[float] = deque()  # when the calls were due that none has sent yet
        self._under_way: set[Connection] = set()
        self._begun = 0
        self._callers: list[asyncio.Task[None]] = []
        self._is_measuring = not terms.warmup
        self._over = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    async def run(self) -> Figures:
        """Return what was measured. Ctrl-C ends it early."""
        with self._ended_by_signal():
            async with asyncio.TaskGroup() as group:
                if self._terms.rate is None:
                    for _ in range(self._terms.connections):
                        self._add_caller(group)
                else:
                    group.create_task(self._keep_pace(self._terms.rate, group))
                group.create_task(self._watch())
                await self._measure()
                self._over.set()
                for caller in self._callers:
                    caller.cancel()
        return self._figures

    async def _measure(self) -> None:
        if self._terms.warmup:
            is_cut = await self._is_over_within(self._terms.warmup)
            self._figures = Figures(is_cut=is_cut)
        self._is_measuring = True
        began, cpu = time.monotonic(), time.process_time()
        if not self._over.is_set():
            in_time = await self._is_over_within(self._terms.seconds)
            self._figures.is_cut = in_time and not self._is_complete
        now = time.monotonic()
        self._figures.seconds = max(now - began, 1e-9)
        self._figures.cpu = (time.process_time() - cpu) / self._figures.seconds
        waits = [one.answer.due for one in self._under_way if one.answer is not None]
        waits = [] if self._is_complete else [*waits, *self._backlog]
        self._figures.unfinished = len(waits)
        self._figures.oldest = max((now - due for due in waits), default=0.0)

    async def _is_over_within(self, seconds: float | None) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._over.wait()
        except TimeoutError:
            return False
        return True

    @property
    def _is_complete(self) -> bool:
        return self._terms.calls is not None and self._figures.ended >= self._terms.calls

    # Connections

    def _add_caller(self, group: asyncio.TaskGroup) -> None:
        self._callers.append(group.create_task(self._keep_open()))

    async def _keep_open(self) -> None:
        """Hold a connection open until it is over; open another one if it closes."""
        target = self._target
        new = partial(Connection, target.request, self._ready, self._ended)
        while not self._over.is_set():
            try:
                async with asyncio.timeout(self._terms.timeout):
                    _, connection = await self._loop.create_connection(
                        new, target.host, target.port, ssl=self._tls
                    )
            except (OSError, TimeoutError):
                self._figures.failed["cannot_connect"] += 1
                self._end_if_complete()
                await self._is_over_within(PAUSE)
            else:
                try:
                    await connection.closed
                finally:
                    connection.break_off("ended")

    def _ready(self, connection: Connection) -> None:
        """Send the next call on a connection, if one is due."""
        if self._over.is_set() or not connection.is_open:
            return
        now = time.monotonic()
        if self._terms.rate is None:
            due = now
        elif self._backlog:
            due = self._backlog.popleft()
        else:
            self._idle.append(connection)
            return
        self._send(connection, due, now)

    def _send(self, connection: Connection, due: float, now: float) -> None:
        if self._terms.calls is not None and self._begun >= self._terms.calls:
            self._idle.append(connection)
            return
        self._begun += self._is_measuring
        if now - due > LATE:
            self._figures.late += 1
        else:
            due = now
        self._under_way.add(connection)
        connection.begin(due)

    # Answers

    def _ended(self, connection: Connection, answer: Answer, fault: str | None) -> None:
        self._under_way.discard(connection)
        if self._over.is_set():
            return
        self._count(answer, fault)
        self._end_if_complete()
        if answer.is_refusal and self._terms.waits and answer.retry_after:
            self._loop.call_later(answer.retry_after, self._ready, connection)
        else:
            self._ready(connection)

    def _count(self, answer: Answer, fault: str | None) -> None:
        figures = self._figures
        figures.received += answer.received
        if fault is not None:
            figures.failed[fault] += 1
        elif answer.is_success:
            figures.times.append(time.monotonic() - answer.due)
            if answer.chunks:
                figures.chunks += answer.chunks
                figures.firsts.append((answer.first or answer.due) - answer.due)
        elif answer.is_refusal:
            figures.refused[answer.code] += 1
            if answer.retry_after is not None:
                figures.retry_after[answer.retry_after] += 1
        else:
            figures.failed[answer.code] += 1

    def _end_if_complete(self) -> None:
        if self._is_measuring and self._is_complete:
            self._over.set()

    # Time

    async def _keep_pace(self, rate: float, group: asyncio.TaskGroup) -> None:
        """Let calls be due at ``rate``, evenly; open connections as they are needed."""
        began = time.monotonic()
        count = 0
        while not self._over.is_set():
            now = time.monotonic()
            while (due := began + count / rate) <= now:
                count += 1
                connection = self._next_idle()
                if connection is None:
                    self._backlog.append(due)
                else:
                    self._send(connection, due, now)
            if self._backlog and len(self._callers) < self._terms.connections:
                self._add_caller(group)
            await self._is_over_within(max(TICK, due - now))

    def _next_idle(self) -> Connection | None:
        while self._idle:
            connection = self._idle.popleft()
            if connection.is_open:  # the server may have closed it meanwhile
                return connection
        return None

    async def _watch(self) -> None:
        """Fail calls that take too long, and tell how far it is."""
        while not await self._is_over_within(SWEEP):
            latest = time.monotonic() - self._terms.timeout
            for connection in [*self._under_way]:
                if connection.answer is not None and connection.answer.due < latest:
                    connection.break_off("timeout")
            self._tell(self._figures, len(self._under_way) + len(self._backlog))

    @contextmanager
    def _ended_by_signal(self) -> Iterator[None]:
        def end() -> None:
            self._loop.remove_signal_handler(signal.SIGINT)  # a second one interrupts
            self._over.set()

        with suppress(NotImplementedError):  # on Windows, Ctrl-C just interrupts
            self._loop.add_signal_handler(signal.SIGINT, end)
        try:
            yield
        finally:
            with suppress(NotImplementedError):
                self._loop.remove_signal_handler(signal.SIGINT)
