"""What app authors get for their own tests."""

from typing import Any

import pytest

from potassium import File, Request
from potassium.errors import UnsupportedMediaType
from potassium.testing import request


def greet(cache: dict[str, Any], request: Request) -> str:
    return f"{cache['greeting']} {request.json['name']} {request.query_params.get('mark', '')}"


def test_a_handler_is_called_without_an_app() -> None:
    """With a request that has what a client would send."""
    assert (
        greet({"greeting": "Hi"}, request(json={"name": "Ada"}, query={"mark": "!"})) == "Hi Ada !"
    )


def test_a_request_has_what_it_is_given() -> None:
    """Headers, the path, a query with several values, and nothing else."""
    one = request(
        body="text",
        headers={"X-Request-Id": "me", "Content-Type": "text/plain"},
        query="a=1&a=2&b=%C3%A9",
        path="/é/x",
        method="PUT",
    )
    assert (one.id, one.body, one.headers["content-type"]) == ("me", b"text", "text/plain")
    assert (one.path, one.query_params.getlist("a"), one.query_params["b"]) == (
        "/é/x",
        ["1", "2"],
        "é",
    )
    assert (one.client, one.cancelled, one.deadline) == (None, False, None)
    assert not hasattr(one.state, "user")
    with pytest.raises(UnsupportedMediaType):
        _ = one.json


def test_a_request_may_be_a_form() -> None:
    """As httpx sends it."""
    one = request(data={"a": "1"}, files={"image": ("cat.png", b"png")})
    assert one.headers["content-type"].startswith("multipart/form-data; boundary=")
    assert b'filename="cat.png"' in one.body
    assert request(data={"a": ["1", "2"]}).body == b"a=1&a=2"
    assert request().body == b""


def test_a_handler_that_takes_a_file_is_called_with_one() -> None:
    """Made of bytes."""

    def count(cache: dict[str, Any], file: File) -> int:
        return len(file.read())

    assert count({}, File(b"123", name="a.txt")) == 3
