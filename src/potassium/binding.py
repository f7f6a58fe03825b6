"""How a request becomes a handler's second argument, decided once from its signature."""

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from potassium.errors import InvalidInput, MalformedJSON, UsageError
from potassium.http import Request

if TYPE_CHECKING:
    from pydantic import TypeAdapter

__all__ = ["Bind", "binding_of"]

Bind = Callable[[Request], Any]

RIGHT_FORM = """\
Write it with two parameters, the cache and the input:

    def handler(cache: dict, json_in: dict) -> dict: ...        # the JSON object
    def handler(context: dict, request: Request) -> Response: ...  # the whole request
    def handler(cache: dict, body: bytes): ...                  # the raw body
    def handler(cache: dict, item: Item): ...                   # what pydantic validates"""


def binding_of(function: Callable[..., Any]) -> Bind:
    """Return the function that turns a request into the second argument of ``function``.

    The annotation decides: none or ``dict`` takes the JSON object, ``Request`` the whole
    request, ``bytes`` the raw body, anything else the JSON value that pydantic made of it.

    Raises:
        UsageError: the signature is none of these; the message shows the right form.

    """
    annotation = _annotation(function)
    if annotation is Request:
        return _whole_request
    if annotation is bytes:
        return _raw_body
    if annotation in (inspect.Parameter.empty, dict, dict[str, Any]):
        return _json_object
    return _validated(function, annotation)


def _whole_request(request: Request) -> Request:
    return request


def _raw_body(request: Request) -> bytes:
    return request.body


def _json_object(request: Request) -> dict[str, Any]:
    value = request.json
    if type(value) is not dict:
        fault = {"loc": [], "msg": "Input should be an object", "type": "dict_type"}
        raise InvalidInput("The body is JSON, but not an object.", [fault])
    return value


def _validated(function: Callable[..., Any], annotation: Any) -> Bind:
    import pydantic  # noqa: PLC0415 - half as costly to import as the whole rest

    try:
        adapter: TypeAdapter[Any] = pydantic.TypeAdapter(annotation)
    except pydantic.errors.PydanticUserError as error:
        raise _unusable(function, f"pydantic cannot validate {annotation!r}") from error

    def bind(request: Request) -> Any:
        _ = request.json  # 400 and 415 before 422; pydantic's own parser would take NaN
        try:
            return adapter.validate_json(request.body)
        except pydantic.ValidationError as error:
            if error.errors()[0]["type"] == "json_invalid":  # nested deeper than its parser takes
                raise MalformedJSON("The body is nested too deeply.") from None
            faults = error.errors(include_url=False, include_context=False, include_input=False)
            raise InvalidInput(
                "The body is JSON, but not what this handler takes; see errors.",
                [
                    {"loc": fault["loc"], "msg": fault["msg"], "type": fault["type"]}
                    for fault in faults
                ],
            ) from None

    return bind


def _annotation(function: Callable[..., Any]) -> Any:
    """Return the annotation of the second parameter, or ``Parameter.empty``."""
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise _unusable(function, "it yields, and streaming is not supported yet")
    try:
        signature = inspect.signature(function, eval_str=True)
    except NameError as error:
        raise _unusable(
            function, f"{error}; annotations may only use names of the module itself"
        ) from error
    try:
        bound = signature.bind(None, None).arguments
    except TypeError:
        raise _unusable(function, f"it takes {signature}") from None
    if len(bound) != 2:  # noqa: PLR2004 - both went into *args
        raise _unusable(function, f"it takes {signature}")
    return signature.parameters[list(bound)[1]].annotation


def _unusable(function: Callable[..., Any], why: str) -> UsageError:
    name = getattr(function, "__qualname__", repr(function))
    return UsageError(f"{name} cannot be a handler: {why}.\n{RIGHT_FORM}")
