"""What a handler sees of a request, and how it answers."""

import asyncio
from http import HTTPStatus
from typing import Any

import numpy as np
import pytest
from support.ids import shown
from support.operations import operation_on

from potassium import Request, Response, UsageError
from potassium.engine import Job
from potassium.errors import MalformedJSON, UnserializableOutput, UnsupportedMediaType
from potassium.http.message import Message
from potassium.http.request import request_of
from potassium.http.request_line import request_line_of, scope_of
from potassium.http.results import reply_to

JSON = [(b"content-type", b"application/json")]


def test_headers_are_case_insensitive() -> None:
    """A header is found whatever the case of its name."""
    request = Request("id", [(b"x-model", b"a")], b"")
    assert request.headers["X-Model"] == request.headers["x-model"] == "a"


@pytest.mark.parametrize(
    "content_type",
    [
        b"application/json",
        b"application/json; charset=utf-8",
        b"Application/JSON",
        b"application/ld+json",
    ],
)
def test_json_types_are_json(content_type: bytes) -> None:
    """application/json and every +json type count as JSON."""
    assert Request("id", [(b"content-type", content_type)], b'{"a": 1}').json == {"a": 1}


@pytest.mark.parametrize("content_type", [b"text/plain", b"application/jsonp", b"", b"json"])
def test_other_types_are_not_json(content_type: bytes) -> None:
    """A body declared as another type does not count as JSON; the error says what to send."""
    request = Request("id", [(b"content-type", content_type)], b"{}")
    with pytest.raises(UnsupportedMediaType, match="Content-Type: application/json"):
        _ = request.json


@pytest.mark.parametrize(
    "content_type", [b"application/x-www-form-urlencoded", b"multipart/form-data; boundary=a"]
)
def test_a_form_is_told_what_to_be_instead(content_type: bytes) -> None:
    """The error says that forms are not taken, and what is."""
    with pytest.raises(UnsupportedMediaType, match=r"no forms.*application/json") as caught:
        _ = Request("id", [(b"content-type", content_type)], b"a=1").json
    assert caught.value.headers == {"Accept": "application/json"}


def test_a_body_without_a_type_is_not_json() -> None:
    """A request that does not declare its content type is refused."""
    with pytest.raises(UnsupportedMediaType):
        _ = Request("id", [], b"{}").json


def test_malformed_json_is_an_error_at_each_access() -> None:
    """A malformed body never becomes None."""
    request = Request("id", JSON, b"{")
    for _ in range(2):
        with pytest.raises(MalformedJSON):
            _ = request.json


def test_json_is_the_same_value_at_each_access() -> None:
    """The body is decoded once."""
    request = Request("id", JSON, b'{"a": []}')
    assert request.json is request.json


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"json": {}, "body": b""}, "one of the two"),
        ({"json": None, "body": "text"}, "one of the two"),
        ({"body": 5}, "bytes, str or a generator"),
        ({"status": 99}, "200 to 599"),
        ({"status": 600}, "200 to 599"),
        ({"status": "200"}, "200 to 599"),
        ({"status": True}, "200 to 599"),
        ({"status": 204, "json": {}}, "no body"),
        ({"headers": {"X-A": "a\r\nX-B: b"}}, "X-A"),
        ({"headers": {"X A": "a"}}, "X A"),
        ({"headers": {"": "a"}}, "valid header name"),
        ({"headers": {"X-A": 5}}, "X-A"),
        ({"headers": {"X-A": "日"}}, "X-A"),
    ],
)
def test_a_response_that_cannot_be_sent_fails_when_it_is_made(
    options: dict[str, Any], message: str
) -> None:
    """The mistake is reported where it is made, and the message names it."""
    with pytest.raises(UsageError, match=message):
        Response(**options)


@pytest.mark.parametrize(
    ("result", "status", "content_type", "body"),
    [
        ({"a": 1}, 200, b"application/json", b'{"a":1}'),
        ("text", 200, b"application/json", b'"text"'),
        (None, 200, b"application/json", b"null"),
        (b"\x00\x01", 200, b"application/octet-stream", b"\x00\x01"),
        (bytearray(b"\x00\x01"), 200, b"application/octet-stream", b"\x00\x01"),
        (memoryview(b"\x00\x01"), 200, b"application/octet-stream", b"\x00\x01"),
        (Response(json={"a": 1}), 200, b"application/json", b'{"a":1}'),
        (Response(json=None), 200, b"application/json", b"null"),
        (Response(status=201, body="é"), 201, b"text/plain; charset=utf-8", "é".encode()),
        (Response(HTTPStatus.CREATED, body=b"raw"), 201, b"application/octet-stream", b"raw"),
        (Response(body=b"raw"), 200, b"application/octet-stream", b"raw"),
        (
            Response(body=b"png", headers={"Content-Type": "image/png"}),
            200,
            b"image/png",
            b"png",
        ),
        (Response(status=204), 204, None, b""),
        (Response(), 200, None, b""),
    ],
    ids=shown,
)
def test_results_become_replies(
    result: object, status: int, content_type: bytes | None, body: bytes
) -> None:
    """Each kind of result has its status, content type and body."""
    reply = reply_to(result)
    assert (reply.status, reply.body) == (status, body)
    assert dict(reply.headers).get(b"content-type") == content_type


@pytest.mark.parametrize(("status", "length"), [(200, b"0"), (204, None), (304, None)])
def test_a_status_without_content_has_no_length(status: int, length: bytes | None) -> None:
    """Content-Length is left out if the status does not allow one."""
    assert dict(reply_to(Response(status=status)).headers).get(b"content-length") == length


def test_headers_that_the_server_sets_are_its_own() -> None:
    """A handler cannot send a second length or request id."""
    headers = {"Content-Length": "7", "X-Request-Id": "x", "X-Mine": "y"}
    sent = reply_to(Response(body=b"abc", headers=headers)).headers
    assert sorted(name for name, _ in sent) == [b"content-length", b"content-type", b"x-mine"]
    assert dict(sent)[b"content-length"] == b"3"


def test_a_response_that_cannot_be_encoded_is_unserializable() -> None:
    """Response(json=...) takes the same values that a handler may return."""
    with pytest.raises(UnserializableOutput):
        reply_to(Response(json=object()))


class FakeRun:
    """Records the progress that a job reports."""

    id = "job"

    def __init__(self) -> None:
        self.told: list[tuple[float | None, str | None]] = []

    def began(self) -> None:
        """Do nothing: only progress is recorded here."""

    def progress(self, share: float | None, message: str | None) -> None:
        self.told.append((share, message))


@pytest.mark.parametrize("share", [0, 1, 0.25, True, np.float32(0.25), "0.25"])
def test_progress_is_a_share_of_one(share: Any) -> None:
    """Progress is any number from 0 to 1, including those of NumPy and torch."""
    run = FakeRun()
    message = Message("r-1", [], b"", background=run)
    loop = asyncio.new_event_loop()
    job = Job(operation_on("train", lambda _: None), None, loop.create_future(), origin=message)
    loop.close()
    request = request_of(job)
    request.progress(share)
    request.progress(share, "epoch 1")
    assert run.told == [(float(share), None), (float(share), "epoch 1")]


@pytest.mark.parametrize(
    ("share", "message"),
    [
        *((share, None) for share in (-0.1, 1.1, 25, float("nan"), "half", None)),
        *((0.5, message) for message in (5, b"half")),
    ],
)
def test_progress_that_cannot_be_is_the_handlers_mistake(share: Any, message: Any) -> None:
    """Invalid progress raises where it is reported, in a direct call too."""
    request = Request("r-1", [], b"")
    with pytest.raises(UsageError, match="a number from 0 to 1, and a text"):
        request.progress(share, message)


def test_the_progress_of_a_direct_call_is_told_to_nobody() -> None:
    """Progress of a direct call is dropped, so that the same handler serves calls and jobs."""
    Request("r-1", [], b"").progress(0.5, "half")


@pytest.mark.parametrize(
    ("scope", "line"),
    [
        ({"method": "GET", "path": "/a/b", "query_string": b"q=a%20b&x"}, "GET /a/b?q=a%20b&x"),
        ({"method": "POST", "path": "/é ?", "query_string": b""}, "POST /%C3%A9%20%3F"),
    ],
)
def test_a_request_line_is_kept_whole(scope: dict[str, Any], line: str) -> None:
    """Method, path and query come back as they were."""
    assert request_line_of(scope) == line
    assert scope_of(line, "/other") == {"type": "http", **scope}


def test_a_job_from_before_was_a_post_to_its_handler() -> None:
    """Nothing is known of its query."""
    assert request_line_of({}) == ""
    kept = scope_of("", "/train")
    assert kept == {"type": "http", "method": "POST", "path": "/train", "query_string": b""}
