"""Functions that are run in every worker between calls, one worker after the other."""

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence
from typing import Any

from potassium.engine import Errand, Failure
from potassium.errors import WorkerDied
from potassium.http.codec import decode
from potassium.workers.failures import decode_failure
from potassium.workers.frames import ToWorker
from potassium.workers.remote import RemoteWorker

__all__ = ["Errands"]

logger = logging.getLogger("potassium")


class Errands:
    """Sends a function to the workers, one after the other, while the others serve.

    A worker first ends what it has, and gets nothing else meanwhile. One that is started later runs
    the latest errand of each name once it has loaded, before it serves: otherwise, it would go on
    with the model that ``init`` loads. Belongs to the event loop.

    Args:
        workers: returns those that serve.

    """

    def __init__(self, workers: Callable[[], Sequence[RemoteWorker]]) -> None:
        self._workers = workers
        self._kept: dict[str, bytes] = {}  # those that new workers have to run
        self._turn = asyncio.Lock()
        self._answers: dict[RemoteWorker, asyncio.Future[Any]] = {}

    def __bool__(self) -> bool:
        """Return whether new workers have anything to run."""
        return bool(self._kept)

    async def run(self, errand: Errand) -> list[Any]:
        """Run ``errand`` in every worker; return its results, in their order.

        It ends with the first worker in which it fails; those after that one are left as they are.

        Raises:
            PotassiumError: the function has raised this, or the worker that ran it has died.
            HandlerError: it has raised anything else.

        """
        told = errand.told()
        async with self._turn:
            results: dict[RemoteWorker, Any] = {}
            while (worker := self._next(results)) is not None:  # also those that come meanwhile
                results[worker] = await self._run(worker, told)
            self._kept.pop(errand.name, None)  # the latest comes last
            self._kept[errand.name] = told
            return list(results.values())

    async def catch_up(self, worker: RemoteWorker) -> Exception | None:
        """Run in a new worker what the others have run; return what it fails with."""
        try:
            ran: list[bytes] = []
            while left := [told for told in self._kept.values() if told not in ran]:
                await self._run(worker, left[0])
                ran.append(left[0])
        except Exception as error:  # noqa: BLE001 - of the app's function
            return error
        return None

    def ran(self, worker: RemoteWorker, answer: bytes) -> None:
        """Note how an errand has ended in a worker."""
        future = self._answers.pop(worker, None)
        if future is None or future.done():
            return
        has_failed, content = answer[0], answer[1:]
        future.set_result(Failure(decode_failure(content)) if has_failed else decode(content))

    def gone(self, worker: RemoteWorker) -> None:
        """Note that a worker has died."""
        future = self._answers.pop(worker, None)
        if future is not None and not future.done():
            future.set_result(Failure(WorkerDied("The worker process that ran this has died.")))

    def _next(self, ran: Collection[RemoteWorker]) -> RemoteWorker | None:
        """Return a worker that is not among these; None if there is none."""
        return next((one for one in self._workers() if one not in ran), None)

    async def _run(self, worker: RemoteWorker, told: bytes) -> Any:
        worker.dispatcher.pause()
        try:
            await worker.dispatcher.rested()
            if worker.dispatcher.is_closed:
                raise WorkerDied("The worker process that was to run this has died.")
            answer = self._answers[worker] = asyncio.get_running_loop().create_future()
            worker.send(ToWorker.RUN, told)
            outcome = await asyncio.shield(answer)
        finally:
            worker.dispatcher.go_on()
        if type(outcome) is Failure:
            raise outcome.to_raise()
        return outcome
