"""What a call of a handler comes to, on the thread or the loop that runs it."""

import inspect
import traceback
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

from potassium.config import Batch
from potassium.engine import Failure, Operation
from potassium.errors import OutOfMemory, UsageError
from potassium.handlers.accelerator import free_memory, is_out_of_memory, to_host
from potassium.handlers.batch_run import BatchRun
from potassium.handlers.generators import AsyncGeneratorSteps, GeneratorSteps
from potassium.http.reply import Reply, reply_to, wire_headers
from potassium.http.request import CURRENT, Request
from potassium.http.response import Response

__all__ = ["Cache", "Call", "operation_of"]

NO_STREAM = "batch=: a batched handler returns, it does not stream."

Cache = dict[str, Any]
Call = tuple[Request, Any]  # what an operation gets: the request, and the argument made of it
Function = Callable[[Any], Any]  # a handler, or a step beside it, with its cache given


def operation_of(  # noqa: PLR0913 - the options of one handler
    name: str,
    function: Callable[..., Any],
    cache: Callable[[], Cache],
    *,
    concurrency: int | None,
    streams: int,
    batch: Batch | None,
    prepare: Callable[..., Any] | None,
    finish: Callable[..., Any] | None,
) -> Operation:
    """Return what the engine runs for calls of ``function``."""

    def handle(argument: Any) -> Any:
        return function(cache(), argument)

    if concurrency is not None:
        return Operation(name, _run_on_loop(handle), concurrency=concurrency)
    if batch is not None and finish is None:
        finish = _as_it_is  # encoding a batch's results need not hold the GPU up
    answer = _answer if finish is None else _keep
    if batch is not None:
        batch = _of_calls(batch)
    operation = Operation(
        name,
        _run(handle, answer),
        streams=streams,
        may_stream=batch is None and inspect.isgeneratorfunction(function),
        batch=batch,
        prepare=None if prepare is None else _prepare(_step("prepare", prepare, cache)),
        finish=None if finish is None else _finish(_step("finish", finish, cache)),
    )
    if operation.batching is not None:
        operation.run = _run_batch(handle, answer, operation)
    return operation


def _run(handle: Function, answer: Callable[[Request, Any], Any]) -> Callable[[Call], Any]:
    def run(call: Call) -> Any:
        request, argument = call
        token = CURRENT.set(request)
        if request.background is not None:
            request.background.began()
        try:
            try:
                return answer(request, handle(argument))
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                if request.was_sent_to:  # running it again would send it all again
                    raise _out_of_memory() from error
                traceback.clear_frames(error.__traceback__)  # they hold on to tensors
            free_memory()
            try:
                return answer(request, handle(argument))
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                raise _out_of_memory() from error
        finally:
            CURRENT.reset(token)

    return run


def _run_on_loop(handle: Function) -> Callable[[Call], Any]:
    async def run(call: Call) -> Any:
        request, argument = call
        CURRENT.set(request)  # each call has a task, and so a context, of its own
        if request.background is not None:
            request.background.began()
        result = handle(argument)
        if inspect.isawaitable(result):
            result = await result
        body = _open_body(request, result)
        if body is None:
            return reply_to(result)
        if not hasattr(type(body), "__anext__"):
            raise UsageError("An async handler streams from an async generator, not a plain one.")
        return AsyncGeneratorSteps(body, request.wire)

    return run


def _run_batch(
    handle: Function, answer: Callable[[Request, Any], Any], operation: Operation
) -> Callable[[Sequence[Call]], Iterator[tuple[int, Any]]]:
    batching = operation.batching
    assert batching is not None  # noqa: S101 - this is for batched operations

    def run(calls: Sequence[Call]) -> Iterator[tuple[int, Any]]:
        for request, _ in calls:
            if request.background is not None:
                request.background.began()
        costs = [1 if request.job is None else request.job.cost for request, _ in calls]
        batch = BatchRun(
            handle,
            [argument for _, argument in calls],
            weight=lambda part: batching.weight(len(part), max(costs[index] for index in part)),
            ceiling=batching.ceiling,
            is_wanted=lambda index: not calls[index][0].cancelled,
        )
        for index, result in batch.outcomes():
            outcome = result
            if not isinstance(result, Failure):
                try:
                    if _open_body(calls[index][0], result) is not None:
                        raise UsageError(NO_STREAM)  # noqa: TRY301 - one more that cannot be sent
                    outcome = answer(calls[index][0], result)
                except Exception as error:  # noqa: BLE001 - it cannot be sent
                    outcome = Failure(error)
            yield index, outcome

    return run


def _answer(request: Request, result: Any) -> Any:
    """Return what the engine is to make of a handler's result: a reply, or a stream's steps."""
    job = request.job
    was_sent_to = job is not None and job.stream is not None
    if type(result) is dict and not was_sent_to:
        return reply_to(result)
    if was_sent_to and type(result) is Response:
        raise UsageError("A Response after request.send(): its status and headers come too late.")
    body = _open_body(request, result)
    if body is not None:
        if not hasattr(type(body), "__next__"):
            raise UsageError("A plain handler streams from a plain generator, not an async one.")
        return GeneratorSteps(body, request.wire)
    if not was_sent_to:
        return reply_to(result)
    if result is not None:
        request.send(result)
    return None


def _keep(request: Request, result: Any) -> Call:
    """Keep a result for the step that finishes it, off the GPU thread."""
    if _open_body(request, result) is not None:
        raise UsageError("finish= is for handlers that return; this one returned a generator.")
    return request, to_host(result)


def _open_body(request: Request, result: Any) -> Any:
    """Return the iterator that a result streams from, or None where it does not."""
    kind = type(result)
    if kind is Response:
        body = result.body
        if not isinstance(body, Iterator | AsyncIterator):
            return None
        request.wire = request.wire.set_by_app(result.status, wire_headers(result.headers))
        return body
    return result if hasattr(kind, "__next__") or hasattr(kind, "__anext__") else None


def _prepare(step: Callable[[Any], Any]) -> Callable[[Call], Call]:
    def prepare(call: Call) -> Call:
        request, argument = call
        token = CURRENT.set(request)
        try:
            return request, step(argument)
        finally:
            CURRENT.reset(token)

    return prepare


def _finish(step: Callable[[Any], Any]) -> Callable[[Call], Reply]:
    def finish(call: Call) -> Reply:
        request, result = call
        token = CURRENT.set(request)
        try:
            finished = step(result)
            if _open_body(request, finished) is not None:
                raise UsageError("finish= returns the answer, it does not stream.")
            return reply_to(finished)
        finally:
            CURRENT.reset(token)

    return finish


def _as_it_is(result: Any) -> Any:
    return result


def _of_calls(batch: Batch) -> Batch:
    """Return a rule whose cost is told a call instead of its argument."""
    if batch.cost is None:
        return batch
    cost = batch.cost
    return Batch(
        max_size=batch.max_size,
        max_delay=batch.max_delay,
        max_cost=batch.max_cost,
        cost=lambda call: cost(call[1]),
    )


def _step(
    name: str, function: Callable[..., Any], cache: Callable[[], Cache]
) -> Callable[[Any], Any]:
    """Return a step of one argument, whether or not the app's function wants the cache."""
    signature = inspect.signature(function)
    for arguments in ((None,), (None, None)):
        try:
            bound = signature.bind(*arguments).arguments
        except TypeError:
            continue
        if len(bound) == len(arguments):
            return function if len(arguments) == 1 else lambda value: function(cache(), value)
    raise UsageError(f"{name}= takes one argument, or the cache and one, not {signature}.")


def _out_of_memory() -> OutOfMemory:
    return OutOfMemory("The accelerator is out of memory.", retry_after=1)
