"""``Response``: full control over what is sent."""

import re
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any, Final

from potassium.errors import UsageError

__all__ = ["EMPTY", "FIELD_VALUE", "NOT_GIVEN", "TOKEN", "Response"]

TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
FIELD_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")

EMPTY = (204, 205, 304)  # statuses without content (RFC 9110, section 6.4.1)
NOT_GIVEN: Final = object()  # not None, which is valid JSON


class Response:
    """A complete response: ``Response(status=201, json={"id": 7}, headers={"X-Model": "a"})``.

    Nothing is sent until the handler returns it.

    Attributes:
        status: the HTTP status, 200 to 599.
        json: sent as JSON unless ``body`` is given; any value that a handler may return.
        body: ``bytes`` are sent unchanged, ``str`` in UTF-8, a generator's chunks as a stream.
            Unless ``headers`` sets one, the content type is ``application/octet-stream`` for bytes
            and ``text/plain`` for str.
        headers: sent in addition to those that the server sets.

    Raises:
        UsageError: both ``json`` and ``body`` were given, or the status or a header is invalid.

    """

    __slots__ = ("body", "headers", "json", "status")

    def __init__(
        self,
        status: int = 200,
        json: Any = NOT_GIVEN,
        headers: Mapping[str, str] | None = None,
        body: bytes | str | Iterator[Any] | AsyncIterator[Any] | None = None,
    ) -> None:
        if json is not NOT_GIVEN and body is not None:
            raise UsageError(
                "Response(json=..., body=...): give one of the two. json= is encoded for you, "
                "body= is sent as it is."
            )
        if not isinstance(body, bytes | str | Iterator | AsyncIterator | None):
            raise UsageError(
                f"Response(body=...): bytes, str or a generator, not {type(body).__name__}."
            )
        if type(status) is not int or not 200 <= status <= 599:  # noqa: PLR2004
            raise UsageError(
                f"Response(status={status!r}): the status must be a number from 200 to 599."
            )
        for name, value in (headers or {}).items():
            _check_header(name, value)
        if status in EMPTY and (json is not NOT_GIVEN or body):
            raise UsageError(f"Response(status={status}): this status has no body.")
        self.status = status
        self.json = json
        self.body = body
        self.headers = dict(headers or {})


def _check_header(name: str, value: str) -> None:
    """Check that a header is valid (RFC 9110, section 5).

    Raises:
        UsageError: the name is not a token, or the value is not printable Latin-1 text.

    """
    if not isinstance(name, str) or not TOKEN.fullmatch(name):
        raise UsageError(f"Response(headers=...): {name!r} is not a valid header name.")
    if not isinstance(value, str) or not FIELD_VALUE.fullmatch(value):
        raise UsageError(f"Response(headers=...): the value of {name} is not printable Latin-1.")
