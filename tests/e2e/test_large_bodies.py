"""Many large bodies at the same time."""

import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from e2e.server import Server, serve_source
from e2e.wire import answer, head, is_closed

MIB = 2**20

SOURCE = """
from potassium import Limits, Potassium

app = Potassium("server", limits=Limits(body_memory=64 * 2**20))


@app.handler
def handler(cache, body: bytes):
    return len(body)


app.serve()
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with serve_source(SOURCE, tmp_path) as server:
        yield server


def send_all_but_one(server: Server, stack: ExitStack) -> socket.socket:
    """Send 10 MiB, except for the last byte."""
    connection = stack.enter_context(server.connect())
    connection.sendall(head("/", f"Content-Length: {10 * MIB}") + bytes(10 * MIB - 1))
    return connection


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_does_not_grow_with_the_number_of_clients(server: Server) -> None:
    """Of thirty clients with 10 MiB each, those that do not fit into 64 MiB are told at once."""
    before = server.peak_memory()
    with ExitStack() as stack:
        clients = [send_all_but_one(server, stack) for _ in range(30)]
        for one in clients[6:]:
            assert answer(one).error() == (503, "overloaded")
        assert server.peak_memory() - before < 120 * MIB
        assert server.post(content=b"small").json() == 5
        for one in clients[:6]:
            one.sendall(b"a")
            assert answer(one).status == 200
    assert server.post(content=bytes(10 * MIB)).json() == 10 * MIB


def test_a_connection_whose_body_was_refused_can_be_used_again(server: Server) -> None:
    """The rest of the body is discarded."""
    with ExitStack() as stack:
        waiting = [send_all_but_one(server, stack) for _ in range(6)]
        refused = send_all_but_one(server, stack)
        assert answer(refused).error() == (503, "overloaded")
        refused.sendall(b"a" + head("/", "Content-Length: 3") + b"abc")
        assert answer(refused).body == b"3"
        assert waiting


def test_who_waits_for_100_continue_is_refused_before_it_sends(server: Server) -> None:
    """The connection is closed, as nobody can tell whether the body will follow."""
    with ExitStack() as stack:
        waiting = [send_all_but_one(server, stack) for _ in range(6)]
        with server.connect() as asking:
            asking.sendall(head("/", f"Content-Length: {10 * MIB}", "Expect: 100-continue"))
            refusal = answer(asking)
            assert refusal.error() == (503, "overloaded")
            assert refusal.headers["connection"] == "close"
            assert is_closed(asking)
        assert waiting
