"""The options of a handler: one list of them, from which all else comes."""

import inspect
from collections.abc import Callable
from types import NoneType
from typing import Annotated, Any, TypedDict, get_args, get_type_hints

from potassium.config import Batch, check_count, check_options, check_seconds
from potassium.errors import UsageError
from potassium.handlers.functions import is_async

__all__ = ["HandlerOptions", "check_each", "check_together", "documented"]


def _batch(name: str, value: object) -> None:
    if not isinstance(value, Batch):
        raise UsageError(f"{name}={value!r}: write {name}=Batch(max_size=32).")


def _function(name: str, value: object) -> None:
    if not callable(value):
        raise UsageError(f"{name}={value!r} must be a function.")


class HandlerOptions(TypedDict, total=False):
    """What ``@app.handler`` and ``@app.background`` take beside the path.

    Each is declared with its type and with what checks a value that is not None.

    Attributes:
        timeout: seconds for queueing and running together, after which the caller gets 504;
            ``Limits.timeout`` where not given. Of a background job, seconds for each attempt,
            from its beginning; no limit where not given.
        concurrency: for ``async def``: how many calls run at a time; 1 where not given.
        streams: how many streams of this handler may be open at a time; they take turns on the
            GPU thread, a step each.
        batch: call the function with a list of inputs, of several calls, for which it returns as
            many results.
        prepare: called with the input, or with cache and input, in a thread of a pool, before the
            call waits for the GPU thread; what it returns is the handler's input. Its annotation,
            and not the handler's, says what the input is.
        finish: called likewise with what the handler returned, after that; what it returns is the
            result.
        attempts: how many times a background job that fails is tried, for clients that send
            ``Prefer: respond-async`` too; ``Jobs.attempts`` where not given.
        backoff: seconds from its first failure to the next attempt; they double with each.

    """

    timeout: Annotated[float | None, check_seconds]
    concurrency: Annotated[int | None, check_count]
    streams: Annotated[int, check_count]
    batch: Annotated[Batch | None, _batch]
    prepare: Annotated[Callable[..., Any] | None, _function]
    finish: Annotated[Callable[..., Any] | None, _function]
    attempts: Annotated[int | None, check_count]
    backoff: Annotated[float | None, check_seconds]


PLACEHOLDER = "    options: those of ``HandlerOptions``."  # in the docstring of a decorator
DECLARED = get_type_hints(HandlerOptions, include_extras=True)


def check_each(decorator: str, given: HandlerOptions) -> None:
    """Check the options that ``decorator`` was given, each by itself.

    Raises:
        UsageError: there is no such option, or its value is invalid.

    """
    check_options(decorator, given, DECLARED)
    for name, value in given.items():
        annotation, check = get_args(DECLARED[name])
        if value is not None or NoneType not in get_args(annotation):
            check(name, value)


def check_together(function: Callable[..., Any], given: HandlerOptions) -> None:
    """Check that all options together suit ``function``.

    Raises:
        UsageError: one does not.

    """
    on_loop = is_async(function)
    streams, batch = given.get("streams", 1), given.get("batch")
    steps = {name: given.get(name) for name in ("prepare", "finish")}
    concurrency = given.get("concurrency")
    if concurrency is not None and not on_loop:
        raise UsageError(
            f"concurrency={concurrency} is for async def handlers: there is one GPU thread, and "
            "it runs one call at a time."
        )
    if on_loop and (streams != 1 or batch or any(steps.values())):
        raise UsageError(
            "streams=, batch=, prepare= and finish= are for plain handlers, which run on the GPU "
            "thread; an async def one does it all itself."
        )
    for name, step in steps.items():
        if callable(step) and is_async(step):
            raise UsageError(f"{name}= runs in a thread of the pool: write def, not async def.")
    if steps["finish"] is not None and inspect.isgeneratorfunction(function):
        raise UsageError("finish= is for handlers that return; a generator yields as it goes.")
    if batch is not None and streams != 1:
        raise UsageError("streams= and batch=: a batched handler returns, it does not stream.")


def documented(decorator: Callable[..., Any]) -> Callable[..., Any]:
    """Let ``help()`` show the options of ``decorator``: in its signature, and as its arguments."""
    known = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=get_args(declared)[0])
        for name, declared in DECLARED.items()
    ]
    signature = inspect.signature(decorator)
    own = [one for one in signature.parameters.values() if one.kind is not one.VAR_KEYWORD]
    decorator.__signature__ = signature.replace(parameters=[*own, *known])  # type: ignore[attr-defined]
    about = (inspect.getdoc(HandlerOptions) or "").partition("Attributes:\n")[2].rstrip()
    decorator.__doc__ = (inspect.getdoc(decorator) or "").replace(PLACEHOLDER, about)
    return decorator
