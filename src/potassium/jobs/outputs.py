"""The outputs of jobs on their way to clients."""

import asyncio
from weakref import WeakValueDictionary

from potassium.errors import JobNotFound, StoreFailed
from potassium.jobs.model import Status, StoredJob
from potassium.jobs.store import JobStore

__all__ = ["Output", "Outputs"]

MOST_HELD = 256 * 1024 * 1024  # bytes of outputs in memory; those that are being read come on top
AT_ONCE = 4  # outputs read from the store at a time
RETRY = 1  # seconds after which a client may ask again


class Output:
    """An output in memory, for as long as somebody refers to this object.

    Attributes:
        data: the output, as JSON.

    """

    __slots__ = ("__weakref__", "data")

    def __init__(self, data: bytes) -> None:
        self.data = data


class Outputs:
    """Reads outputs from the store; each is in memory once, however many clients it is sent to."""

    def __init__(self, store: JobStore) -> None:
        self._store = store
        self._held: WeakValueDictionary[str, Output] = WeakValueDictionary()
        self._reading = asyncio.Semaphore(AT_ONCE)

    async def of(self, job: StoredJob) -> Output | None:
        """Return the output of a job, or None if it has none. Whoever sends it must hold on to it.

        Raises:
            JobNotFound: the job has been deleted meanwhile.
            StoreFailed: the store cannot be read, or as many outputs are being sent as memory
                should hold.

        """
        if job.status is not Status.SUCCEEDED:
            return None
        async with self._reading:
            output = self._held.get(job.id)
            if output is None:
                data = await self._read(job.id)
                output = self._held.setdefault(job.id, Output(data))
            return output

    async def _read(self, job_id: str) -> bytes:
        if sum(len(output.data) for output in self._held.values()) >= MOST_HELD:
            raise StoreFailed("Too many outputs of jobs are being sent at the moment.", RETRY)
        data = await self._store.output(job_id)
        if data is None:
            raise JobNotFound("The job has been deleted.")
        return data
