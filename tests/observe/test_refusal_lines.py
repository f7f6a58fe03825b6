"""The lines of requests that are refused before a handler runs: each has one, up to a bound."""

import logging
from collections.abc import Callable
from contextlib import closing, suppress
from typing import Any

import pytest
from starlette.routing import Route
from support.connection import Bench, echo

from potassium import Limits, Potassium
from potassium.connections import Connections
from potassium.errors import PotassiumError
from potassium.observe import Observation
from potassium.observe.logs.refusals import MOST, RefusalLimit
from potassium.testing import client

MALFORMED, TOO_LARGE = b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\nx: " + b"x" * 100_000


@pytest.fixture
def lines(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> Callable[[], list[Any]]:
    monkeypatch.setenv("POTASSIUM_LOG", "json")
    caplog.set_level(logging.INFO, "potassium.access")
    return lambda: [one for one in caplog.records if one.name == "potassium.access"]


class Second:
    """A limit whose time a test moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.due: list[tuple[float, Callable[[], object]]] = []
        self.limit = RefusalLimit(
            lambda: self.now, lambda after, what: self.due.append((after, what))
        )

    def passed(self, count: int, code: str = "not_found") -> int:
        """Return how many of so many lines are written."""
        return sum(self.limit.passes(404, code) for _ in range(count))


def test_so_many_lines_a_second_are_written_and_the_rest_is_counted(
    lines: Callable[[], list[Any]],
) -> None:
    """What was left out is told when the second is over, by status and code."""
    second = Second()
    assert second.passed(MOST) == MOST
    second.now = 0.75
    assert second.passed(7) + second.passed(2, "unauthorized") == 0
    ((after, tell),) = second.due
    assert after == 0.25
    assert lines() == []
    tell()
    (line,) = lines()
    assert line.left_out == 9
    assert line.getMessage() == (
        "9 more requests were refused, whose lines were left out: "
        "404 not_found 7 times, 404 unauthorized 2 times"
    )
    tell()
    assert len(lines()) == 1


def test_each_second_begins_anew(lines: Callable[[], list[Any]]) -> None:
    """Even if nobody could tell in time what the one before has left out."""
    second = Second()
    second.passed(MOST + 1)
    second.now = 1.0
    assert second.passed(MOST + 1) == MOST
    assert [one.left_out for one in lines()] == [1]
    assert len(second.due) == 2


async def test_a_flood_of_refusals_leaves_a_bounded_log(lines: Callable[[], list[Any]]) -> None:
    """And one of calls has all of its lines. What is left out is told by the end."""
    app = Potassium("test")
    app.handler(lambda cache, json_in: json_in)
    async with client(app) as http:
        for _ in range(MOST + 5):
            await http.post("/nowhere")
        for _ in range(MOST + 5):
            await http.post("/", json={})
    refused = [one for one in lines() if getattr(one, "status", 0) == 404]
    assert MOST <= len(refused) < MOST + 5
    assert len([one for one in lines() if getattr(one, "status", 0) == 200]) == MOST + 5
    assert sum(getattr(one, "left_out", 0) for one in lines()) == MOST + 5 - len(refused)


@pytest.mark.parametrize("path", ["/", "/own"])
async def test_what_the_apps_own_code_breaks_is_no_refusal(
    lines: Callable[[], list[Any]], path: str
) -> None:
    """Each 500 has its line, of a handler and of a route."""

    async def own(_: Any) -> Any:
        raise ValueError

    app = Potassium("test", routes=[Route("/own", own, methods=["POST"])])

    @app.handler
    def handler(cache: Any, json_in: Any) -> None:
        raise ValueError

    async with client(app) as http:
        for _ in range(MOST + 5):
            with suppress(ValueError):  # of the route; a server answers 500
                await http.post(path, json={})
    assert [one.status for one in lines()] == [500] * (MOST + 5)


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [(MALFORMED, 400, "malformed_request"), (TOO_LARGE, 431, "head_too_large")],
)
def test_what_a_connection_refuses_has_a_line(
    lines: Callable[[], list[Any]],
    sent: bytes,
    status: int,
    code: str,
) -> None:
    """With the client, and with the id that the answer has, by which its sender can be helped."""
    http = Connections(Limits(connections=9), 75, Observation().refused)
    with closing(Bench(echo, http=http)) as bench:
        (answer,) = bench.connect().send(sent).responses()
    (line,) = lines()
    assert (line.status, line.code, line.client) == (status, code, "127.0.0.1:50000")
    assert line.getMessage() == f"refused: {status} {code} from 127.0.0.1:50000"
    assert line.request_id == answer.headers[b"x-request-id"].decode()


def test_connections_that_are_too_many_have_lines(lines: Callable[[], list[Any]]) -> None:
    """Up to the same bound."""
    http = Connections(Limits(connections=1), 75, Observation().refused)
    with closing(Bench(echo, http=http)) as bench:
        bench.connect().send(b"POST / HTTP/1.1\r\ncontent-length: 9\r\n\r\n")
        for _ in range(MOST + 9):
            bench.connect().leave()
    assert {one.code for one in lines()} == {"too_many_connections"}
    assert len(lines()) == MOST


def test_requests_beyond_uvicorns_limit_have_lines(lines: Callable[[], list[Any]]) -> None:
    """``limit_concurrency=``: the app does not see them."""
    http = Connections(Limits(connections=9), 75, Observation().refused)
    with closing(Bench(echo, http=http, limit_concurrency=1)) as bench:
        (answer,) = bench.connect().send(b"POST / HTTP/1.1\r\nhost: a\r\n\r\n").responses()
    (line,) = lines()
    assert (answer.status, line.code) == (503, "too_many_connections")
    assert line.request_id == answer.headers[b"x-request-id"].decode()


def test_without_an_access_log_they_have_none(
    lines: Callable[[], list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("POTASSIUM_LOG")
    Observation().refused(PotassiumError("No."), {"headers": (), "client": None})
    assert lines() == []


def test_over_a_unix_socket_they_have_no_client(lines: Callable[[], list[Any]]) -> None:
    Observation().refused(PotassiumError("No."), {"headers": (), "client": None})
    assert lines()[0].getMessage() == "refused: 500 internal_error"
    assert not hasattr(lines()[0], "client")
