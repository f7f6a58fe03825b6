"""Makes a handler an operation, which the engine runs on the GPU thread or the event loop."""

import asyncio
import inspect
import time
import traceback
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

from potassium.engine import Batching, Failure, Job, Operation, Unfinished
from potassium.errors import UsageError
from potassium.handlers.accelerator import free_memory, is_out_of_memory, out_of_memory, to_host
from potassium.handlers.arguments import argument_of
from potassium.handlers.batch_run import BatchRun
from potassium.handlers.cache import Cache
from potassium.handlers.functions import is_async
from potassium.handlers.generators import AsyncGeneratorSteps, GeneratorSteps
from potassium.handlers.in_process import ON_THREAD, InProcess, Value, outcome_of
from potassium.handlers.mistakes import SUSPECTS, Mistakes, check_awaited
from potassium.handlers.options import HandlerOptions
from potassium.handlers.parameters import UnusableError, parameters_of
from potassium.handlers.returns import Presenter, presenter_of
from potassium.handlers.rewind import rewind
from potassium.handlers.shared_step import SharedSteps, shared_step_of
from potassium.http.reply import Reply, wire_headers
from potassium.http.request import CURRENT, request_of
from potassium.http.response import Response
from potassium.http.results import is_bound, set_aside, takes_a_while

__all__ = ["operation_of"]

NO_STREAM = "batch=: a batched handler must return its results; it cannot stream."

Answer = Callable[[Job, Any], Any]  # makes of a result what the engine takes
Function = Callable[[Any], Any]  # a handler or one of its steps, already given the cache


def operation_of(
    name: str, function: Callable[..., Any], options: HandlerOptions, cache: Cache
) -> Operation:
    """Return the operation that the engine runs for calls of ``function``.

    The ``origin`` of its jobs is a ``Message``; their argument is what was bound from it.

    Raises:
        UsageError: ``prepare`` or ``finish`` takes neither one argument nor the cache and one.

    """

    def handle(argument: Any) -> Any:
        return function(cache.contents, argument)

    prepare, finish, batch = options.get("prepare"), options.get("finish"), options.get("batch")
    is_list = batch is not None and finish is None
    last = function if finish is None else finish
    present = presenter_of(last, batched=is_list)
    mistakes = Mistakes(name, last, batched=is_list)
    if is_async(function):
        run = _run_on_loop(handle, present, mistakes)
        return Operation(name, run, concurrency=options.get("concurrency") or 1)
    batching = None if batch is None else Batching(batch)
    answer: Answer = _answering(present, mistakes)
    if finish is not None or batching is not None:
        answer = _keep if finish is not None else _keep_or_encode
    finished: Function | None = None
    if finish is not None:
        finished = _step("finish", finish, cache)
    elif batching is not None:
        finished = _as_it_is  # encoding a batch's results need not hold up the GPU
    step, is_generator = options.get("step"), inspect.isgeneratorfunction(function)
    return Operation(
        name,
        _run(handle, answer) if batching is None else _run_batch(handle, answer, batching),
        streams=options.get("streams", 1),
        shared_step=step
        and shared_step_of(name, _step("step", step, cache), options, begins_at_once=is_generator),
        may_stream=batching is None and is_generator,
        batching=batching,
        prepare=None if prepare is None else _prepare(_step("prepare", prepare, cache)),
        cost=None if batching is None or batching.rule.cost is None else _cost(batching),
        finish=None if finished is None else _finish(finished, present, mistakes),
    )


def _run(handle: Function, answer: Answer) -> Callable[[Job], Any]:
    def run(job: Job) -> Any:
        request = request_of(job)
        token = CURRENT.set(request)
        _tell_begun(job)
        argument = argument_of(job, request)
        try:
            try:
                return answer(job, handle(argument))
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                if job.stream is not None:  # a second run would send everything again
                    raise out_of_memory() from error
                traceback.clear_frames(error.__traceback__)  # they hold on to tensors
            free_memory()
            rewind(argument)
            try:
                return answer(job, handle(argument))
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                raise out_of_memory() from error
        finally:
            CURRENT.reset(token)

    return run


def _run_on_loop(
    handle: Function, present: Presenter | None, mistakes: Mistakes
) -> Callable[[Job], Any]:
    async def run(job: Job) -> Any:
        request = request_of(job)
        CURRENT.set(request)  # each call has its own task, and so its own context
        _tell_begun(job)
        result = handle(argument_of(job, request))
        if inspect.isawaitable(result):
            result = await result
        if type(result) in SUSPECTS:
            mistakes.check(job, result)
        result = _presented(job, result, present)
        body = _open_body(job, result)
        if body is None:
            if type(job.origin) is InProcess or not takes_a_while(result):
                return outcome_of(job, result)
            aside = set_aside(result)
            return await asyncio.to_thread(outcome_of, job, result if aside is None else aside)
        if not hasattr(type(body), "__anext__"):
            raise UsageError("An async handler streams from an async generator, not a plain one.")
        return AsyncGeneratorSteps(body, job.origin.form)

    return run


def _run_batch(
    handle: Function, answer: Answer, batching: Batching
) -> Callable[[Sequence[Job]], Iterator[tuple[int, Any]]]:
    def run(jobs: Sequence[Job]) -> Iterator[tuple[int, Any]]:
        token = ON_THREAD.set(jobs[0])
        for job in jobs:
            _tell_begun(job)
        batch = BatchRun(
            handle,
            [argument_of(job, request_of(job)) for job in jobs],
            weight=lambda part: batching.weight(len(part), max(jobs[i].cost for i in part)),
            ceiling=batching.ceiling,
            is_wanted=lambda index: not jobs[index].is_unwanted(time.monotonic()),
        )
        try:
            for index, result in batch.outcomes():
                yield index, _outcome_in_batch(jobs[index], result, answer)
        finally:
            ON_THREAD.reset(token)

    return run


def _outcome_in_batch(job: Job, result: Any, answer: Answer) -> Any:
    if isinstance(result, Failure):
        return result
    try:
        if _open_body(job, result) is not None:
            raise UsageError(NO_STREAM)  # noqa: TRY301 - one more that cannot be sent
        return answer(job, result)
    except Exception as error:  # noqa: BLE001 - it cannot be sent
        return Failure(error)


def _answering(present: Presenter | None, mistakes: Mistakes) -> Answer:
    def answer(job: Job, result: Any) -> Any:
        if type(result) is dict and present is None and job.stream is None:
            return outcome_of(job, result)
        if type(result) in SUSPECTS:
            mistakes.check(job, result)
        return _answer(job, _presented(job, result, present))

    return answer


def _answer(job: Job, result: Any) -> Any:
    """Return a handler's result as the engine takes it: a reply, a stream's steps, or None."""
    was_sent_to = job.stream is not None
    if type(result) is dict and not was_sent_to:
        return outcome_of(job, result)
    if was_sent_to and type(result) is Response:
        raise UsageError("A Response after request.send() is too late: the headers are sent.")
    body = _open_body(job, result)
    if body is not None:
        if not hasattr(type(body), "__next__"):
            raise UsageError("A plain handler streams from a plain generator, not an async one.")
        if job.operation.shared_step is not None:
            return SharedSteps(body, job)
        return GeneratorSteps(body, job.origin.form)
    if not was_sent_to:
        aside = None if type(job.origin) is InProcess else set_aside(result)
        return (
            outcome_of(job, result) if aside is None else Unfinished(lambda: outcome_of(job, aside))
        )
    if result is not None:
        request_of(job).send(result)
    return None


def _presented(job: Job, result: Any, present: Presenter | None) -> Any:
    """Return a result as its annotation says; a caller in the process gets it as it is."""
    return result if present is None or type(job.origin) is InProcess else present(result)


def _keep(job: Job, result: Any) -> Any:
    """Return a result in host memory, for the step that finishes it off the GPU thread."""
    check_awaited(job.operation.name, result)
    if _open_body(job, result) is not None:
        raise UsageError("finish= is for handlers that return; this one returned a generator.")
    return to_host(result)


def _keep_or_encode(job: Job, result: Any) -> Any:
    """Return one of a batch's results for the pool, unless it must be encoded here."""
    return outcome_of(job, result) if is_bound(result) else _keep(job, result)


def _open_body(job: Job, result: Any) -> Any:
    """Return the iterator from which a result streams, or None if it does not stream."""
    kind = type(result)
    if kind is Response:
        body = result.body
        if not isinstance(body, Iterator | AsyncIterator):
            return None
        job.origin.answer_with(result.status, wire_headers(result.headers))
        return body
    return result if hasattr(kind, "__next__") or hasattr(kind, "__anext__") else None


def _prepare(step: Function) -> Callable[[Job], Any]:
    def prepare(job: Job) -> Any:
        request = request_of(job)
        token = CURRENT.set(request)
        try:
            prepared = step(argument_of(job, request))
        finally:
            CURRENT.reset(token)
        check_awaited("prepare=", prepared)
        return prepared

    return prepare


def _cost(batching: Batching) -> Callable[[Job], float]:
    return lambda job: batching.cost_of(argument_of(job, request_of(job)))


def _finish(
    step: Function, present: Presenter | None, mistakes: Mistakes
) -> Callable[[Job, Any], Reply | Value]:
    def finish(job: Job, result: Any) -> Reply | Value:
        if isinstance(result, Reply | Value):
            return result
        token = CURRENT.set(request_of(job))
        try:
            finished = step(result)
            if type(finished) in SUSPECTS:
                mistakes.check(job, finished)
            finished = _presented(job, finished, present)
            if _open_body(job, finished) is not None:
                raise UsageError("finish= must return the answer; it cannot stream.")
            return outcome_of(job, finished)
        finally:
            CURRENT.reset(token)

    return finish


def _tell_begun(job: Job) -> None:
    if job.origin.background is not None:
        job.origin.background.began()


def _as_it_is(result: Any) -> Any:
    return result


def _step(name: str, function: Callable[..., Any], cache: Cache) -> Function:
    """Return a step of one argument, whether or not the app's function takes the cache."""
    try:
        parameters = parameters_of(function, least=1, evaluate=False)
    except UnusableError as error:
        raise UsageError(
            f"{name}= takes one argument, or the cache and one: {error}. Write it as "
            f"def {name}(value) or def {name}(cache: dict, value)."
        ) from error.__cause__
    if len(parameters) == 1:
        return function
    return lambda value: function(cache.contents, value)
