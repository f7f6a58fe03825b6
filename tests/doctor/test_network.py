"""Whether the server can listen, and where calls go."""

import socket
import threading
from collections.abc import Iterator

import pytest
from doctor.conftest import Build, seen
from e2e.server import Start, free_port

from potassium.doctor import network


@pytest.fixture(autouse=True)
def port(monkeypatch: pytest.MonkeyPatch) -> int:
    number = free_port()
    monkeypatch.setenv("POTASSIUM_PORT", str(number))
    monkeypatch.delenv("POTASSIUM_HOST", raising=False)
    return number


@pytest.fixture
def taken(port: int) -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", port)) as server:
        yield server


def test_a_free_port_is_free(machine: Build, port: int) -> None:
    assert seen(network.port(machine())) == [("ok", f"127.0.0.1:{port} is free")]


def test_a_port_of_somebody_else_is_a_problem(
    machine: Build, port: int, taken: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network, "TIME", 0.01)  # nobody answers

    (found,) = network.port(machine())

    assert (found.level, found.why) == (
        "problem",
        f"Another program listens on 127.0.0.1:{port}.",
    )
    assert found.fix is not None
    assert f"ss -ltnp sport = :{port}" in found.fix
    assert f"export POTASSIUM_PORT={port + 1}" in found.fix


def test_another_server_that_answers_is_not_one_of_ours(
    machine: Build, taken: socket.socket
) -> None:
    def answer() -> None:
        connection, _ = taken.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    answering = threading.Thread(target=answer)
    answering.start()
    found = seen(network.port(machine()))
    answering.join()

    assert [level for level, _ in found] == ["problem"]


def test_a_port_of_a_server_of_ours_is_none(machine: Build, start: Start, port: int) -> None:
    """As where the command is typed beside the server, in its container."""
    start(
        """
        from potassium import Potassium

        app = Potassium()

        @app.handler
        def echo(cache, item): return item

        app.serve()
        """,
        port=port,
    )

    assert seen(network.port(machine())) == [
        ("ok", f"a server of Potassium answers on 127.0.0.1:{port}")
    ]


def test_an_address_of_another_machine_is_a_problem(
    machine: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POTASSIUM_HOST", "192.0.2.1")

    (found,) = network.port(machine())

    assert found.level == "problem"
    assert "It is impossible to listen on 192.0.2.1:" in found.why


def test_a_port_below_1024_is_for_root(machine: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    error = PermissionError(13, "Permission denied")
    monkeypatch.setattr(network, "_why_not_bound", lambda *_: error)

    (found,) = network.port(machine())

    assert (found.level, found.fix) == (
        "problem",
        "Take a port from 1024 on: export POTASSIUM_PORT=8000",
    )


def test_a_port_that_is_no_number_is_reported_elsewhere(
    machine: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POTASSIUM_PORT", "http")

    assert seen(network.port(machine())) == []


def test_a_server_in_a_container_must_listen_to_the_outside(
    machine: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert seen(network.host(machine())) == []
    one = machine(files={"/run/.containerenv": ""})

    (found,) = network.host(one)

    assert (found.level, found.fix) == ("note", "export POTASSIUM_HOST=0.0.0.0")
    monkeypatch.setenv("POTASSIUM_HOST", "0.0.0.0")
    assert seen(network.host(one)) == []


@pytest.mark.parametrize(
    ("environ", "fix"),
    [
        ({"https_proxy": "http://p"}, "export NO_PROXY=localhost,127.0.0.1"),
        ({"HTTP_PROXY": "p", "NO_PROXY": "a.b, localhost"}, "NO_PROXY=a.b,localhost,127.0.0.1"),
        ({"HTTP_PROXY": "p", "no_proxy": "localhost,127.0.0.1"}, None),
        ({"HTTP_PROXY": "p", "NO_PROXY": "*"}, None),
    ],
)
def test_a_proxy_must_not_get_calls_to_this_machine(
    machine: Build, environ: dict[str, str], fix: str | None
) -> None:
    found = list(network.proxies(machine(environ=environ)))

    assert len(found) == (1 if fix is None else 2)
    assert fix is None or (found[0].fix or "").endswith(fix)
    assert "webhooks" in found[-1].why


def test_no_proxy_is_no_finding(machine: Build) -> None:
    assert seen(network.proxies(machine(environ={"HTTP_PROXY": ""}))) == []
