"""The id that ties a response to its request."""

import uuid
from typing import Any

import pytest

from potassium.http.request_id import request_id_of


def scope(*headers: tuple[bytes, bytes]) -> dict[str, Any]:
    return {"type": "http", "headers": list(headers)}


@pytest.mark.parametrize("name", [b"x-request-id", b"x-banana-request-id"])
def test_the_clients_own_id_is_kept(name: bytes) -> None:
    """The client's own id is accepted in both headers."""
    assert request_id_of(scope((name, b"abc-123"))) == "abc-123"


def test_x_request_id_goes_before_the_other() -> None:
    """If both are sent, X-Request-Id counts, whichever comes first."""
    first, second = (b"x-request-id", b"a"), (b"x-banana-request-id", b"b")
    assert request_id_of(scope(first, second)) == request_id_of(scope(second, first)) == "a"


@pytest.mark.parametrize(
    "value", [b"", b"a b", b"a\nb", b"\xff", "é".encode(), b"a" * 129, b"a\x7f"]
)
def test_an_id_that_cannot_be_sent_back_is_replaced(value: bytes) -> None:
    """Anything but 1 to 128 visible ASCII characters is replaced by a new UUID."""
    assert uuid.UUID(request_id_of(scope((b"x-request-id", value)))).version == 4


def test_128_characters_are_taken() -> None:
    """The longest allowed id is kept whole."""
    assert request_id_of(scope((b"x-request-id", b"a" * 128))) == "a" * 128


def test_a_request_has_one_id() -> None:
    """If asked twice, a request has the same new id; another request has another."""
    one, other = scope(), scope()
    assert request_id_of(one) == request_id_of(one) != request_id_of(other)
