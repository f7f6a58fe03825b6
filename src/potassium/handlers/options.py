"""The options of a handler: the one list from which checks and documentation are derived."""

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from types import NoneType
from typing import Annotated, Any, TypedDict, cast, get_args, get_type_hints

from potassium.config import Batch, Rows, check_count, check_options, check_seconds
from potassium.errors import UsageError
from potassium.handlers.functions import is_async

__all__ = ["HandlerOptions", "check_each", "check_together", "documented", "take_path"]

METHODS = ("GET", "POST", "PUT", "PATCH")


def _batch(name: str, value: object) -> None:
    if not isinstance(value, Batch):
        raise UsageError(f"{name}={value!r}: write {name}=Batch(max_size=32).")


def _rows(name: str, value: object) -> None:
    if not isinstance(value, Rows):
        raise UsageError(f"{name}={value!r}: write {name}=Rows(max_size=8).")


def _function(name: str, value: object) -> None:
    if not callable(value):
        raise UsageError(f"{name}={value!r} must be a function.")


def _methods(name: str, value: object) -> None:
    is_list = isinstance(value, list | tuple | set | frozenset)
    if not is_list or not value or any(one not in METHODS for one in cast("list[Any]", value)):
        raise UsageError(f'{name}={value!r}: write {name}=["GET", "POST"]; there are {METHODS}.')


def _names(name: str, value: object) -> None:
    if not isinstance(value, list | tuple) or not all(isinstance(one, str) for one in value):
        raise UsageError(f'{name}={value!r}: write a list of names, as in {name}=["text"].')


def _flag(name: str, value: object) -> None:
    if type(value) is not bool:
        raise UsageError(f"{name}={value!r} must be True or False.")


def _annotation(name: str, value: object) -> None:
    if isinstance(value, str | bytes | int | float | list | dict | set):
        raise UsageError(f"{name}={value!r}: write a type, as in {name}=list[float].")


def _named_values(name: str, value: object) -> None:
    if not isinstance(value, Mapping) or not all(isinstance(one, str) for one in value):
        raise UsageError(f'{name}={value!r}: write a dict, as in {name}={{"short": {{...}}}}.')


def _warmup(name: str, value: object) -> None:
    if isinstance(value, list) and not value:
        raise UsageError(f"{name}=[]: write an input, or a list of at least one.")
    if not callable(value):
        return
    if is_async(value):
        raise UsageError(f"{name}= must be a plain function: write def, not async def.")
    try:
        inspect.signature(value).bind()
    except (TypeError, ValueError):
        raise UsageError(
            f"{name}={value!r} is called without arguments: write a function that takes none and "
            "returns an input, or the input itself."
        ) from None


def _any_value(name: str, value: object) -> None:
    """Leave it to the binding, which knows what the handler takes."""


class HandlerOptions(TypedDict, total=False):
    """The options that ``@app.handler`` and ``@app.background`` take in addition to the path.

    Each is declared with its type, with the function that checks a value other than None, and with
    its default, if that is not None.

    Attributes:
        timeout: maximum seconds for waiting in the queue and running together, after which the
            caller gets 504; defaults to ``Limits.timeout``. For a background job, maximum seconds
            for each attempt, from its start; no limit by default.
        body_size: maximum bytes in a request body; defaults to ``Limits.body_size``.
        concurrency: for ``async def`` only: how many calls run at a time; 1 by default.
        streams: how many streams of this handler take turns on the GPU thread, one step each. Up to
            twice as many are open, if the clients of some do not read. 1 by default.
        step: called on the GPU thread with a list of rows, or with the cache and that list: the
            rows of all streams of this handler that wait at a ``yield Step(row)``. It returns one
            result for each, in order, an exception in place of one that fails.
        rows: how many rows go together at most; all that wait by default.
        batch: call the function with a list of inputs from several calls; it returns one result
            for each, in order.
        prepare: called with the input, or with the cache and the input, in a pool thread, before
            the call waits for the GPU thread; its return value is the handler's input. The
            request is bound to its annotation, not to the handler's.
        finish: called with the handler's return value, or with the cache and that value, in a pool
            thread, after the handler; its return value is the result.
        attempts: maximum number of attempts at a background job that fails, including jobs that
            clients request with ``Prefer: respond-async``; defaults to ``Jobs.attempts``.
        backoff: seconds from the first failure to the next attempt; doubled for each further one.
            Defaults to ``Jobs.backoff``.
        warmup: an input, or a list of them, or a function without arguments that returns either.
            The handler is run with each of them once ``init`` has loaded the model, before the
            server is ready; if it is batched, with a full batch too. If it fails, the start fails.
        methods: the methods that the handler answers: ``["GET", "POST"]``; POST only by default. Of
            a GET, the query is bound instead of the body. GET includes HEAD.
        output: what a call returns, or each chunk of a stream, for the schema, where the return
            annotation does not say it: ``output=list[float]``, ``output=Iterator[str]``.
        tags: the groups in which the schema shows the handler.
        example: an input, shown in the schema. It must be valid.
        examples: the same for several, by name.
        deprecated: whether the schema tells clients not to use the handler any more.
        route: the path, by the name that it has in Potassium 0.5.

    """

    timeout: Annotated[float | None, check_seconds]
    body_size: Annotated[int | None, check_count]
    concurrency: Annotated[int | None, check_count]
    streams: Annotated[int, check_count, 1]
    step: Annotated[Callable[..., Any] | None, _function]
    rows: Annotated[Rows | None, _rows]
    batch: Annotated[Batch | None, _batch]
    prepare: Annotated[Callable[..., Any] | None, _function]
    finish: Annotated[Callable[..., Any] | None, _function]
    attempts: Annotated[int | None, check_count]
    backoff: Annotated[float | None, check_seconds]
    warmup: Annotated[Any | None, _warmup]
    methods: Annotated[Collection[str], _methods, ("POST",)]
    output: Annotated[Any | None, _annotation]
    tags: Annotated[Sequence[str] | None, _names]
    example: Annotated[Any | None, _any_value]
    examples: Annotated[Mapping[str, Any] | None, _named_values]
    deprecated: Annotated[bool, _flag, False]
    route: Annotated[str | None, _any_value]


PLACEHOLDER = "    options: those of ``HandlerOptions``."  # in a decorator's docstring
DECLARED = get_type_hints(HandlerOptions, include_extras=True)


def check_each(decorator: str, given: HandlerOptions) -> None:
    """Check each of the options given to ``decorator`` on its own.

    Raises:
        UsageError: an option does not exist, or its value is invalid.

    """
    check_options(decorator, given, DECLARED)
    for name, value in given.items():
        annotation, check, *_ = get_args(DECLARED[name])
        if value is not None or NoneType not in get_args(annotation):
            check(name, value)


def take_path(decorator: str, path: str, given: HandlerOptions) -> str:
    """Return the path of a handler, and remove it from the options ``given`` if it is there.

    Raises:
        UsageError: it is not text, or there are two.

    """
    route = given.pop("route", None)
    if route is not None and path != "/":
        raise UsageError(f"{decorator}({path!r}, route={route!r}): give one of the two.")
    found = path if route is None else route
    if not isinstance(found, str):
        raise UsageError(f'{decorator}({found!r}): write a path, such as "/embed".')
    return found


def check_together(function: Callable[..., Any], given: HandlerOptions) -> None:
    """Check that the options suit ``function`` and each other.

    Raises:
        UsageError: an option does not.

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
    if on_loop and (streams != 1 or batch or given.get("step") or any(steps.values())):
        raise UsageError(
            "streams=, step=, batch=, prepare= and finish= are for plain handlers, which run on "
            "the GPU thread: write def, not async def. An async def one does it all itself."
        )
    for name, step in steps.items():
        if callable(step) and is_async(step):
            raise UsageError(
                f"{name}= runs in a thread of the pool: write def {name}(...), not async def. From "
                "it, anyio.from_thread.run(...) calls async functions."
            )
    if steps["finish"] is not None and inspect.isgeneratorfunction(function):
        raise UsageError("finish= is for handlers that return a result, not for generators.")
    if given.get("example") is not None and given.get("examples") is not None:
        raise UsageError("example= and examples=: give one of the two.")
    if batch is not None and streams != 1:
        raise UsageError(
            "streams= and batch=: a batched handler must return its results; it cannot stream."
        )
    _check_step(given, streams)


def _check_step(given: HandlerOptions, streams: int) -> None:
    """Check what belongs to ``step=``.

    Raises:
        UsageError: it would never be called with two rows, or cannot be called.

    """
    step = given.get("step")
    if step is None:
        if given.get("rows") is not None:
            raise UsageError("rows= says how many rows go together in step=, which is missing.")
        return
    if is_async(step):
        raise UsageError("step= runs on the GPU thread: write def, not async def.")
    if streams == 1:
        raise UsageError(
            "step= runs one step of several streams at a time: say of how many, as in streams=16."
        )
    if given.get("finish") is not None:
        raise UsageError("step= is for handlers that stream; finish= is for those that return.")


def documented(decorator: Callable[..., Any]) -> Callable[..., Any]:
    """Show the options of ``decorator`` in ``help()``: in its signature and under ``Args:``."""
    known = []
    for name, declared in DECLARED.items():
        annotation, _, *default = get_args(declared)
        known.append(
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                annotation=annotation,
                default=default[0] if default else None,
            )
        )
    signature = inspect.signature(decorator)
    own = [one for one in signature.parameters.values() if one.kind is not one.VAR_KEYWORD]
    decorator.__signature__ = signature.replace(parameters=[*own, *known])  # type: ignore[attr-defined]
    about = (inspect.getdoc(HandlerOptions) or "").partition("Attributes:\n")[2].rstrip()
    if decorator.__doc__ is not None:  # as under python -OO
        decorator.__doc__ = (inspect.getdoc(decorator) or "").replace(PLACEHOLDER, about)
    return decorator
