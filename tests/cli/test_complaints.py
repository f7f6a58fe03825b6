"""What commands say when a call fails: in plain words, with what to do."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from cli.conftest import Run, new_app
from support.serving import serving

from potassium import Potassium
from potassium.cli.remote.complaints import explained
from potassium.cli.remote.server import Server
from potassium.client.problems import failure_of

PAGE = b"<html><head><title>502 Bad\n Gateway</title></head></html>"


@contextmanager
def answering(*answers: bytes) -> Iterator[str]:
    """Yield the URL of a server that sends these bytes to one connection each, and closes it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for answer in answers:
                connection, _ = listener.accept()
                with connection:
                    connection.recv(65536)
                    connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield "{}:{}".format(*listener.getsockname())
        thread.join(10)


def response(status: bytes, kind: bytes, body: bytes) -> bytes:
    head = b"HTTP/1.1 %b\r\nContent-Type: %b\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
    return head % (status, kind, len(body)) + body


@pytest.mark.parametrize(
    "command", [["call", "/x"], ["bench", "/x"], ["jobs", "list"], ["status", "--once"]], ids=repr
)
def test_where_nothing_listens_it_says_how_to_start_a_server(
    run: Run, free_port: int, command: list[str]
) -> None:
    """For every command; the exit status is 1."""
    at = 2 if command[0] == "jobs" else 1
    command.insert(at, f":{free_port}")
    result = run(*command)
    assert (result.exit_code, result.stdout) == (1, "")
    assert f"Nothing listens at http://localhost:{free_port}: the connection" in result.stderr
    assert "potassium serve app.py" in result.stderr


def test_a_name_that_does_not_exist_is_said(run: Run) -> None:
    """Rather than the number of an error."""
    result = run("call", "http://nowhere.invalid", "/x")
    assert result.exit_code == 1
    assert "http://nowhere.invalid cannot be reached: there is no host" in result.stderr


def test_a_server_that_does_not_speak_tls_is_said(run: Run, url: str) -> None:
    """As ``https`` may be a slip."""
    result = run("call", f"https://{url}", "/echo")
    assert result.exit_code == 1
    assert f"https://{url} cannot be reached over TLS" in result.stderr


@pytest.mark.parametrize("status", [b"502 Bad Gateway", b"200 OK"])
def test_a_web_page_is_not_taken_for_a_result(run: Run, status: bytes) -> None:
    """A proxy, or another server, has answered; nothing of the page is printed."""
    with answering(response(status, b"text/html; charset=utf-8", PAGE)) as url:
        result = run("call", url, "/x")
    assert (result.exit_code, result.stdout) == (1, "")
    assert f"http://{url} answered {status.decode()[:3]} with a web page" in result.stderr
    assert "Is the URL right?" in result.stderr
    assert ("('502 Bad Gateway')" in result.stderr) is status.startswith(b"502")


def test_another_answer_that_is_no_result_is_shown(run: Run) -> None:
    """As far as it helps."""
    body = response(b"500 Internal Server Error", b"text/plain", b"upstream sent too big header")
    with answering(body) as url:
        result = run("jobs", "list", url)
    assert "500 internal_server_error" in result.stderr
    assert "upstream sent too big header" in result.stderr


@pytest.mark.parametrize("command", [["status", "--once"], ["jobs", "list"]], ids=repr)
def test_what_is_no_potassium_is_said(run: Run, command: list[str]) -> None:
    """If something else answers in JSON."""
    with answering(response(b"200 OK", b"application/json", b'{"a": 1}')) as url:
        result = run(*command, url)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "is not the status of" in result.stderr or "does not describe" in result.stderr


def test_a_connection_that_breaks_is_said(run: Run) -> None:
    """Also in the middle of an answer."""
    whole = response(b"200 OK", b"text/plain", b"0123456789")
    with answering(whole[:-3]) as url:
        result = run("call", url, "/x")
    assert (result.exit_code, result.stdout) == (1, "0123456")
    assert f"The connection to http://{url} broke off" in result.stderr


def test_a_stream_without_an_end_was_cut_off(run: Run) -> None:
    """Even if its bytes are complete."""
    events = response(b"200 OK", b"text/event-stream", b"data: a\n\n")
    with answering(events) as url:
        result = run("call", url, "/x")
    assert (result.exit_code, result.stdout) == (1, "a")
    assert "The stream ended early" in result.stderr


def test_a_key_is_asked_for(run: Run) -> None:
    """Where there is none; a wrong one is said to be wrong."""
    with serving(new_app(api_keys=["right"]), lifespan="on") as (_, (host, port)):
        without = run("call", f"{host}:{port}", "/echo")
        wrong = run("call", f"{host}:{port}", "/echo", "--api-key", "wrong")
        right = run("call", f"{host}:{port}", "/typed", "text=1", "--api-key", "right")
    assert (without.exit_code, wrong.exit_code, right.exit_code) == (1, 1, 0)
    assert "Give an API key: --api-key KEY, or POTASSIUM_API_KEY" in without.stderr
    assert "do not include the one that you gave" in wrong.stderr
    assert "do not include" not in without.stderr


def test_an_invalid_input_is_explained_field_by_field(run: Run, url: str) -> None:
    """With code and request id."""
    result = run("call", url, "/typed", "count=many", "tags=1", "tags=x")
    assert result.exit_code == 1
    assert "422 invalid_input" in result.stderr
    assert "\n  text: Field required\n" in result.stderr
    assert "\n  tags.1: Input should be a valid integer" in result.stderr
    assert "\n  count: Input should be a valid integer" in result.stderr
    assert "Request id, for the server's log: " in result.stderr


def test_a_handler_that_does_not_exist_is_answered_with_those_that_do(run: Run, url: str) -> None:
    """By ``call``."""
    result = run("call", url, "/typo", "a=1")
    assert result.exit_code == 1
    assert "404 not_found" in result.stderr
    assert "Its handlers: /typed, /echo, /headers" in result.stderr
    assert "/jobs" not in result.stderr


def test_an_app_without_jobs_is_said_to_have_none(run: Run) -> None:
    """Rather than that there is nothing at a path that nobody typed."""
    app = Potassium("plain")
    app.handler("/x")(lambda cache, json_in: json_in)
    with serving(app, lifespan="on") as (_, (host, port)):
        listed = run("jobs", "list", f"{host}:{port}")
        called = run("call", f"{host}:{port}", "/x", "--background")
    assert (listed.exit_code, called.exit_code, called.stdout) == (1, 1, "")
    assert "Its app has no background jobs" in listed.stderr
    assert "Leave --background out, or give the app jobs=Jobs(...)" in called.stderr


def test_a_file_that_cannot_be_written_is_said(run: Run, url: str) -> None:
    """By its name."""
    result = run("call", url, "/echo", "-o", "/proc/none")
    assert result.exit_code == 1
    assert "/proc/none: No such file or directory." in result.stderr


def test_a_refusal_says_when_to_come_back(run: Run, url: str) -> None:
    """And is not tried again: who types sees it at once."""
    result = run("call", url, "/refuses")
    assert "503" in result.stderr
    assert "It suggests to try again in 7.00 s." in result.stderr


def test_only_some_of_many_faults_are_listed() -> None:
    """A list of thousands of inputs may be wrong in each."""
    errors = [{"loc": [n], "msg": "wrong"} for n in range(100)]
    body = {"code": "invalid_input", "detail": "No.", "status": 422, "errors": errors}
    kind = {"content-type": "application/problem+json"}
    failure = failure_of(httpx.Response(422, json=body, headers=kind))
    lines = explained(failure, Server("http://a"))
    assert lines[:2] == ["The server answered 422 invalid_input: No.", "0: wrong"]
    assert lines[20:] == ["19: wrong", "and 80 more"]
