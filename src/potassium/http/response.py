"""``Response``: full control over what is sent."""

import re
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from typing import Any, Final

from potassium.errors import UsageError
from potassium.http.representations.choice import kind_of

__all__ = ["EMPTY", "FIELD_VALUE", "NOT_GIVEN", "TOKEN", "Headers", "Response", "pairs_of"]

Headers = Mapping[str, str] | Iterable[tuple[str, str]]

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
            and ``text/plain`` for str. A picture, a figure, sound, an array or a table is sent in
            the form that the content type names, or that the request prefers.
        headers: sent in addition to those that the server sets; a mapping, or pairs of names and
            values, of which several may have the same name.

    Raises:
        UsageError: both ``json`` and ``body`` were given, or the status or a header is invalid.

    """

    __slots__ = ("body", "headers", "json", "status")

    def __init__(
        self,
        status: int = 200,
        json: Any = NOT_GIVEN,
        headers: Headers | None = None,
        body: Any = None,
    ) -> None:
        if json is not NOT_GIVEN and body is not None:
            raise UsageError(
                "Response(json=..., body=...): give one of the two. json= is encoded for you, "
                "body= is sent as it is."
            )
        if not isinstance(body, bytes | str | Iterator | AsyncIterator | None) and not kind_of(
            body
        ):
            raise UsageError(
                "Response(body=...): bytes, str or a generator, or what is sent as a file, not "
                f"{type(body).__name__}."
            )
        is_number = isinstance(status, int) and not isinstance(status, bool)
        if not is_number or not 200 <= status <= 599:  # noqa: PLR2004
            raise UsageError(
                f"Response(status={status!r}): the status must be a number from 200 to 599."
            )
        kept = dict(headers or {}) if isinstance(headers, Mapping | None) else list(headers)
        for name, value in pairs_of(kept):
            _check_header(name, value)
        if status in EMPTY and not (json is NOT_GIVEN and body in (None, b"", "")):
            raise UsageError(f"Response(status={status}): this status has no body.")
        self.status = int(status)  # it may be an HTTPStatus
        self.json = json
        self.body = body
        self.headers = kept


def pairs_of(headers: Headers) -> Iterable[tuple[str, str]]:
    """Return the names and values of headers.

    Raises:
        UsageError: they are neither a mapping nor pairs.

    """
    pairs = list(headers.items() if isinstance(headers, Mapping) else headers)
    if not all(isinstance(pair, tuple | list) and len(pair) == 2 for pair in pairs):  # noqa: PLR2004
        raise UsageError('Response(headers=...): write a dict, or [("Set-Cookie", "a=1"), ...].')
    return pairs


def _check_header(name: str, value: str) -> None:
    """Check that a header is valid (RFC 9110, section 5).

    Raises:
        UsageError: the name is not a token, or the value is not printable Latin-1 text.

    """
    if not isinstance(name, str) or not TOKEN.fullmatch(name):
        raise UsageError(f"Response(headers=...): {name!r} is not a valid header name.")
    if not isinstance(value, str) or not FIELD_VALUE.fullmatch(value):
        raise UsageError(f"Response(headers=...): the value of {name} is not printable Latin-1.")
