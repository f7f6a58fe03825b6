"""A worker that runs on the test's own thread, and jobs whose steps it records."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import Any

from potassium.config import Limits
from potassium.engine.bridge import Bridge
from potassium.engine.job import Job
from potassium.engine.operation import Operation
from potassium.engine.push_room import PushRoom
from potassium.engine.steps import Steps
from potassium.engine.stream import Stream
from potassium.engine.worker import Worker
from support.operations import operation_on

__all__ = ["FakeClock", "Script", "Thread", "streaming", "take_now"]


class FakeClock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Thread:
    """A worker that stops when every job it was given is over.

    ``log`` has what ran, in order; ``during`` has what to call in the middle of an entry of it.
    """

    def __init__(self, *, is_fatal: Callable[[BaseException], bool] = lambda _: False) -> None:
        self.clock = FakeClock()
        self.log: list[str] = []
        self.during: dict[str, Callable[[], object]] = {}
        self.names: set[str] = set()  # of the threads that ran anything
        self.ended = 0  # groups
        self.worker = Worker(
            self._report,
            Bridge(_at_once, self._note),
            PushRoom(Limits()),
            is_fatal=is_fatal,
            clock=self.clock,
        )
        self._open: set[Job] = set()

    def run(self, *groups: Sequence[Job]) -> list[str]:
        for group in groups:
            self.hand_over(group)
        self.worker.run()
        return self.log

    def hand_over(self, group: Sequence[Job]) -> None:
        self._open |= set(group)
        self.worker.hand_over(group)

    def write(self, entry: str) -> None:
        self.log.append(entry)
        self.names.add(threading.current_thread().name)
        self.during.pop(entry, lambda: None)()

    def plain(self, name: str, operation: Operation) -> Job:
        """Return a job that does not stream."""
        return self.job(operation, lambda: self.write(name))

    def stream(self, name: str, operation: Operation, *sizes: int) -> Job:
        """Return a job that streams chunks of ``sizes``."""
        return self.job(operation, lambda: Script(self.write, name, sizes))

    def job(self, operation: Operation, argument: Any) -> Job:
        return Job(operation, argument, asyncio.get_running_loop().create_future())

    def is_open(self, *jobs: Job) -> bool:
        """Return whether some of the jobs are not over."""
        return not self._open.isdisjoint(jobs)

    def _report(self, jobs: Sequence[Job], ended: bool) -> None:
        self.ended += ended
        self._over(*jobs)

    def _note(self, stream: Stream[Job]) -> None:
        stream.wake()
        if stream.has_ended:
            self._over(stream.job)

    def _over(self, *jobs: Job) -> None:
        was_busy = bool(self._open)
        self._open -= set(jobs)
        if was_busy and not self._open:
            self.worker.stop()


class Script(Steps):
    """Writes ``a0``, ``a1``, ... and ``a ends``, or ``a closed``, if its name is a."""

    def __init__(self, write: Callable[[str], object], name: str, sizes: Sequence[int]) -> None:
        self._write = write
        self._name = name
        self._chunks = enumerate(sizes)

    def __next__(self) -> bytes:
        for number, size in self._chunks:
            self._write(f"{self._name}{number}")
            return b"x" * size
        self._write(f"{self._name} ends")
        raise StopIteration

    def close(self) -> None:
        self._write(f"{self._name} closed")


def _at_once(callback: Callable[[], object]) -> None:
    callback()


def streaming(streams: int = 1) -> Operation:
    """Return an operation whose jobs carry the function to run as their argument."""
    return operation_on("stream", lambda argument: argument(), streams=streams)


def take_now(job: Job) -> list[bytes] | None:
    """Take what a job has streamed so far; it must have something."""
    assert job.stream is not None
    taking = job.stream.take()
    try:
        taking.send(None)
    except StopIteration as taken:
        chunks: list[bytes] | None = taken.value
        return chunks
    taking.close()
    raise AssertionError("there is nothing to take")
