"""Runs background jobs as calls of their handlers on the engine."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from http import HTTPStatus

from starlette.exceptions import HTTPException

from potassium.engine import UNBOUND, Engine, Job, Priority, State, Stream
from potassium.errors import (
    DeadlineExceeded,
    Draining,
    InputLost,
    JobCancelled,
    MalformedJSON,
    OutOfMemory,
    PotassiumError,
    Unavailable,
    UnserializableOutput,
    WorkerDied,
    WorkerFailed,
)
from potassium.handlers.handler import Handler
from potassium.handlers.intake import Intake
from potassium.http.codec import decode
from potassium.http.foreign_reply import ForeignReply
from potassium.http.message import Message
from potassium.http.problem import answered, internal, problem_document, problem_reply
from potassium.http.reply import OwnReply, Reply
from potassium.http.request_line import scope_of
from potassium.http.spooled import SpooledBody
from potassium.http.stream_formats import JsonChunks
from potassium.jobs.attempt import Attempt
from potassium.jobs.lanes import lanes_of
from potassium.jobs.outcome import Cancelled, Crashed, Done, Failed, Lane, NotDone, Outcome
from potassium.jobs.room import EVENT_OVERHEAD

__all__ = ["Executor"]

INTERNAL = HTTPStatus.INTERNAL_SERVER_ERROR

logger = logging.getLogger("potassium.jobs")


class Executor:
    """Runs jobs on the engine, among the direct calls.

    Jobs wait in the store. Of those that have not begun, only a few wait in the engine's queue:
    enough to fill a batch, or a fraction of a second of short ones. There they take no places of
    direct calls, which go before them, but no more of them than the queue holds. So a direct call
    waits only for the job that runs, or for its own batch, and a job in the engine's queue begins
    within a bounded time, however many direct calls want a place.

    Args:
        handlers: the handlers of the jobs, by path.
        intake: binds jobs to the handlers' arguments.
        max_output: maximum bytes of the output of a job.
        debug: whether error documents show tracebacks.
        workers: how many worker processes the engine has; 0 if it has a GPU thread.

    Attributes:
        lanes: the jobs that it runs, by what they wait for.

    """

    def __init__(  # noqa: PLR0913 - what jobs run with
        self,
        engine: Engine,
        handlers: Mapping[str, Handler],
        intake: Intake,
        *,
        max_output: int,
        debug: bool,
        workers: int = 0,
    ) -> None:
        self.lanes: Sequence[Lane] = lanes_of(handlers.values(), workers=workers)
        self._engine = engine
        self._handlers = handlers
        self._intake = intake
        self._max_output = max_output
        self._debug = debug

    async def run(self, attempt: Attempt) -> Outcome:
        """Run a job and return its outcome; never raise because of the handler."""
        job = attempt.job
        handler = self._handlers[job.handler]
        try:
            async with self._message(attempt, handler) as message:
                return await self._call(handler, message, attempt)
        except PotassiumError as error:
            is_ending = self._engine.lifecycle.state is not State.READY
            if is_ending and isinstance(error, Draining | WorkerFailed):
                return NotDone()
            return self._failed(error, attempt)
        except Exception as error:  # noqa: BLE001 - of a validator of the app's, or our own
            return self._failed(internal(error), attempt)

    @asynccontextmanager
    async def _message(self, attempt: Attempt, handler: Handler) -> AsyncIterator[Message]:
        """Return the call as a message. A body on disk is open until the job is over."""
        job = attempt.job
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in job.headers]
        scope = scope_of(job.request_line, job.handler)
        stored = job.body
        body = stored if isinstance(stored, bytes) else await asyncio.to_thread(stored.share)
        message = Message(
            job.request_id, headers, body, scope, background=attempt, form=JsonChunks()
        )
        try:
            if isinstance(body, SpooledBody) and handler.bind.needs_memory(message):
                message.content = await self._intake.read(body)
            yield message
        finally:
            if isinstance(body, SpooledBody):
                body.close()

    def _failed(self, error: PotassiumError, attempt: Attempt) -> Outcome:
        request_id = attempt.job.request_id
        reply = problem_reply(answered(error), request_id, debug=self._debug)
        if not reply.body:  # of a status that has none, such as 204
            reply = problem_reply(error, request_id, debug=self._debug)
        if isinstance(error, JobCancelled):
            outcome: Outcome = Cancelled(reply.body)
        else:
            _log(error, attempt, reply)
            outcome = Failed(reply.body, may_retry=_may_retry(error, reply))
        _drop_tracebacks(error)
        return outcome

    async def _call(self, handler: Handler, message: Message, attempt: Attempt) -> Outcome:
        job = await self._admit(handler, message, attempt)
        try:
            outcome = await self._engine.outcome(job)
            if type(outcome) is Stream:
                done = Done(await self._collect(outcome, attempt))
                message.form.check_complete()
            else:
                if isinstance(outcome, ForeignReply):
                    outcome = await outcome.collected(self._max_output)
                done = _done(outcome)
        except WorkerDied as error:
            is_own = error is job.called_off  # not of another call, which the handler has made
            if not is_own or self._engine.lifecycle.state is State.DRAINING:
                raise
            _drop_tracebacks(error)
            return Crashed(problem_document(error, attempt.job.request_id), error.was_alone)
        finally:
            attempt.note_times(job)
        self._check_size(len(done.output))
        return done

    def _check_size(self, size: int) -> None:
        if size > self._max_output:
            raise UnserializableOutput(
                f"The result of a background job may have {self._max_output} bytes at most."
            )

    async def _admit(self, handler: Handler, message: Message, attempt: Attempt) -> Job:
        bind = handler.bind
        if message.size <= bind.at_once or bind.estimate(message).is_quick:
            argument = bind(message)
        elif self._engine.runner.is_elsewhere and handler.operation.concurrency is None:
            argument = UNBOUND
        else:
            argument = await self._intake.argument(bind, message)
        if attempt.is_cancelled:
            raise JobCancelled
        engine = self._engine
        job = engine.admit(
            handler.alone if attempt.job.is_suspect else handler.operation,
            argument,
            priority=Priority.LOW,
            origin=message,
            is_background=True,
        )
        attempt.on_cancel = lambda: engine.call_off(job, JobCancelled())
        attempt.on_progress = lambda: engine.runner.note_progress(job)
        attempt.on_put_off = lambda: engine.call_off(job, Draining("The server is stopping."))
        timeout = handler.options.get("timeout")
        if timeout is not None:
            attempt.on_begin.append(lambda: engine.calls.limit_from_now(job, timeout))
        return job

    async def _collect(self, stream: Stream[Job], attempt: Attempt) -> bytes:
        """Return a JSON list of all chunks; report each one as it arrives."""
        chunks: list[bytes] = []
        size = 0
        stream.on_called_off = attempt.interrupt
        try:
            while (some := await stream.take()) is not None:
                for chunk in some:
                    size += len(chunk) + EVENT_OVERHEAD
                    self._check_size(size)  # before all of it is there: it may have no end
                    chunks.append(chunk)
                    await attempt.chunk(chunk)
        finally:
            self._engine.release(stream)
            stream.on_called_off = stream.failure = None  # it is in a cycle with its job
        return b"[%b]" % b",".join(chunks)


def _done(reply: Reply) -> Done:
    if reply.status >= HTTPStatus.BAD_REQUEST:
        error = internal(
            HTTPException(reply.status, f"The handler returned status {reply.status}.")
        )
        raise error
    if not reply.body and (reply.is_json or not reply.media_type):
        return Done(b"null")
    if not reply.is_json:
        return Done(reply.body, reply.media_type or "application/octet-stream")
    if isinstance(reply, OwnReply):
        try:
            decode(reply.body)
        except MalformedJSON:
            raise UnserializableOutput(
                "The body is not JSON, although its content type says so."
            ) from None
    return Done(reply.body)


def _log(error: PotassiumError, attempt: Attempt, reply: Reply) -> None:
    """Log a failed attempt, whatever its status: no client gets the answer now.

    What the error says of itself needs no traceback.
    """
    job, cause = attempt.job, error.__cause__
    is_told = isinstance(error, Unavailable | DeadlineExceeded) or error.status < INTERNAL
    code = decode(reply.body)["code"]
    logger.error(
        "%s failed: %s (job %s, attempt %d of %d, request %s)",
        job.handler,
        f"{code}: {error.detail}" if is_told else code,
        job.id,
        job.attempts,
        job.attempts_limit,
        job.request_id,
        exc_info=cause or (None if is_told else error),
        extra={"request_id": job.request_id, "handler": job.handler, "job_id": job.id},
    )


def _drop_tracebacks(error: BaseException) -> None:
    """Free what an error was raised over, now that it is logged.

    The frames of its traceback refer to the job, which refers to the error: such a cycle stays
    until the next garbage collection, and with it all that the job worked on.
    """
    chain: list[BaseException] = []
    one: BaseException | None = error
    while one is not None and one not in chain:
        chain.append(one)
        one.__traceback__ = None
        one = one.__cause__ or one.__context__


def _may_retry(error: PotassiumError, reply: Reply) -> bool:
    """Return whether the same call may succeed another time."""
    if isinstance(error, InputLost | UnserializableOutput):
        return False
    return isinstance(error, OutOfMemory) or reply.status >= INTERNAL
