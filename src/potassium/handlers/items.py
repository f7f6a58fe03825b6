"""What a handler gets for an item that Python code passes to it."""

from typing import TYPE_CHECKING, Any

from potassium.errors import InvalidInput, UnserializableOutput
from potassium.handlers.arguments import Binding, JsonObject, RawBody
from potassium.handlers.in_process import InProcess
from potassium.http.codec import encode

if TYPE_CHECKING:
    from pydantic import TypeAdapter

    from potassium.engine import Job
    from potassium.http.stream_formats import WireHeaders

__all__ = ["as_body", "bound", "crossing"]

BUFFERS = (bytes, bytearray, memoryview)


def bound(bind: Binding, item: Any, request_id: str, caller: "Job | None") -> tuple[Any, InProcess]:
    """Return a handler's argument for ``item``, and the message that its call is admitted for.

    What pydantic validates is validated as Python data: instances of a model are taken as they
    are, and so are dicts for a handler that takes a dict. A handler that takes the ``Request``
    gets one with the item as its JSON body or, if it is ``bytes``, as its body.

    Raises:
        InvalidInput: the item is not what the handler takes; or it takes the ``Request``, and the
            item cannot be encoded as JSON.

    """
    if bind.adapter is not None:
        argument = _validated(bind.adapter, item)
    elif isinstance(bind, JsonObject):
        if not isinstance(item, dict):
            fault = {"loc": [], "msg": "Input should be a dict", "type": "dict_type"}
            raise InvalidInput(f"This handler takes a dict, not {type(item).__name__}.", [fault])
        argument = item
    else:
        if isinstance(bind, RawBody) and not isinstance(item, BUFFERS):
            raise InvalidInput(f"This handler takes bytes, not {type(item).__name__}.")
        body, headers = as_body(item)
        message = InProcess(request_id, headers, body, caller=caller)
        return bind(message), message
    return argument, InProcess(request_id, [], b"", caller=caller)


def crossing(item: Any, message: InProcess) -> InProcess:
    """Return the message with the item as its body, so that a worker can bind it anew.

    Raises:
        InvalidInput: the item cannot be encoded as JSON.

    """
    if message.raw_headers:  # it has a body already
        return message
    body, headers = as_body(item)
    return InProcess(message.id, headers, body, caller=message.caller)


def as_body(item: Any) -> "tuple[bytes, WireHeaders]":
    """Return the body in which an item is sent, and the headers that go with it.

    Raises:
        InvalidInput: the item cannot be encoded as JSON.

    """
    if isinstance(item, BUFFERS):
        return bytes(item), [(b"content-type", b"application/octet-stream")]
    try:
        return encode(item), [(b"content-type", b"application/json")]
    except UnserializableOutput as error:
        where = error.detail.partition(" as JSON")[2]
        raise InvalidInput(f"The item cannot be encoded as JSON{where}") from error


def _validated(adapter: "TypeAdapter[Any]", item: Any) -> Any:
    import pydantic  # noqa: PLC0415 - only for apps that validate, which have imported it

    try:
        return adapter.validate_python(item)
    except pydantic.ValidationError as error:
        faults = error.errors(include_url=False, include_context=False, include_input=False)
        raise InvalidInput(
            "The item is not what this handler takes; see errors.",
            [{"loc": one["loc"], "msg": one["msg"], "type": one["type"]} for one in faults],
        ) from error  # the traceback shows what is wrong
