"""How a request is bound to a handler's second argument, determined once from its signature."""

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, get_args, get_origin

from potassium.errors import UsageError
from potassium.handlers.arguments import NO_FIELDS, Binding, JsonObject, RawBody, WholeRequest
from potassium.handlers.parameters import UnusableError, parameters_of
from potassium.http.request import Request

__all__ = ["binding_of", "check_prepared"]

RIGHT_FORM = """\
Write it with two parameters, the cache and the input:

    def handler(cache: dict, json_in: dict) -> dict: ...        # the JSON object
    def handler(context: dict, request: Request) -> Response: ...  # the whole request
    def handler(cache: dict, body: bytes): ...                  # the raw body
    def handler(cache: dict, file: File): ...                   # one file
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
    function: Callable[..., Any],
    *,
    batched: bool = False,
    is_step: bool = False,
    reads_query: bool = False,
) -> Binding:
    """Return what turns a request into the second argument of ``function``.

    The argument's annotation decides: none or ``dict`` takes the JSON object, ``Request`` the
    whole request, ``bytes`` the raw body, anything else the value validated by pydantic.

    Args:
        function: a handler, or a step that prepares its input.
        batched: whether the argument is a list of inputs, one for each request in the batch.
        is_step: whether to bind the last argument instead, with or without the cache before it.
        reads_query: whether there are GET requests, of which the query is bound.

    Raises:
        UsageError: the signature has none of these forms; the message shows the right one.

    """
    with _right_form(function, batched=batched, is_step=is_step):
        annotation = parameters_of(function, least=1 if is_step else 2)[-1].annotation
        return _binding(_of_items(annotation) if batched else annotation, reads_query=reads_query)


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


def _binding(annotation: Any, *, reads_query: bool) -> Binding:
    if annotation is Request:
        return WholeRequest()
    if annotation is bytes or annotation in (inspect.Parameter.empty, dict, dict[str, Any]):
        if reads_query:
            raise UnusableError(NO_FIELDS)
        return RawBody() if annotation is bytes else JsonObject()
    # Only for apps that validate: this costs as much to import as everything else.
    from potassium.handlers.annotated import validated  # noqa: PLC0415

    return validated(annotation, reads_query=reads_query)


def _of_items(annotation: Any) -> Any:
    """Return the annotation of the items of a list."""
    if annotation in (inspect.Parameter.empty, list):
        return dict
    if get_origin(annotation) not in (list, Sequence):
        raise UnusableError(f"its second parameter is {annotation!r}, not a list")
    return next(iter(get_args(annotation)), dict)  # typing.List has none
