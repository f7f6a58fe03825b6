"""What a client gets when a call cannot be answered."""

import json
import sys
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import httpx
import pytest
from e2e.server import Server, error, serve_source

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
LIMIT = 10 * 1024 * 1024  # bytes: the default limit of a body

SOURCE = """
import asyncio
import os

from pydantic import BaseModel
from starlette.exceptions import HTTPException

from potassium import Potassium, Request

app = Potassium("server", debug=bool(os.environ.get("DEBUG")))

RAISED = {
    "Exception": Exception("hidden-4711"),
    "SystemExit": SystemExit(3),
    "KeyboardInterrupt": KeyboardInterrupt(),
    "GeneratorExit": GeneratorExit(),
    "StopIteration": StopIteration(1),
    "CancelledError": asyncio.CancelledError(),
}
calls = []


class Item(BaseModel):
    number: int


@app.handler
def handler(cache, json_in: dict):
    calls.append(json_in)
    return {"size": len(str(json_in))}


@app.handler("/calls")
def count(cache, json_in):
    return len(calls)


@app.handler("/bare")
def bare(cache, anything):
    return None


@app.handler("/item")
def item(cache, item: Item):
    return item.number


@app.handler("/request")
def request_size(cache, request: Request):
    return len(request.body)


@app.handler("/request/json")
def request_json(cache, request: Request):
    return request.json


@app.handler("/raises")
def raises(cache, json_in):
    raise RAISED[json_in["what"]]


@app.handler("/async/raises")
async def async_raises(cache, json_in):
    raise RAISED[json_in["what"]]


@app.handler("/http/999")
def impossible(cache, json_in):
    raise HTTPException(999)


@app.handler("/http")
def http(cache, json_in):
    raise HTTPException(409, detail="Not today.", headers={"X-Reason": "busy"})


if __name__ == "__main__":
    app.serve()
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serve_source(SOURCE, tmp_path_factory.mktemp("errors")) as server:
        yield server


@pytest.fixture(scope="module")
def debug_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("debug")
    with serve_source(SOURCE, folder, env={"DEBUG": "1"}) as server:
        yield server


TEXT = {"Content-Type": "text/plain"}
FAULTS: dict[str, Callable[[Server], httpx.Response]] = {
    "malformed JSON": lambda server: server.post("/", content=b"{"),
    "unknown path": lambda server: server.post("/nowhere", {}),
    "wrong method": lambda server: server.get("/"),
    "wrong media type": lambda server: server.post("/", content=b"", headers=TEXT),
    "invalid input": lambda server: server.post("/item", {}),
    "a handler that raises": lambda server: server.post("/raises", {"what": "Exception"}),
    "an HTTPException": lambda server: server.post("/http", {}),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_every_error_is_a_problem_document(server: Server, fault: str) -> None:
    """Errors have the members of RFC 9457, a code and the request id."""
    response = FAULTS[fault](server)
    problem = response.json()
    assert response.headers["content-type"] == "application/problem+json"
    assert {
        "type": str,
        "title": str,
        "status": int,
        "detail": str,
        "code": str,
        "request_id": str,
    }.items() <= {name: type(value) for name, value in problem.items()}.items()
    assert problem["status"] == response.status_code
    assert problem["request_id"] == response.headers["x-request-id"]


MALFORMED = {
    "empty": b"",
    "blank": b"  \n",
    "cut off": b'{"a": ',
    "not JSON": b"prompt=hello",
    "two values": b"{} {}",
    "NaN": b'{"a": NaN}',
    "Infinity": b'{"a": -Infinity}',
    "not UTF-8": b'{"a": "\xff\xfe"}',
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "arrays nested deeply": b"[" * 100_000 + b"]" * 100_000,
    "objects nested deeply": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "nested deeply, never closed": b"[" * 100_000,
    "a number of 5000 digits": b'{"a": ' + b"9" * 5000 + b"}",
    "a number too large for a float": b'{"a": 1e999}',
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_json_is_refused(server: Server, case: str) -> None:
    """JSON that the parser does not accept is answered 400."""
    assert error(server.post("/", content=MALFORMED[case])) == (400, "malformed_json")


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_json_is_refused_before_validation(server: Server, case: str) -> None:
    """A handler with a pydantic argument answers malformed JSON the same way."""
    assert error(server.post("/item", content=MALFORMED[case])) == (400, "malformed_json")


def test_malformed_json_never_reaches_the_handler(server: Server) -> None:
    """A body that is not JSON does not reach the handler."""
    before = server.post("/calls", {}).json()
    for body in MALFORMED.values():
        server.post("/", content=body)
    assert server.post("/calls", {}).json() == before


def test_malformed_json_read_through_a_request_is_the_clients_fault(server: Server) -> None:
    """Reading ``request.json`` of a body that is not JSON is answered 400, not 500."""
    assert error(server.post("/request/json", content=b"{")) == (400, "malformed_json")


@pytest.mark.parametrize("headers", [TEXT, {"Content-Type": "application/x-www-form-urlencoded"}])
def test_a_json_handler_refuses_other_media_types(server: Server, headers: dict[str, str]) -> None:
    """A body that is not declared as JSON is answered 415."""
    response = server.post("/", content=b"{}", headers=headers)
    assert error(response) == (415, "unsupported_media_type")


def test_a_json_handler_refuses_an_undeclared_body(server: Server) -> None:
    """A body without Content-Type is answered 415."""
    with server.client() as http:
        assert error(http.post("/", content=b"{}")) == (415, "unsupported_media_type")


def test_a_refused_media_type_is_told_what_to_send(server: Server) -> None:
    """The detail of a 415 shows the header to send."""
    detail = server.post("/", content=b"{}", headers=TEXT).json()["detail"]
    assert "Content-Type: application/json" in detail


@pytest.mark.parametrize("path", ["/", "/bare", "/item"])
@pytest.mark.parametrize("body", [[1], "text", 1, True, None])
def test_json_that_is_no_object_is_invalid_input(server: Server, path: str, body: object) -> None:
    """If the handler takes an object, other JSON is answered 422."""
    assert error(server.post(path, content=json.dumps(body).encode())) == (422, "invalid_input")


def test_invalid_input_is_explained(server: Server) -> None:
    """A 422 lists the place, the message and the type of each mistake."""
    [mistake] = server.post("/item", {"number": "many"}).json()["errors"]
    assert mistake["loc"][-1] == "number"
    assert {"loc", "msg", "type"} == set(mistake)


def test_invalid_input_is_not_repeated_to_the_client(server: Server) -> None:
    """A 422 does not quote the input."""
    assert "hidden-4711" not in server.post("/item", {"number": "hidden-4711"}).text


def test_an_unknown_path_is_not_found(server: Server) -> None:
    """A path without a handler is answered 404."""
    assert error(server.post("/nowhere", {})) == (404, "not_found")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_a_wrong_method_is_not_allowed(server: Server, method: str) -> None:
    """Methods other than POST are answered 405."""
    with server.client() as http:
        assert error(http.request(method, "/item")) == (405, "method_not_allowed")


def test_a_wrong_method_is_told_the_right_one(server: Server) -> None:
    """A 405 names POST in its Allow header."""
    assert "POST" in server.get("/item").headers["allow"]


def test_a_declared_length_over_the_limit_is_refused_unread(server: Server) -> None:
    """413 comes before a single byte of the body is sent."""
    with server.connect() as connection:
        connection.sendall(
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n" % (LIMIT + 1)
        )
        assert connection.recv(100).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("path", ["/", "/request"])
def test_a_body_over_the_limit_is_refused(server: Server, path: str) -> None:
    """A body with a Content-Length over 10 MiB is answered 413."""
    assert error(server.post(path, content=b" " * (LIMIT + 1))) == (413, "body_too_large")


def test_a_body_of_unknown_length_is_counted(server: Server) -> None:
    """A chunked body is answered 413 once it is over 10 MiB."""
    chunks = (b" " * 65536 for _ in range(LIMIT // 65536 + 1))
    with server.client() as http:
        response = http.post("/", content=chunks, headers={"Content-Type": "application/json"})
    assert error(response) == (413, "body_too_large")


@linux
def test_a_body_over_the_limit_is_not_held_in_memory(server: Server) -> None:
    """100 MiB sent to the server are answered 413, and take only a fraction of that in memory."""
    before = server.peak_memory()
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
    with server.connect() as connection:
        connection.sendall(
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        with suppress(OSError):  # the server may have closed the connection
            for _ in range(10 * LIMIT // 65536):
                connection.sendall(chunk)
        assert connection.recv(100).startswith(b"HTTP/1.1 413 ")
    assert server.peak_memory() - before < 4 * LIMIT


def test_a_body_at_the_limit_is_taken(server: Server) -> None:
    """A body of exactly 10 MiB reaches the handler."""
    assert server.post("/request", content=b" " * LIMIT).json() == LIMIT


def test_a_call_is_served_after_a_body_over_the_limit(server: Server) -> None:
    """After a 413, the same client's next call is served."""
    with server.client() as http:
        http.post("/request", content=b" " * (LIMIT + 1))
        assert http.post("/request", content=b"abc").json() == 3


RAISED = [
    "Exception",
    "SystemExit",
    "KeyboardInterrupt",
    "GeneratorExit",
    "StopIteration",
    "CancelledError",
]


@pytest.mark.parametrize("path", ["/raises", "/async/raises"])
@pytest.mark.parametrize("what", RAISED)
def test_a_handler_that_raises_is_answered_500(server: Server, path: str, what: str) -> None:
    """Whatever a handler raises, its caller gets 500."""
    assert error(server.post(path, {"what": what})) == (500, "handler_error")


@pytest.mark.parametrize("path", ["/raises", "/async/raises"])
@pytest.mark.parametrize("what", RAISED)
def test_the_next_call_is_served_after_a_handler_raised(
    server: Server, path: str, what: str
) -> None:
    """Whatever a handler raises, the next call is served."""
    server.post(path, {"what": what})
    assert server.post("/bare", {}).status_code == 200


def test_neighbours_of_a_call_that_raises_are_served(server: Server) -> None:
    """Among simultaneous calls, only those that raise are answered 500."""

    def call(number: int) -> int:
        path = "/raises" if number % 4 == 0 else "/bare"
        return server.post(path, {"what": "Exception"}).status_code

    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(call, range(32)))
    assert statuses == [500 if number % 4 == 0 else 200 for number in range(32)]


def test_an_http_exception_is_answered_as_such(server: Server) -> None:
    """The answer has the status, detail and headers of the ``HTTPException``."""
    response = server.post("/http", {})
    assert (response.status_code, response.json()["detail"], response.headers["x-reason"]) == (
        409,
        "Not today.",
        "busy",
    )


def test_an_http_exception_that_http_does_not_know_is_answered_500(server: Server) -> None:
    """An ``HTTPException`` with a status that cannot be sent is the handler's error."""
    assert server.post("/http/999", {}).status_code == 500


@pytest.mark.parametrize("hidden", ["Traceback", "hidden-4711", "app.py"])
def test_what_was_raised_does_not_leave_the_server(server: Server, hidden: str) -> None:
    """A 500 carries no traceback, no message and no path."""
    assert hidden not in server.post("/raises", {"what": "Exception"}).text


def test_debug_shows_the_client_what_was_raised(debug_server: Server) -> None:
    """With ``debug=True`` the answer says what the handler raised."""
    assert "hidden-4711" in debug_server.post("/raises", {"what": "Exception"}).text


def test_debug_keeps_the_shape_of_errors(debug_server: Server) -> None:
    """With ``debug=True``, an error is still a problem document."""
    assert error(debug_server.post("/raises", {"what": "Exception"})) == (500, "handler_error")


def test_the_log_has_the_traceback_and_the_request_id(server: Server) -> None:
    """By request id, the operator finds in the log what the client is not shown."""
    request_id = str(uuid.uuid4())
    server.post("/raises", {"what": "Exception"}, headers={"X-Request-Id": request_id})
    _, _, entry = server.log().partition(request_id)
    assert "Exception: hidden-4711" in entry
