"""Responses of Starlette's that handlers return in a worker: they send themselves, to the front."""

import asyncio
import logging
from collections.abc import Callable

from starlette.responses import Response
from starlette.types import Message

from potassium.engine import Failure, Job, Stream
from potassium.engine.bridge import Bridge
from potassium.errors import PotassiumError
from potassium.http.foreign_reply import SCOPE, ForeignChunks, ForeignReply
from potassium.http.problem import internal
from potassium.http.stream_formats import JsonChunks
from potassium.workers.arrivals import WorkerJob

__all__ = ["Responses"]

INCOMPLETE = "The response ended before its body was complete."

logger = logging.getLogger("potassium")


class Responses:
    """Runs responses on the worker's event loop, each as the stream of its call.

    Args:
        streams: tells the loop of a stream that has something for the front.
        done: called with a call that has its outcome.
        most: maximum bytes of a response that is sent as a whole.

    """

    def __init__(
        self, streams: Bridge[Stream[Job]], done: Callable[[WorkerJob], object], most: int
    ) -> None:
        self._streams = streams
        self._done = done
        self._most = most
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, job: WorkerJob) -> None:
        """Run the response that is the outcome of ``job``; called on the loop."""
        reply, job.outcome = job.outcome, None
        loop = asyncio.get_running_loop()
        job.on_loop = loop.call_soon_threadsafe
        if type(job.form) is JsonChunks:
            task = loop.create_task(self._collect(job, reply), context=job.context.copy())
            job.interrupt = lambda: loop.call_soon_threadsafe(task.cancel)
        else:
            exchange = Exchange(job, self._streams)
            task = loop.create_task(exchange.run(reply.response), context=job.context.copy())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def wait(self) -> None:
        """Wait until all have ended, and what they do in the background."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _collect(self, job: WorkerJob, reply: ForeignReply) -> None:
        """Make one reply of it, for who does not read a stream."""
        try:
            job.outcome = await reply.collected(self._most)
        except BaseException as error:  # noqa: BLE001 - kept as the outcome, whatever it is
            job.outcome = Failure(error)
        self._done(job)


class Exchange:
    """One response, and its reader in the front."""

    def __init__(self, job: WorkerJob, streams: Bridge[Stream[Job]]) -> None:
        loop = asyncio.get_running_loop()
        self._job = job
        self._streams = streams
        self._stream: Stream[Job] = Stream(job, streams)
        self._file, job.file = job.file, None  # it may be read until the response has ended
        self._has_left = asyncio.Event()
        self._is_complete = False
        job.stream = self._stream
        job.drop_input()
        job.interrupt = lambda: loop.call_soon_threadsafe(self._has_left.set)
        if job.called_off is not None:
            self._has_left.set()

    async def run(self, response: Response) -> None:
        """Send the response, and do what it does afterwards."""
        failure = None
        try:
            await response({**SCOPE}, self._receive, self._send)
        except Exception as error:  # noqa: BLE001 - passed on
            failure = Failure(error if isinstance(error, PotassiumError) else internal(error))
        if self._file is not None:
            self._file.close()
        if not self._is_complete:
            self._stream.end(failure or Failure(internal(RuntimeError(INCOMPLETE))))
        elif failure is not None:
            name = self._job.operation.name
            logger.error("%s: a background task failed", name, exc_info=failure.error.__cause__)

    async def _receive(self) -> Message:
        await self._has_left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if self._job.called_off is not None:
            await asyncio.sleep(0)  # as a server does, it ignores what nobody reads
        elif message["type"] == "http.response.start":
            headers = [(bytes(name), bytes(value)) for name, value in message["headers"]]
            self._job.answer_as(ForeignChunks(message["status"], headers))
            self._streams.send(self._stream)
        elif message["type"] == "http.response.body":
            if body := message.get("body", b""):
                self._stream.push(bytes(body))
            self._is_complete = not message.get("more_body", False)
            if self._is_complete:
                self._stream.end()
            else:
                await self._stream.room()
