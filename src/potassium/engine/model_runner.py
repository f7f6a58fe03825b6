"""What runs the model for an engine: the GPU thread of this process, or worker processes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from potassium.config import Limits
from potassium.engine.errand import Errand
from potassium.engine.heartbeat import Heartbeat
from potassium.engine.job import Job
from potassium.engine.operation import Operation
from potassium.engine.queue import JobQueue
from potassium.engine.side_pool import SidePool
from potassium.engine.stream import Stream
from potassium.engine.threads import Threads
from potassium.engine.worker_report import WorkerReport
from potassium.errors import PotassiumError

__all__ = ["ModelRunner", "Pulses", "Surroundings"]


@dataclass(kw_only=True)
class Surroundings:
    """What a runner of the model works with.

    Attributes:
        operations: those that use the model.
        jobs: the queue that it is supplied from.
        pool: prepares arguments and finishes results in this process.
        threads: hosts threads.
        limits: those of the app.
        settle: to be called on the loop with jobs that have their outcome.
        prepared: to be called on the loop with a job that was prepared, or has failed to be.
        hear: to be called on the loop with a stream that has something for its reader.
        fail: to be called on the loop, with why, if the model can be run no more.
        begin_batch: to be called with the jobs of each batch before it runs, in its context.
        clock: returns monotonic seconds.

    """

    operations: Sequence[Operation]
    jobs: JobQueue
    pool: SidePool
    threads: Threads
    limits: Limits
    settle: Callable[[Sequence[Job]], object]
    prepared: Callable[[Job], object]
    hear: Callable[[Stream[Job]], object]
    fail: Callable[[str], object]
    begin_batch: Callable[[Sequence[Job]], object]
    clock: Callable[[], float]


class Pulses(Protocol):
    """Whether what runs the model is idle, busy or stuck."""

    def beat(self) -> Heartbeat:
        """Return the heartbeat as of now."""

    @property
    def is_busy(self) -> bool:
        """Whether the model is in use right now."""

    def busy_seconds(self) -> float:
        """Return for how many seconds the model was in use; with several workers, of them all."""

    def under_way(self) -> list[tuple[Job, float]]:
        """Return jobs that are being worked on, and when each last made progress."""


class ModelRunner(Protocol):
    """Runs the jobs of an engine's queue. Belongs to the event loop."""

    @property
    def is_elsewhere(self) -> bool:
        """Whether it runs them in other processes, where ``UNBOUND`` arguments can be bound."""

    @property
    def pulse(self) -> Pulses:
        """Whether it is idle, busy or stuck."""

    @property
    def current(self) -> tuple[Job | None, float]:
        """The job that has been running for the longest, and since when, in monotonic seconds.

        If none is: None, and since when.
        """

    def is_running(self, job: Job) -> bool:
        """Return whether a job is what the model, or one of them, is running right now."""

    @property
    def workers_limit(self) -> int:
        """How many worker processes run the model; 0 if a thread of this process does."""

    def report(self) -> Sequence[WorkerReport]:
        """Return what there is to say of each worker process; reads a file for each of them."""

    @property
    def open_stream(self) -> Callable[[Job], Stream[Job]] | None:
        """Opens the stream of a job that pushes chunks; None if that happens in other processes."""

    async def load(self, job: Job) -> Any:
        """Load the model, as ``job`` says; return the outcome of that, perhaps a ``Failure``.

        Raises:
            BaseException: what was to run it could not be started.

        """

    def watch(self) -> None:
        """Notice from now on when a step of a call makes no progress for too long."""

    def wake(self) -> None:
        """Look at the queue soon."""

    def catch_up(self) -> None:
        """Look at the queue now if a look is due."""

    def prepare(self, job: Job) -> None:
        """Prepare the argument of a job that has a place, and compute its cost."""

    def refusal(self, job: Job) -> PotassiumError | None:
        """Return the error that refuses a job because of what it would do here, or None."""

    async def run_errand(self, errand: Errand) -> list[Any]:
        """Run a function between calls, wherever the model is; return what it returned, each time.

        Cancellation does not end it where it runs.

        Raises:
            PotassiumError: the function has raised this, or the process that ran it has died.
            HandlerError: it has raised anything else, which is the ``__cause__``.

        """

    def note_progress(self, job: Job) -> None:
        """Note that a job, if it is running, goes on; may be called on any thread."""

    def close(self) -> None:
        """Begin nothing more; the jobs in the queue stay there."""

    def stop(self) -> None:
        """End once everything that was begun has been run; see ``end``."""

    async def end(self) -> None:
        """Wait for what ``stop`` has asked to end, apart from threads."""
