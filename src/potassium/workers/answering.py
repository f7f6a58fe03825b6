"""What the front does for handlers in its workers: it answers questions, and posts webhooks."""

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import Context, copy_context
from typing import Any

import orjson

from potassium.engine import Failure, Job
from potassium.handlers.in_process import ON_THREAD
from potassium.http.reply import Reply
from potassium.http.request import CURRENT, request_of
from potassium.workers.asking import Question
from potassium.workers.frames import ToWorker
from potassium.workers.notes import NUMBER
from potassium.workers.outcomes import encode_answer
from potassium.workers.remote import RemoteWorker
from potassium.workers.traces import continued

__all__ = ["Answering"]


class Answering:
    """Answers each question in a task of its own, and posts. Belongs to the event loop.

    The task has the context of the call that asks, so that its request id, its variables and its
    trace go on.

    Args:
        answer: returns the answer to a question, or raises.
        post: posts a webhook.

    """

    def __init__(
        self,
        answer: Callable[[Question], Awaitable[Reply]],
        post: Callable[[str, bytes, str], object],
    ) -> None:
        self._answer = answer
        self._post = post
        self._tasks: dict[tuple[RemoteWorker, int], asyncio.Task[None]] = {}

    def begin(self, worker: RemoteWorker, payload: bytes) -> None:
        """Begin to answer a question."""
        number = NUMBER.unpack_from(payload)[0]
        question = Question.of(payload, NUMBER.size)
        given = None if question.caller is None else worker.calls.get(question.caller)
        context = Context() if given is None else _context_of(given.job)
        task = asyncio.get_running_loop().create_task(
            self._run(worker, number, question),
            name="potassium-answer",
            context=continued(context, question.trace),
        )
        self._tasks[worker, number] = task
        task.add_done_callback(lambda _: self._tasks.pop((worker, number)))

    def cancel(self, worker: RemoteWorker, payload: bytes) -> None:
        """Note that nobody wants an answer any more."""
        task = self._tasks.get((worker, NUMBER.unpack(payload)[0]))
        if task is not None:
            task.cancel()

    def post(self, _: RemoteWorker, payload: bytes) -> None:
        """Post a webhook that a handler has sent."""
        at = NUMBER.size + NUMBER.unpack_from(payload)[0]
        url, request_id, trace = orjson.loads(payload[NUMBER.size : at])
        continued(copy_context(), trace).run(self._post, url, payload[at:], request_id)

    def gone(self, worker: RemoteWorker) -> None:
        """Note that a worker has ended."""
        for (asker, _), task in self._tasks.items():
            if asker is worker:
                task.cancel()

    async def close(self) -> None:
        """Cancel what is left, and wait for its end."""
        for task in self._tasks.values():
            task.cancel()
        while self._tasks:
            await asyncio.wait([*self._tasks.values()])

    async def _run(self, worker: RemoteWorker, number: int, question: Question) -> None:
        try:
            outcome: Any = await self._answer(question)
        except Exception as error:  # noqa: BLE001 - raised again in the worker
            outcome = Failure(error)
        worker.send(ToWorker.ANSWER, *encode_answer(number, outcome))


def _context_of(job: Job) -> Context:
    """Return a context of what a call does; see ``caller_of``."""
    context = job.context.copy()
    if job.operation.batching is not None:
        context.run(ON_THREAD.set, job)
    elif job.origin is not None:
        context.run(CURRENT.set, request_of(job))
    return context
