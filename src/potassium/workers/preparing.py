"""Which worker prepares a call."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial

from potassium.engine import UNBOUND, Job, Operation
from potassium.engine.model_runner import Surroundings
from potassium.workers.remote import RemoteWorker

__all__ = ["Preparing"]


class Preparing:
    """Lets calls be prepared: by the worker that prepares the fewest, or in this process.

    While no worker serves, they wait for one. Belongs to the event loop.

    Args:
        around: what the workers work with.
        operations: those of the handlers.
        workers: returns those that serve.

    """

    def __init__(
        self,
        around: Surroundings,
        operations: Iterable[Operation],
        workers: Callable[[], Sequence[RemoteWorker]],
    ) -> None:
        self._around = around
        self._workers = workers
        # The cost of a call that has no step of its own is computed here.
        self._remote = {one for one in operations if one.prepare is not None}
        self._waiting: dict[Job, None] = {}

    def prepare(self, job: Job) -> None:
        """Prepare the argument of a job that has a place, unless it was called off."""
        if job.called_off is not None:
            self._around.prepared(job)
        elif job.operation not in self._remote and job.argument is not UNBOUND:
            self._around.pool.prepare(job)
        elif workers := self._workers():
            min(workers, key=lambda one: one.preparing).prepare(job)
        else:
            self._waiting[job] = None
            job.interrupt = partial(self._drop, job)

    @property
    def waiting(self) -> list[Job]:
        """The calls that wait for a worker."""
        return list(self._waiting)

    def go_on(self) -> None:
        """Prepare those that wait, if there is a worker now."""
        if self._waiting:
            waiting, self._waiting = self._waiting, {}
            for job in waiting:
                self.prepare(job)

    def _drop(self, job: Job) -> None:
        """Settle a job that was called off before a worker could prepare it."""
        del self._waiting[job]
        job.interrupt = None
        self._around.prepared(job)
