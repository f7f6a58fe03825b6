"""Items that a handler is run with before it is served: ``warmup=``."""

from collections.abc import Awaitable, Callable, Sequence
from itertools import cycle, islice
from typing import Any

from potassium.engine import Job, Operation
from potassium.errors import InvalidInput, PotassiumError, UsageError
from potassium.handlers.examples import why
from potassium.handlers.handler import Handler
from potassium.handlers.items import as_body, bound
from potassium.http.foreign_reply import ForeignReply
from potassium.http.message import Message

__all__ = ["REQUEST_ID", "Rehearse", "bind_items", "items_of", "warm_up"]

REQUEST_ID = "warmup"  # of the request that the handler sees

# Runs an operation with arguments and their messages, together; returns the jobs, which are over.
Rehearse = Callable[[Operation, Sequence[tuple[Any, Message]]], Awaitable[Sequence[Job]]]


def items_of(handler: Handler) -> list[Any]:
    """Return the items of a handler's ``warmup=``; call it, if it is a function.

    Raises:
        BaseException: whatever the function raised.

    """
    given = handler.options.get("warmup")
    found = given() if callable(given) else given
    if found is None:
        return []
    return found if isinstance(found, list) else [found]


def bind_items(handler: Handler, items: Sequence[Any]) -> list[tuple[Any, Message]]:
    """Return the arguments for items, and the messages that they are run for.

    JSON and ``bytes`` are bound as if a client had sent them, any other item as ``app.call`` does.

    Raises:
        UsageError: one of them is not what the handler takes.

    """
    try:
        return [_bound(handler, item) for item in items]
    except Exception as error:  # from a validator of the app's, perhaps
        reason = why(error) if isinstance(error, PotassiumError) else repr(error)
        raise UsageError(
            f"POST {handler.path}: its warmup= is not a valid input: {reason}"
        ) from error


async def warm_up(handler: Handler, items: Sequence[Any], rehearse: Rehearse) -> None:
    """Run a handler with each item alone and, if it is batched, then with a full batch of them.

    A model may compile itself for one item, and again for several.

    Raises:
        BaseException: whatever the handler, or one of its steps, raised.

    """
    costs: list[float] = []
    for call in bind_items(handler, items):
        (job,) = await rehearse(handler.operation, [call])
        costs.append(job.cost)
        outcome = job.future.result()
        if type(outcome) is ForeignReply:
            await outcome.run()
    batching = handler.operation.batching
    if batching is not None and costs:
        size = batching.room(max(costs))
        if size > 1:
            await rehearse(handler.operation, bind_items(handler, [*islice(cycle(items), size)]))


def _bound(handler: Handler, item: Any) -> tuple[Any, Message]:
    scope = {
        "type": "http",
        "method": "POST",
        "path": handler.path,
        "query_string": b"",
        "client": None,
    }
    try:
        body, headers = as_body(item)
    except InvalidInput:  # it is no JSON, such as a picture
        argument, _ = bound(handler.bind, item, REQUEST_ID, None)
        return argument, Message(REQUEST_ID, [], b"", scope)
    message = Message(REQUEST_ID, headers, body, scope)
    return handler.bind(message), message
