"""Results that are posted to a receiver."""

import json
import queue
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from e2e.server import Server, serve_source, wait_until

SOURCE = """
import os

from potassium import Potassium, Request, Response

app = Potassium("server")
url = os.environ["RECEIVER"]


@app.handler("/above")
@app.result_webhook(url=url + "/above")
def below_handler(cache: dict, json_in: dict) -> dict:
    return {"outputs": json_in}


@app.result_webhook(url=url + "/below")
@app.handler("/below")
def above_handler(cache: dict, json_in: dict) -> dict:
    return {"outputs": json_in}


@app.handler("/raises")
@app.result_webhook(url=url + "/raises")
def raises(cache, json_in):
    raise ValueError("no result")


@app.handler("/async")
@app.result_webhook(url=url + "/async")
async def asynchronous(cache, json_in):
    return {"outputs": json_in}


@app.handler("/response")
@app.result_webhook(url=url + "/response")
def response(context, request: Request) -> Response:
    return Response(status=201, json={"outputs": request.json})


@app.handler("/unreachable")
@app.result_webhook(url="http://127.0.0.1:9/")
def unreachable(cache, json_in):
    return {"outputs": json_in}


@app.handler("/plain")
def plain(cache, json_in):
    return None


if __name__ == "__main__":
    app.serve()
"""


@dataclass
class Received:
    """A request that reached the receiver."""

    path: str
    media_type: str
    body: Any
    connection: tuple[str, int]


@dataclass
class Receiver:
    """A real HTTP server that records what is posted to it."""

    requests: "queue.Queue[Received]" = field(default_factory=queue.Queue)
    may_answer: threading.Event = field(default_factory=threading.Event)
    status: int = 200

    def next(self) -> Received:
        return self.requests.get(timeout=5)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Receiver, Server]]:
    receiver = Receiver()

    class Post(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            receiver.requests.put(
                Received(self.path, self.headers["Content-Type"], body, self.client_address)
            )
            receiver.may_answer.wait(20)
            self.send_response(receiver.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
            pass

    class Http(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False

    with Http(("127.0.0.1", 0), Post) as http, ThreadPoolExecutor(1) as pool:
        pool.submit(http.serve_forever, 0.01)
        url = f"http://127.0.0.1:{http.server_address[1]}"
        folder = tmp_path_factory.mktemp("webhook")
        try:
            with serve_source(SOURCE, folder, env={"RECEIVER": url}) as server:
                yield receiver, server
        finally:
            http.shutdown()


@pytest.fixture
def receiver(running: tuple[Receiver, Server]) -> Iterator[Receiver]:
    """A receiver that answers 200 and has not received anything so far."""
    receiver, _ = running
    receiver.status = 200
    receiver.requests = queue.Queue()
    receiver.may_answer.set()
    yield receiver
    receiver.may_answer.set()


@pytest.fixture
def server(running: tuple[Receiver, Server], receiver: Receiver) -> Server:
    return running[1]


@pytest.mark.parametrize("path", ["/above", "/below", "/async", "/response"])
def test_the_returned_json_is_posted(server: Server, receiver: Receiver, path: str) -> None:
    """The result is posted, above or below ``@app.handler``, for each kind of handler."""
    server.post(path, {"a": 1})
    received = receiver.next()
    assert (received.path, received.body) == (path, {"outputs": {"a": 1}})


def test_the_returned_json_is_posted_as_json(server: Server, receiver: Receiver) -> None:
    """The webhook's media type is JSON."""
    server.post("/above", {})
    assert receiver.next().media_type == "application/json"


@pytest.mark.parametrize("path", ["/above", "/below"])
def test_the_caller_gets_the_result_as_well(server: Server, path: str) -> None:
    """A webhook does not take the result away from the caller."""
    assert server.post(path, {"a": 1}).json() == {"outputs": {"a": 1}}


def test_the_caller_does_not_wait_for_the_receiver(server: Server, receiver: Receiver) -> None:
    """The answer arrives before the receiver has answered."""
    receiver.may_answer.clear()
    with server.client(timeout=5) as http:
        assert http.post("/above", json={}).status_code == 200


def test_the_next_call_does_not_wait_for_the_receiver(server: Server, receiver: Receiver) -> None:
    """A slow receiver does not hold up the queue."""
    receiver.may_answer.clear()
    with server.client(timeout=5) as http, server.client(timeout=5) as another:
        http.post("/above", json={})
        receiver.next()
        assert another.post("/plain", json={}).status_code == 200


def test_the_connection_does_not_wait_for_the_receiver(server: Server, receiver: Receiver) -> None:
    """A slow receiver does not hold up the caller's next call on the same connection."""
    receiver.may_answer.clear()
    with server.client(timeout=5) as http:
        http.post("/above", json={})
        receiver.next()
        assert http.post("/plain", json={}).status_code == 200


@pytest.mark.parametrize("status", [301, 404, 500])
def test_a_receiver_that_fails_changes_nothing_for_the_caller(
    server: Server, receiver: Receiver, status: int
) -> None:
    """Whatever the receiver answers, the caller gets its result."""
    receiver.status = status
    assert server.post("/above", {}).status_code == 200


def test_a_receiver_that_fails_is_logged(server: Server, receiver: Receiver) -> None:
    """The log says what the receiver answered."""
    receiver.status = 507
    server.post("/above", {})
    wait_until(lambda: "answered 507" in server.log(), "the failure in the log")


def test_a_receiver_that_is_not_there_changes_nothing_for_the_caller(server: Server) -> None:
    """If nothing listens, the caller gets its result."""
    assert server.post("/unreachable", {"a": 1}).json() == {"outputs": {"a": 1}}


def test_a_receiver_that_is_not_there_is_logged(server: Server) -> None:
    """The log names the host that could not be reached."""
    server.post("/unreachable", {})
    wait_until(lambda: "http://127.0.0.1:9 " in server.log(), "the failure in the log")


def test_a_handler_that_raises_posts_nothing(server: Server, receiver: Receiver) -> None:
    """Without a result there is nothing to post."""
    server.post("/raises", {})
    server.post("/above", {})
    assert receiver.next().path == "/above"


def test_every_result_is_posted(server: Server, receiver: Receiver) -> None:
    """Simultaneous calls each have their own result posted."""
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: server.post("/above", {"n": number}), range(32)))
    assert sorted(receiver.next().body["outputs"]["n"] for _ in range(32)) == list(range(32))


def test_results_share_a_connection(server: Server, receiver: Receiver) -> None:
    """One client posts all results, and keeps its connection to the receiver."""
    connections = set()
    for _ in range(3):
        server.post("/above", {})
        connections.add(receiver.next().connection)
        threading.Event().wait(0.05)  # the receiver's answer has to arrive first
    assert len(connections) == 1
