"""The calls that a worker process has: how they are made of what arrives, and found again."""

import os
from collections import deque
from collections.abc import Callable, Mapping
from contextvars import copy_context
from types import MappingProxyType
from typing import Any, cast

import orjson

from potassium.engine import Failure, Job, Operation, Stream
from potassium.errors import DiskFailed, PotassiumError
from potassium.handlers.arguments import Binding
from potassium.handlers.handler import Handler
from potassium.http.foreign_reply import ForeignChunks
from potassium.http.message import Message
from potassium.http.spooled import SpooledBody
from potassium.http.stream_formats import StreamFormat
from potassium.workers.background import RemoteRun
from potassium.workers.calls import Arrived, decode_calls
from potassium.workers.link import WorkerLink
from potassium.workers.numbering import numbered
from potassium.workers.traces import continued
from potassium.workers.variables import WorkerVariables

__all__ = ["NOBODY", "Arrivals", "WorkerJob"]

NOBODY: Any = None  # waits for it in this process
NO_TRACE: Mapping[str, str] = MappingProxyType({})


def _call(function: Callable[..., object], *arguments: object) -> None:
    function(*arguments)


class WorkerJob(Job):
    """A call in a worker process.

    Attributes:
        number: its id, as the front has given it.
        slot: its byte in the shared page.
        group: the group that it is part of; None while it is only prepared.
        batch_trace: the headers that continue the trace of its batch.
        is_unprepared: whether the pool has to prepare it before it can run.
        message: what it was admitted for, until it has run, or streams.
        file: its body, if that is in a file, which is closed once it is done.
        on_loop: calls something on the thread that writes its stream, if that is the loop's.

    """

    number = 0
    slot = 0
    group: int | None = None
    batch_trace: Mapping[str, str] = NO_TRACE
    is_unprepared = False
    is_bound = True
    message: Message | None = None
    file: SpooledBody | None = None
    on_loop: Callable[..., object] = staticmethod(_call)
    _form: StreamFormat | None = None
    _has_head = False

    def let_go(self) -> None:
        """Let go of the message, and keep the format of the stream."""
        if self.message is not None:
            self._form = self.message.form
            self.message = None  # in this order: the loop may look in between

    def answer_as(self, form: StreamFormat) -> None:
        """Note the format of a response that sends itself."""
        self._form, self.message = form, None

    @property
    def is_foreign(self) -> bool:
        """Whether a response sends itself, and has begun."""
        return type(self._form) is ForeignChunks

    @property
    def form(self) -> StreamFormat:
        """The format of its chunks."""
        message = self.message
        form = self._form if message is None else message.form
        assert form is not None  # noqa: S101 - it was set before
        return form

    def new_head(self) -> bytes | None:
        """Return the status and headers of its stream, as JSON; None if they were returned."""
        if self._has_head:
            return None
        self._has_head = True
        form = self.form
        headers = [
            (name.decode("latin-1"), value.decode("latin-1")) for name, value in form.headers
        ]
        media_type = form.media_type.decode("latin-1")
        return orjson.dumps([form.status, headers, media_type, self.is_foreign])

    def incomplete(self) -> Failure | None:
        """Return the failure of a stream that has ended in the middle of a character, if it has."""
        try:
            self.form.check_complete()
        except PotassiumError as error:
            return Failure(error)
        return None


class Arrivals:
    """Makes jobs of calls, and keeps them until they are done.

    Args:
        handlers: those of the app, by path.
        link: where background jobs report to.
        open_stream: opens the stream of a job.

    Attributes:
        operations: those of the handlers, by their number.

    """

    def __init__(
        self,
        handlers: Mapping[str, Handler],
        link: WorkerLink,
        open_stream: Callable[[Job], Stream[Job]],
    ) -> None:
        self._link = link
        self._open_stream = open_stream
        self._jobs: dict[int, WorkerJob] = {}
        self._apart: deque[bytes | SpooledBody | None] = deque()  # of calls that are about to come
        self._variables = WorkerVariables(copy_context())
        numbered_ = numbered(handlers)
        self.operations: list[Operation] = [operation for operation, _ in numbered_]
        self._binds = [handler.bind for _, handler in numbered_]
        self._has_step = [operation.prepare is not None for operation in self.operations]
        for operation, bind in zip(self.operations, self._binds, strict=True):
            operation.prepare = _prepare(bind, operation.prepare)

    def group(self, payload: bytes) -> tuple[int, list[WorkerJob]]:
        """Return the number of a group, and its jobs."""
        group, calls, trace = decode_calls(payload)
        jobs = []
        for call in calls:
            job = self._jobs[call.id] if call.is_held else self._new(call)
            job.group, job.slot = group, call.slot
            if trace:
                job.batch_trace = trace
            jobs.append(job)
        return group, jobs

    def attach(self, body: bytes) -> None:
        """Keep the body of a call that is about to come."""
        self._apart.append(body)

    def attach_file(self, descriptor: int | None) -> None:
        """Keep the body of a call that is about to come; None if it could not be passed on."""
        if descriptor is None:
            self._apart.append(None)
            return
        size = os.fstat(descriptor).st_size
        self._apart.append(SpooledBody(os.fdopen(descriptor, "rb", 0), size))

    def took(self, number: int, size: int) -> None:
        """Note that the reader of a stream has taken ``size`` bytes."""
        job = self._jobs.get(number)
        if job is not None and job.stream is not None:
            job.on_loop(job.stream.took, size)

    def call_off(self, number: int, error: BaseException) -> None:
        """Note that nobody wants a call any more."""
        job = self._jobs.get(number)
        if job is None or job.called_off is not None:
            return
        job.called_off = cast("PotassiumError", error)
        if job.group is None and not job.is_unprepared:
            self.forget(job)  # nobody else will
        if job.stream is not None:
            job.on_loop(job.stream.wake)
        if job.interrupt is not None:
            job.interrupt()

    def forget(self, job: WorkerJob) -> None:
        """Forget a job, as it is done."""
        self._jobs.pop(job.number, None)
        if job.file is not None:
            job.file.close()

    def _new(self, call: Arrived) -> WorkerJob:
        background = None
        if call.background is not None:
            background = RemoteRun(call.background, call.id, self._link)
        content = self._apart.popleft() if call.is_apart else call.body
        message = call.message(b"" if content is None else content, background)
        job = WorkerJob(
            self.operations[call.operation],
            None,
            NOBODY,
            call.deadline,
            origin=message,
            open_stream=self._open_stream,
            context=continued(self._variables.context(call.context), call.trace),
        )
        job.number, job.slot, job.cost, job.message = call.id, call.slot, call.cost, message
        job.is_background = background is not None
        if isinstance(content, SpooledBody):
            job.file = content
        self._jobs[call.id] = job
        if content is None:
            job.outcome = Failure(DiskFailed(retry_after=1))
        else:
            self._bind(job, call)
        job.in_pool = job.is_unprepared
        return job

    def _bind(self, job: WorkerJob, call: Arrived) -> None:
        """Bind the argument of a job, unless that is for the pool."""
        bind = self._binds[call.operation]
        if call.is_unbound:
            job.is_bound = False
            job.is_unprepared = True
            return
        job.is_unprepared = self._has_step[call.operation]
        try:
            job.argument = bind(job.origin)
        except Exception as error:  # noqa: BLE001 - from a validator of the app's
            job.outcome = Failure(error)
            job.is_unprepared = False


def _prepare(bind: Binding, step: Callable[[Any], Any] | None) -> Callable[[Any], Any]:
    """Return what prepares a job in the pool: binds it if need be, then takes its step."""

    def prepare(job: Job) -> Any:
        if isinstance(job, WorkerJob) and not job.is_bound:
            job.argument = bind(job.origin)
            job.is_bound = True
        return job.argument if step is None else step(job)

    return prepare
