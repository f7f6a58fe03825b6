"""Results that are posted to a receiver."""

import json
import queue
import threading
from collections.abc import Callable, Iterator
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
    request_id: str
    media_type: str
    body: Any
    connection: tuple[str, int]


@dataclass
class Receiver:
    """A real HTTP server that records what is posted to it."""

    requests: "queue.Queue[Received]" = field(default_factory=queue.Queue)
    may_answer: threading.Event = field(default_factory=threading.Event)
    status: int = 200

    def next(self, request_id: str) -> Received:
        """Return the next one of a call. Those of other tests may be late, or come once more."""
        while (received := self.requests.get(timeout=20)).request_id != request_id:
            pass
        return received


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Receiver, Server]]:
    receiver = Receiver()

    class Post(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            head = (self.path, self.headers["X-Request-Id"], self.headers["Content-Type"])
            receiver.requests.put(Received(*head, body, self.client_address))
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
    """A receiver that answers 200."""
    receiver, _ = running
    receiver.status = 200
    receiver.may_answer.set()
    yield receiver
    receiver.may_answer.set()


@pytest.fixture
def server(running: tuple[Receiver, Server], receiver: Receiver) -> Server:
    return running[1]


def named(name: str) -> dict[str, str]:
    return {"X-Request-Id": name}


@pytest.mark.parametrize("path", ["/above", "/below", "/async", "/response"])
def test_the_returned_json_is_posted(
    server: Server, receiver: Receiver, name: str, path: str
) -> None:
    """The result is posted, above or below ``@app.handler``, for each kind of handler."""
    server.post(path, {"a": 1}, headers=named(name))
    received = receiver.next(name)
    assert (received.path, received.body) == (path, {"outputs": {"a": 1}})


def test_the_returned_json_is_posted_as_json(server: Server, receiver: Receiver, name: str) -> None:
    """The webhook's media type is JSON."""
    server.post("/above", {}, headers=named(name))
    assert receiver.next(name).media_type == "application/json"


@pytest.mark.parametrize("path", ["/above", "/below"])
def test_the_caller_gets_the_result_as_well(server: Server, path: str) -> None:
    """A webhook does not take the result away from the caller."""
    assert server.post(path, {"a": 1}).json() == {"outputs": {"a": 1}}


def test_the_caller_does_not_wait_for_the_receiver(server: Server, receiver: Receiver) -> None:
    """The answer arrives before the receiver has answered."""
    receiver.may_answer.clear()
    with server.client(timeout=5) as http:
        assert http.post("/above", json={}).status_code == 200


def test_the_next_call_does_not_wait_for_the_receiver(
    server: Server, receiver: Receiver, name: str
) -> None:
    """A slow receiver does not hold up the queue."""
    receiver.may_answer.clear()
    with server.client(timeout=5) as http, server.client(timeout=5) as another:
        http.post("/above", json={}, headers=named(name))
        receiver.next(name)
        assert another.post("/plain", json={}).status_code == 200


def test_the_connection_does_not_wait_for_the_receiver(
    server: Server, receiver: Receiver, name: str
) -> None:
    """A slow receiver does not hold up the caller's next call on the same connection."""
    receiver.may_answer.clear()
    with server.client(timeout=5) as http:
        http.post("/above", json={}, headers=named(name))
        receiver.next(name)
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


def test_a_handler_that_raises_posts_nothing(server: Server, receiver: Receiver, name: str) -> None:
    """Without a result there is nothing to post."""
    server.post("/raises", {}, headers=named(name))
    server.post("/above", {}, headers=named(name))
    assert receiver.next(name).path == "/above"


def test_every_result_is_posted(server: Server, receiver: Receiver, name: str) -> None:
    """Simultaneous calls each have their own result posted."""

    def post(number: int) -> object:
        return server.post("/above", {"n": number}, headers=named(name))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(post, range(32)))
    assert sorted(receiver.next(name).body["outputs"]["n"] for _ in range(32)) == list(range(32))


def test_results_share_a_connection(server: Server, receiver: Receiver, name: str) -> None:
    """One client posts all results, and keeps its connection to the receiver."""

    def delivered() -> int:
        count: int = server.status()["webhooks"]["attempts"]["delivered"]
        return count

    def more_than(before: int) -> Callable[[], bool]:
        return lambda: delivered() > before

    connections = set()
    for _ in range(3):
        answered = more_than(delivered())
        server.post("/above", {}, headers=named(name))
        connections.add(receiver.next(name).connection)
        wait_until(answered, "the receiver's answer has arrived")
    assert len(connections) == 1
