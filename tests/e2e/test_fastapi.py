"""A model behind the dependencies of a FastAPI app, over real sockets."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from e2e.server import Server, serve_source, wait_until

SOURCE = """
import os
import time

from fastapi import Depends, FastAPI, Header, HTTPException
from fastapi.responses import JSONResponse, StreamingResponse

from potassium import Potassium, PotassiumError, Request

model = Potassium("model")


@model.init
def init():
    print("init has run")


@model.handler("/embed")
def embed(cache, json_in):
    return json_in


# Threads print at the same time: one string each, for ``print`` writes every argument by itself.
@model.handler("/wait")
def wait(cache, request: Request):
    print(f"begun {request.json['name']}")
    while not request.cancelled:
        time.sleep(0.005)
    print(f"cancelled {request.json['name']}")


@model.handler("/chat")
def chat(cache, json_in):
    try:
        yield "first"
        while not os.path.exists(json_in["gate"]):
            time.sleep(0.005)
            yield "next"
        if json_in.get("breaks"):
            raise RuntimeError("in mid-stream")
        yield "last"
    except GeneratorExit:
        print(f"closed {json_in['name']}")


def auth(authorization: str = Header("")):
    if authorization != "Bearer good":
        raise HTTPException(401, "no such token")


def session(x_name: str = Header("")):
    yield
    print(f"session over {x_name}")


parent = FastAPI()
guards = [Depends(auth), Depends(session)]
parent.include_router(model.router_for_fastapi(dependencies=guards), prefix="/model")


@parent.exception_handler(PotassiumError)
async def refused(request, error):
    return JSONResponse({"detail": error.detail}, error.status, dict(error.headers))


@parent.post("/own/chat")
async def own_chat(item: dict):
    return StreamingResponse(await model.stream("/chat", item), media_type="text/plain")


@parent.post("/own/wait")
async def own_wait(item: dict):
    return await model.call("/wait", item, timeout=item.get("timeout"))
"""
GOOD = {"Authorization": "Bearer good"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("fastapi")
    with serve_source(SOURCE, folder, target="parent", ready="/model/readyz") as server:
        yield server


def test_the_parent_starts_the_model(server: Server) -> None:
    """The port opens once init has run, and nothing says that a request had to start it."""
    assert server.log().count("init has run") == 1
    assert "lifespan was not entered" not in server.log()


def test_a_client_without_a_token_is_refused_before_it_sends_its_body(server: Server) -> None:
    """A client that waits for ``100 Continue`` gets the refusal instead."""
    head = b"POST /model/embed HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n%b\r\n"
    with server.connect() as connection:
        connection.sendall(head % b"Expect: 100-continue\r\n")
        assert connection.recv(1000).startswith(b"HTTP/1.1 401 ")
    with server.connect() as connection:
        connection.sendall(head % b"Expect: 100-continue\r\nAuthorization: Bearer good\r\n")
        assert connection.recv(1000).startswith(b"HTTP/1.1 100 ")


def test_a_client_with_a_token_is_answered(server: Server) -> None:
    """By the handler, below the prefix."""
    assert server.post("/model/embed", {"a": 1}, headers=GOOD).json() == {"a": 1}


@pytest.mark.parametrize("path", ["/model/chat", "/own/chat"])
def test_chunks_arrive_as_they_come(server: Server, path: str, gate: Path, name: str) -> None:
    """Through the router, and through a route of the parent that streams itself."""
    item = {"gate": str(gate), "name": name}
    with server.client() as http, http.stream("POST", path, json=item, headers=GOOD) as answer:
        chunks = answer.iter_text()
        assert next(chunks).startswith("first")
        gate.touch()
        assert "".join(chunks).endswith("last")


@pytest.mark.parametrize("path", ["/model/chat", "/own/chat"])
def test_a_stream_whose_client_leaves_is_closed(
    server: Server, path: str, gate: Path, name: str
) -> None:
    """Its generator ends at its ``yield``, and the parent's dependencies after it."""
    item, headers = {"gate": str(gate), "name": name}, {**GOOD, "X-Name": name}
    with server.client() as http, http.stream("POST", path, json=item, headers=headers) as answer:
        assert next(answer.iter_text()).startswith("first")
    wait_until(lambda: f"closed {name}" in server.log(), "the generator that is closed")
    if path == "/model/chat":
        wait_until(lambda: f"session over {name}" in server.log(), "the dependency that ends")


def test_a_call_whose_client_leaves_is_called_off(server: Server, name: str) -> None:
    """The handler sees it, as it does without a parent."""
    with server.connect() as connection:
        body = b'{"name":"%b"}' % name.encode()
        head = b"POST /model/wait HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer good\r\n"
        head += b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
        connection.sendall(head + body)
        wait_until(lambda: f"begun {name}" in server.log(), "the handler")
    wait_until(lambda: f"cancelled {name}" in server.log(), "the handler that notices")


def test_a_call_in_the_process_ends_at_its_deadline(server: Server, name: str) -> None:
    """The parent's exception handler answers, and the handler sees that nobody waits."""
    assert server.post("/own/wait", {"name": name, "timeout": 0.05}).status_code == 504
    wait_until(lambda: f"cancelled {name}" in server.log(), "the handler that notices")


def test_a_stream_that_breaks_is_seen_to_be_incomplete(
    server: Server, gate: Path, name: str
) -> None:
    """The connection is broken, also with an exception handler of the parent."""
    item = {"gate": str(gate), "name": name, "breaks": True}
    gate.touch()
    with pytest.raises(httpx.RemoteProtocolError):
        server.post("/model/chat", item, headers=GOOD)


def test_a_parent_with_a_model_ends(tmp_path: Path) -> None:
    """SIGINT ends both, and the status says that all went well."""
    with serve_source(SOURCE, tmp_path, target="parent", ready="/model/readyz") as server:
        assert server.post("/model/embed", {}, headers=GOOD).status_code == 200
        assert server.stop() == 0
