"""What an answer becomes: the type that the caller asks for."""

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import httpx

from potassium.client.problems import unexpected
from potassium.errors import MalformedJSON
from potassium.http.codec import decode

if TYPE_CHECKING:
    from pydantic import TypeAdapter

__all__ = ["accepted", "answer_as", "check_type", "value_as"]


def accepted(into: Any) -> str:
    """Return the media types to ask for."""
    return "*/*" if into is bytes or into is httpx.Response else "application/json"


def check_type(into: Any) -> None:
    """Raise an error before a call is sent for nothing.

    Raises:
        TypeError: pydantic does not know ``into``, or a name in it.

    """
    if into is None or into is bytes or into is httpx.Response:
        return
    from pydantic.errors import (  # noqa: PLC0415 - as below
        PydanticUndefinedAnnotation,
        PydanticUserError,
    )

    try:
        adapter = _adapter(into)
        if not adapter.pydantic_complete:
            adapter.rebuild()
    except (PydanticUserError, PydanticUndefinedAnnotation) as error:
        raise TypeError(f"into={into!r} is not a type for pydantic: {error.message}") from error


def answer_as(into: Any, response: httpx.Response) -> Any:
    """Return the body of a response as ``into``: its bytes, the response itself, or from JSON.

    Raises:
        UnexpectedAnswer: the body is not JSON, or not of this type.

    """
    if into is bytes:
        return response.content
    if into is httpx.Response:
        return response
    media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if response.content and not (media_type.endswith(("/json", "+json"))):
        shown = media_type or "of no known type"
        raise unexpected(
            f"The answer is {shown}, not JSON: into=bytes gives the body, and into=httpx.Response "
            "the whole response.",
            response,
        )
    if into is None and not response.content:
        return None
    return value_as(into, response.content, response)


def value_as(into: Any, data: bytes, response: httpx.Response | None) -> Any:
    """Return the value of a JSON document as ``into``; as it is, if that is None.

    Raises:
        UnexpectedAnswer: it is not JSON, or not of this type.

    """
    if into is bytes:
        return data
    try:
        if into is None:
            return decode(data)
        return _adapter(into).validate_json(data)
    except MalformedJSON as error:
        raise unexpected(f"The answer is not JSON. {error.detail}", response) from None
    except ValueError as error:  # pydantic's
        raise unexpected(f"The answer does not match into=: {error}", response) from error


def _adapter(into: Any) -> "TypeAdapter[Any]":
    return _adapter_of(into, repr(into))  # A | B equals B | A, but is another type for pydantic


@lru_cache(256)
def _adapter_of(into: Any, _: str) -> "TypeAdapter[Any]":
    from pydantic import TypeAdapter  # noqa: PLC0415 - only for callers that ask for a type

    return TypeAdapter(into)
