"""The connections of ``python app.py``, as clients see them; see also tests/connections."""

import socket

import pytest
from e2e.server import Server, Start
from e2e.wire import answer, head, is_closed, post

SOURCE = """
import time

from potassium import Limits, Potassium

app = Potassium("server", limits=Limits(connections=8, head_size=4096, head_timeout=0.5))


@app.handler
def handler(cache, json_in):
    time.sleep(json_in["seconds"])
    return json_in


app.serve({options})
"""


@pytest.fixture
def server(start: Start) -> Server:
    return start(SOURCE.format(options=""))


def test_a_head_over_the_limit_is_refused(server: Server) -> None:
    with server.connect() as connection:
        connection.sendall(head("/" + "x" * 5000))
        assert answer(connection).error() == (431, "head_too_large")
        assert is_closed(connection)


def test_what_is_no_request_is_refused(server: Server) -> None:
    with server.connect() as connection:
        connection.sendall(b"nonsense\r\n\r\n")
        assert answer(connection).error() == (400, "malformed_request")
        assert is_closed(connection)


@pytest.mark.parametrize("sent", [b"", b"POST / HT"])
def test_a_silent_connection_is_closed(server: Server, sent: bytes) -> None:
    with server.connect() as connection:
        connection.sendall(sent)
        assert is_closed(connection)


def test_a_client_that_sends_no_more_gets_its_response(server: Server) -> None:
    with server.connect() as connection:
        connection.sendall(post("/", {"seconds": 0.3}))
        connection.shutdown(socket.SHUT_WR)
        assert answer(connection).body == b'{"seconds":0.3}'
        assert is_closed(connection)


def test_beyond_the_limit_idle_connections_are_closed(server: Server) -> None:
    """A client that opens more than there may be does not keep the next one out."""
    idle = [server.connect() for _ in range(20)]
    with server.connect() as connection:
        connection.sendall(post("/", {"seconds": 0}))
        assert answer(connection).status == 200
    for one in idle:
        one.close()


def test_options_of_uvicorn_hold(start: Start) -> None:
    """``serve()`` takes them, and our connections heed them."""
    options = 'root_path="/api", headers=[("x-extra", "1")], date_header=False, access_log=True'
    server = start(SOURCE.format(options=options), ready="/healthz")
    with server.connect() as connection:
        connection.sendall(post("/", {"seconds": 0}))
        got = answer(connection)
    assert (got.status, got.headers["x-extra"], got.headers["date"]) == (200, "1", None)
