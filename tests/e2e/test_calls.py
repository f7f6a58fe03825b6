"""Calling a handler: how arguments bind, where handlers run, how requests are identified."""

import re
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from e2e.server import Server, serve_source

SOURCE = """
import asyncio
import threading
from dataclasses import dataclass

import anyio.from_thread
from pydantic import BaseModel

from potassium import Potassium, Request, Response

app = Potassium("server")


class Item(BaseModel):
    text: str
    times: int = 1


@dataclass
class Point:
    x: float


@app.init
def init():
    return {"thread": threading.get_native_id(), "kept": "from init"}


@app.handler
def first_generation(cache: dict, json_in: dict) -> dict:
    return {"in": json_in, "kept": cache.get("kept")}


@app.handler("/second")
def second_generation(context: dict, request: Request) -> Response:
    return Response(
        status=201,
        json={
            "kept": context["kept"],
            "id": request.id,
            "json": request.json,
            "body": request.body.decode(),
            "headers": [request.headers["X-THING"], request.headers["x-thing"]],
        },
        headers={"X-Own": "mine"},
    )


@app.handler("/raw")
def raw(context, request: Request):
    return request.body


@app.handler("/bare")
def bare(cache, anything):
    return {"type": type(anything).__name__}


@app.handler("/bytes")
def reverse(cache, body: bytes) -> bytes:
    return body[::-1]


@app.handler("/model")
def model(cache, item: Item):
    return {"type": type(item).__name__, "text": item.text * item.times}


@app.handler("/point")
def point(cache, where: Point):
    return {"type": type(where).__name__, "x": where.x}


@app.handler("/numbers")
def total(cache, numbers: list[int]):
    return sum(numbers)


@app.handler("no-slash")
def no_slash(cache, json_in):
    return "found"


@app.handler("/thread/a")
def thread_a(cache, json_in):
    return [cache["thread"], threading.get_native_id()]


@app.handler("/thread/b")
def thread_b(cache, json_in):
    return [cache["thread"], threading.get_native_id()]


@app.handler("/from-thread")
def from_thread(cache, json_in):
    async def on_the_loop():
        await asyncio.sleep(0)
        return threading.get_native_id()

    return [cache["thread"], anyio.from_thread.run(on_the_loop)]


@app.handler("/async/thread")
async def async_thread(cache, json_in):
    await asyncio.sleep(0)
    return [cache["thread"], threading.get_native_id()]


running = {"one": 0, "four": 0}


async def peak(name):
    running[name] += 1
    await asyncio.sleep(0.05)
    seen = running[name]
    await asyncio.sleep(0.01)
    running[name] -= 1
    return seen


@app.handler("/async/one")
async def one_at_a_time(cache, json_in):
    return await peak("one")


@app.handler("/async/four", concurrency=4)
async def four_at_a_time(cache, json_in):
    return await peak("four")


@app.handler("/remember")
def remember(cache, json_in):
    app.set_cache({**cache, "remembered": json_in["value"]})
    return None


@app.handler("/recall")
def recall(cache, json_in):
    return [cache.get("remembered"), app.get_cache().get("remembered")]


if __name__ == "__main__":
    app.serve()
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serve_source(SOURCE, tmp_path_factory.mktemp("calls")) as server:
        yield server


def test_a_bare_handler_gets_the_cache_and_the_json_object(server: Server) -> None:
    """The first generation of the API is ``(cache, json_in) -> dict`` at POST /."""
    assert server.post("/", {"a": [1]}).json() == {"in": {"a": [1]}, "kept": "from init"}


def test_a_result_is_sent_as_json(server: Server) -> None:
    """A dict is answered with 200 and the media type of JSON."""
    response = server.post("/", {})
    assert (response.status_code, response.headers["content-type"]) == (200, "application/json")


def test_a_second_generation_handler_reads_the_whole_request(server: Server) -> None:
    """A ``Request`` has the id, the body, its JSON, and headers that ignore case."""
    response = server.post("/second", {"é": 1}, headers={"X-Thing": "t", "X-Request-Id": "me"})
    assert response.json() == {
        "kept": "from init",
        "id": "me",
        "json": {"é": 1},
        "body": response.request.content.decode(),
        "headers": ["t", "t"],
    }


def test_a_response_decides_status_and_headers(server: Server) -> None:
    """A ``Response`` is answered with its own status and headers."""
    response = server.post("/second", {}, headers={"X-Thing": "t"})
    assert (response.status_code, response.headers["x-own"]) == (201, "mine")


def test_a_request_handler_takes_any_media_type(server: Server) -> None:
    """A handler that takes a ``Request`` gets a body that is not JSON, byte for byte."""
    response = server.post("/raw", content=b"\x00\xff", headers={"Content-Type": "image/png"})
    assert response.content == b"\x00\xff"


def test_a_bytes_handler_takes_any_media_type(server: Server) -> None:
    """A handler that takes ``bytes`` gets the raw body, and may return bytes."""
    response = server.post("/bytes", content=b"\xff\x00a", headers={"Content-Type": "text/plain"})
    assert (response.status_code, response.content) == (200, b"a\x00\xff")


def test_an_argument_without_annotation_gets_the_json_object(server: Server) -> None:
    """An argument without an annotation is the JSON object, as a dict."""
    assert server.post("/bare", {"a": 1}).json() == {"type": "dict"}


def test_a_pydantic_argument_is_validated(server: Server) -> None:
    """A pydantic argument is an instance of the model, with its defaults."""
    assert server.post("/model", {"text": "ab"}).json() == {"type": "Item", "text": "ab"}


def test_a_dataclass_argument_is_validated(server: Server) -> None:
    """A dataclass argument is an instance, with its fields converted."""
    assert server.post("/point", {"x": 2}).json() == {"type": "Point", "x": 2.0}


def test_any_type_pydantic_knows_may_be_an_argument(server: Server) -> None:
    """An argument annotated ``list[int]`` takes a JSON array."""
    assert server.post("/numbers", [1, 2, 3]).json() == 6


def test_a_path_may_be_given_without_its_slash(server: Server) -> None:
    """``@app.handler("no-slash")`` serves POST /no-slash."""
    assert server.post("/no-slash", {}).json() == "found"


@pytest.mark.parametrize(
    "media_type",
    ["application/json; charset=utf-8", "Application/JSON", "application/vnd.api+json"],
)
def test_json_may_be_declared_in_each_of_its_forms(server: Server, media_type: str) -> None:
    """Parameters, capitals and a ``+json`` suffix all count as JSON."""
    response = server.post("/", content=b"{}", headers={"Content-Type": media_type})
    assert response.status_code == 200


def test_set_cache_in_a_handler_is_seen_by_the_next_call(server: Server) -> None:
    """``set_cache`` replaces the cache, for the argument and for ``get_cache``."""
    value = str(uuid.uuid4())
    server.post("/remember", {"value": value})
    assert server.post("/recall", {}).json() == [value, value]


def test_init_and_every_sync_handler_share_one_thread(server: Server) -> None:
    """1000 calls to two endpoints run on the thread that ran init."""

    def threads(number: int) -> set[int]:
        with server.client() as http:
            paths = ["/thread/a", "/thread/b"] * 62
            return {thread for path in paths for thread in http.post(path, json={}).json()}

    with ThreadPoolExecutor(8) as pool:
        assert len(set.union(*pool.map(threads, range(8)))) == 1


def test_a_sync_handler_may_call_back_to_the_event_loop(server: Server) -> None:
    """``anyio.from_thread.run`` in a handler runs a coroutine on the event loop's own thread."""
    gpu_thread, loop_thread = server.post("/from-thread", {}).json()
    assert gpu_thread != loop_thread


def test_an_async_handler_runs_on_the_event_loop(server: Server) -> None:
    """An ``async def`` handler runs on the loop that ``anyio.from_thread`` leads to."""
    loop_thread = server.post("/from-thread", {}).json()[1]
    assert server.post("/async/thread", {}).json()[1] == loop_thread


@pytest.mark.parametrize(("path", "peak"), [("/async/one", 1), ("/async/four", 4)])
def test_async_handlers_overlap_only_as_far_as_allowed(
    server: Server, path: str, peak: int
) -> None:
    """Calls run one at a time, unless ``concurrency=`` allows more."""
    with ThreadPoolExecutor(8) as pool:
        answers = pool.map(lambda _: server.post(path, {}).json(), range(8))
        assert max(answers) == peak


@pytest.mark.parametrize("header", ["X-Request-Id", "X-Banana-Request-Id"])
@pytest.mark.parametrize("value", ["me", "!~" * 64])
def test_a_client_may_name_its_request(server: Server, header: str, value: str) -> None:
    """The answer carries the client's id, of up to 128 visible characters."""
    assert server.post("/", {}, headers={header: value}).headers["x-request-id"] == value


@pytest.mark.parametrize("value", ["a" * 129, "a b", "", "\u00e9"])
def test_a_bad_request_id_is_replaced(server: Server, value: str) -> None:
    """An id that is too long, empty or not visible ASCII is replaced by a new UUID."""
    headers = {b"Content-Type": b"application/json", b"X-Request-Id": value.encode("latin-1")}
    with server.client() as http:
        response = http.post("/", content=b"{}", headers=headers)
    assert uuid.UUID(response.headers["x-request-id"])


def test_each_nameless_request_gets_an_id_of_its_own(server: Server) -> None:
    """Without an id from the client, each answer carries a new UUID."""
    ids = {uuid.UUID(server.post("/", {}).headers["x-request-id"]) for _ in range(3)}
    assert len(ids) == 3


def test_the_handler_sees_the_id_that_the_answer_carries(server: Server) -> None:
    """``request.id`` is the X-Request-Id of the response, even if it is a new one."""
    response = server.post("/second", {}, headers={"X-Thing": "t"})
    assert response.json()["id"] == response.headers["x-request-id"]


def test_requests_with_one_id_do_not_disturb_one_another(server: Server) -> None:
    """Simultaneous requests under the same id each get their own answer."""

    def call(number: int) -> int:
        response = server.post("/", {"n": number}, headers={"X-Request-Id": "same"})
        answer: int = response.json()["in"]["n"]
        return answer

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(call, range(32))) == list(range(32))


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/_k/status", "/nowhere", "/second"])
def test_every_answer_carries_a_request_id(server: Server, path: str) -> None:
    """Health answers and the router's errors carry an id too."""
    assert uuid.UUID(server.get(path).headers["x-request-id"])


def test_one_connection_serves_many_calls(server: Server) -> None:
    """A connection stays open from one call to the next."""
    with server.client() as http:
        sockets = set()
        for _ in range(3):
            response = http.post("/", json={})
            sockets.add(response.extensions["network_stream"].get_extra_info("client_addr"))
    assert len(sockets) == 1


def test_pipelined_calls_are_answered_in_order(server: Server) -> None:
    """Calls that are pipelined on one connection are all answered, in order."""
    head = "POST /numbers HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
    calls = [f"{head}Content-Length: 8\r\n\r\n[{n},7000]" for n in range(1, 4)]
    last = f"{head}Connection: close\r\nContent-Length: 6\r\n\r\n[7000]"
    with server.connect() as connection, connection.makefile("rb") as answers:
        connection.sendall("".join([*calls, last]).encode())
        assert re.findall(r"\r\n\r\n(700\d)", answers.read().decode()) == [
            "7001",
            "7002",
            "7003",
            "7000",
        ]


def test_a_client_that_expects_100_continue_gets_it(server: Server) -> None:
    """A client such as curl waits for ``100 Continue`` before it sends a large body."""
    with server.connect() as connection:
        connection.sendall(
            b"POST /numbers HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
            b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\n"
        )
        assert connection.recv(100).startswith(b"HTTP/1.1 100 ")
