"""How a request is bound to a handler's second argument, determined once from its signature."""

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, get_args, get_origin

from potassium.errors import InvalidInput, MalformedJSON, UsageError
from potassium.handlers.parameters import UnusableError, parameters_of
from potassium.http.message import Message
from potassium.http.request import Request

if TYPE_CHECKING:
    from pydantic import TypeAdapter, ValidationError

    from potassium.engine import Job

__all__ = ["Bind", "argument_of", "binding_of", "check_prepared"]

MOST_SHOWN = 100  # faults of one body
MOST_FAULTS = 1000  # that are looked at, to show some of them

Bind = Callable[[Message], Any]

# Stands for the request itself, which is built where the job runs. Built earlier, it and the job
# would refer to each other.
WHOLE_REQUEST: Final = object()

RIGHT_FORM = """\
Write it with two parameters, the cache and the input:

    def handler(cache: dict, json_in: dict) -> dict: ...        # the JSON object
    def handler(context: dict, request: Request) -> Response: ...  # the whole request
    def handler(cache: dict, body: bytes): ...                  # the raw body
    def handler(cache: dict, item: Item): ...                   # what pydantic validates"""


BATCH_FORM = """\
Write it with two parameters, the cache and a list of inputs, and return as many results:

    def handler(cache: dict, items: list[Item]) -> list: ...    # each validated by pydantic
    def handler(cache: dict, items: list[dict]) -> list: ...    # JSON objects"""

STEP_FORM = """\
Write it with one parameter, or with the cache before it:

    def prepare(item: Item): ...
    def prepare(cache: dict, item: Item): ..."""


def binding_of(
    function: Callable[..., Any], *, batched: bool = False, is_step: bool = False
) -> Bind:
    """Return the function that turns a request into the second argument of ``function``.

    The argument's annotation decides: none or ``dict`` takes the JSON object, ``Request`` the
    whole request, ``bytes`` the raw body, anything else the JSON value validated by pydantic.

    Args:
        function: a handler, or a step that prepares its input.
        batched: whether the argument is a list of inputs, one for each request in the batch.
        is_step: whether to bind the last argument instead, with or without the cache before it.

    Raises:
        UsageError: the signature has none of these forms; the message shows the right one.

    """
    with _right_form(function, batched=batched, is_step=is_step):
        annotation = parameters_of(function, least=1 if is_step else 2)[-1].annotation
        return _binding(_of_items(annotation) if batched else annotation)


def argument_of(job: "Job", request: Request) -> Any:
    """Return what the function gets that runs for ``job``, which serves ``request``."""
    return request if job.argument is WHOLE_REQUEST else job.argument


def check_prepared(function: Callable[..., Any], *, batched: bool) -> None:
    """Check the signature of a handler whose input is what its ``prepare`` step returns.

    No request is bound to the handler's annotation, so it may be anything.

    Raises:
        UsageError: it does not take the cache and an input, or a list of inputs if ``batched``.

    """
    with _right_form(function, batched=batched):
        annotation = parameters_of(function, least=2)[-1].annotation
        if batched:
            _of_items(annotation)


@contextmanager
def _right_form(
    function: Callable[..., Any], *, batched: bool = False, is_step: bool = False
) -> Iterator[None]:
    """Raise a UsageError that shows the right form if ``function`` turns out to be unusable."""
    form = STEP_FORM if is_step else BATCH_FORM if batched else RIGHT_FORM
    try:
        yield
    except UnusableError as error:
        name = getattr(function, "__qualname__", repr(function))
        kind = "a prepare= step" if is_step else "a batched handler" if batched else "a handler"
        raise UsageError(f"{name} cannot be {kind}: {error}.\n{form}") from error.__cause__


def _binding(annotation: Any) -> Bind:
    if annotation is Request:
        return _whole_request
    if annotation is bytes:
        return _raw_body
    if annotation in (inspect.Parameter.empty, dict, dict[str, Any]):
        return _json_object
    return _validated(annotation)


def _whole_request(_: Message) -> object:
    return WHOLE_REQUEST


def _raw_body(message: Message) -> bytes:
    message.refuse_compressed()
    return message.body


def _json_object(message: Message) -> dict[str, Any]:
    value = message.json
    if type(value) is not dict:
        fault = {"loc": [], "msg": "Input should be an object", "type": "dict_type"}
        raise InvalidInput("The body is JSON, but not an object.", [fault])
    return value


def _validated(annotation: Any) -> Bind:
    import pydantic  # noqa: PLC0415 - costs half as much to import as everything else

    try:
        adapter: TypeAdapter[Any] = pydantic.TypeAdapter(annotation)
    except pydantic.errors.PydanticUserError as error:
        hint = ""
        if getattr(annotation, "__name__", "") == Request.__name__:  # that of another framework
            hint = "; write: from potassium import Request"
        raise UnusableError(f"pydantic cannot validate {annotation!r}{hint}") from error

    def bind(message: Message) -> Any:
        _ = message.json  # 400 and 415 before 422; pydantic's own parser would take NaN
        try:
            return adapter.validate_json(message.body)
        except pydantic.ValidationError as error:
            raise _refusal(error) from None

    return bind


def _refusal(error: "ValidationError") -> InvalidInput | MalformedJSON:
    """Return what a client is told of input that is invalid: 100 faults of it at most."""
    count = error.error_count()
    if count > MOST_FAULTS:  # to list them would take longer than all else, and hold the loop up
        fault = {"loc": [], "msg": f"{count} faults: too many to list", "type": "too_many_faults"}
        return InvalidInput("The body is JSON, but not what this handler takes.", [fault])
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    if faults[0]["type"] == "json_invalid":  # nested deeper than its parser accepts
        return MalformedJSON("The body is nested too deeply.")
    return InvalidInput(
        "The body is JSON, but not what this handler takes; see errors.",
        [
            {"loc": fault["loc"], "msg": fault["msg"], "type": fault["type"]}
            for fault in faults[:MOST_SHOWN]
        ],
    )


def _of_items(annotation: Any) -> Any:
    """Return the annotation of the items of a list."""
    if annotation in (inspect.Parameter.empty, list):
        return dict
    if get_origin(annotation) not in (list, Sequence):
        raise UnusableError(f"its second parameter is {annotation!r}, not a list")
    return next(iter(get_args(annotation)), dict)  # typing.List has none
