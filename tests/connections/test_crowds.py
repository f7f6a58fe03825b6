"""Many connections, and clients that do not read: what they hold together is bounded."""

import resource
from collections.abc import Callable
from typing import Any

import pytest
from support.connection import Bench, echo, respond

from potassium import Limits
from potassium.connections import Connections, crowd
from potassium.connections.connection import Connection

MakeBench = Callable[..., Bench]

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
MIB = 1024 * 1024


def answers(size: int) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await respond(send, b"x" * size)

    return app


async def never(scope: Any, receive: Any, send: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def test_a_client_that_does_not_read_is_cut_off(bench: MakeBench) -> None:
    one = bench(answers(MIB), Limits(stream_stall_timeout=30))
    client = one.connect(1000).send(GET)
    one.wait(30)
    assert not client.is_closed
    one.wait(6)
    assert client.is_closed
    assert client.wire.was_aborted


def test_a_slow_reader_is_not_cut_off_for_the_time_in_which_the_process_was_stopped(
    bench: MakeBench,
) -> None:
    """It could not read what was not sent."""
    one = bench(answers(MIB), Limits(stream_stall_timeout=30))
    client = one.connect(kernel=0).send(GET)
    one.wait(10)
    one.loop.now += 3600
    one.loop.rest()
    one.wait(15)
    assert not client.is_closed
    one.wait(15)
    assert client.is_closed


def test_whoever_counts_is_told_of_each_answer_that_no_app_gave(bench: MakeBench) -> None:
    """The log has one line a minute; counting has all of them."""
    told: list[str] = []
    http = Connections(Limits(head_size=1000), 75, lambda error, _: told.append(error.code))
    one = bench(answers(1), http=http)
    for _ in range(3):
        one.connect().send(b"nonsense\r\n\r\n")
    one.connect().send(b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 2000)
    assert told == ["malformed_request"] * 3 + ["head_too_large"]


def test_a_client_that_reads_a_trickle_is_cut_off(bench: MakeBench) -> None:
    """It would hold megabytes for days."""
    one = bench(answers(MIB), Limits(stream_stall_timeout=30))
    client = one.connect(1000).send(GET)
    for _ in range(36):
        client.read(100)
        one.wait(1)
    assert client.is_closed


def test_a_client_that_reads_slowly_gets_all(bench: MakeBench) -> None:
    one = bench(answers(MIB), Limits(stream_stall_timeout=30))
    client = one.connect(1000).send(GET)
    while client.wire.unread:
        client.read(20_000)
        one.wait(25)
        assert not client.is_closed
    assert client.responses()[0].complete


def test_what_clients_leave_unread_together_is_bounded(bench: MakeBench) -> None:
    """The largest responses go first."""
    one = bench(sized, Limits(responses_size=11 * MIB))
    clients = [one.connect(0).send(b"GET /%d HTTP/1.1\r\n\r\n" % size) for size in (1, 6, 2, 4, 3)]
    assert sum(len(client.wire.unread) for client in clients) > 16 * MIB
    one.wait(1.5)
    assert [client.is_closed for client in clients] == [False, True, False, False, False]


async def sized(scope: Any, receive: Any, send: Any) -> None:
    await respond(send, b"x" * int(scope["path"][1:]) * MIB)


def test_idle_connections_are_closed_for_new_ones(bench: MakeBench) -> None:
    """Those that would be closed soonest; none that is in use."""
    one = bench(echo, Limits(connections=4))
    old = one.connect().send(GET)
    one.wait(20)
    busy = one.connect().send(b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n")
    others = [one.connect().send(GET) for _ in range(2)]
    new = one.connect().send(GET)
    assert old.is_closed
    assert [it.is_closed for it in (busy, *others, new)] == [False] * 4
    assert new.statuses() == [200]


def test_a_connection_with_a_response_to_read_is_not_idle(bench: MakeBench) -> None:
    one = bench(answers(MIB), Limits(connections=1))
    reader = one.connect(0).send(GET)
    assert one.connect().statuses() == [503]
    reader.read()
    assert reader.responses()[0].complete


def test_a_connection_with_requests_to_answer_is_not_idle(bench: MakeBench) -> None:
    """Also between two of them."""
    idle: list[bool] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await respond(send)
        (connection,) = one.state.connections
        idle.append(connection.is_idle)  # type: ignore[union-attr]

    one = bench(app)
    client = one.connect().send(GET * 500)
    assert client.statuses() == [200] * 500
    assert idle == [False] * 499 + [True]


def test_if_all_are_in_use_new_connections_are_refused(bench: MakeBench) -> None:
    """Every one of them, however many come."""
    one = bench(never, Limits(connections=3))
    busy = [one.connect().send(GET) for _ in range(3)]
    refused = []
    for _ in range(200):
        refused.append(one.connect().send(GET))
        one.wait(0.03)
    assert {tuple(client.statuses()) for client in refused} == {(503,)}
    assert all(client.has_end for client in refused)
    assert not any(client.is_closed for client in busy)
    assert len(one.state.connections) <= 3 + crowd.LEAVING + 1
    busy[0].leave()
    one.wait(0.1)
    assert one.connect().send(GET).statuses() == []


def test_a_crowd_of_refused_clients_is_not_looked_through_each_time(
    bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = bench(never, Limits(connections=3))
    for _ in range(3):
        one.connect().send(GET)
    is_idle = Connection.is_idle.fget  # type: ignore[attr-defined]
    asked: list[Connection] = []

    def ask(connection: Connection) -> bool:
        asked.append(connection)
        return bool(is_idle(connection))

    monkeypatch.setattr(Connection, "is_idle", property(ask))
    for _ in range(100):
        one.connect()
    assert len(asked) == 4


def test_without_a_limit_of_ours_that_on_open_files_counts(
    bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The soft limit is raised where that is possible."""
    limits = [100, 200]
    monkeypatch.setattr(resource, "getrlimit", lambda _: tuple(limits))
    monkeypatch.setattr(resource, "setrlimit", lambda _, new: limits.__setitem__(0, new[0]))
    one = bench(never, Limits())
    clients = [one.connect().send(GET) for _ in range(200)]
    assert limits == [200, 200]
    served = sum(client.statuses() == [] for client in clients)
    assert 16 <= served < 200 - crowd.SPARE_FILES


def test_a_limit_on_open_files_that_cannot_be_raised_is_no_fault(
    bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise ValueError("current limit exceeds maximum limit")

    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, resource.RLIM_INFINITY))
    monkeypatch.setattr(resource, "setrlimit", refuse)
    assert bench(echo, Limits()).connect().send(GET).statuses() == [200]


def test_a_factory_serves_one_server_after_the_other(bench: MakeBench) -> None:
    """Each on its own event loop, with its own app."""
    http = Connections(Limits(connections=2), 75)
    assert bench(never, http=http).connect().send(GET).statuses() == []
    assert bench(echo, http=http).connect().send(GET).statuses() == [200]


def test_refusals_are_logged_once_a_minute(
    bench: MakeBench, caplog: pytest.LogCaptureFixture
) -> None:
    """Any client can cause them at will."""
    one = bench(echo)
    for _ in range(50):
        one.connect().send(b"nonsense\r\n\r\n")
    assert len(caplog.records) == 1
