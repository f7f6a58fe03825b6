"""What a streaming handler may do, and how its chunks arrive."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from e2e.server import Server, error, serve_source
from e2e.streams import NDJSON, RAW, SSE, Stream, open_stream
from e2e.wire import RECORD, answer, events, post
from support.sse import Event, parse

MANY = 20_000  # chunks

SOURCE = (
    RECORD
    + """
import asyncio
import threading

import numpy
from pydantic import BaseModel

from potassium import Potassium, Request, Response

app = Potassium("server")


class Prompt(BaseModel):
    times: int


def chunks(call):
    note(f"{call.get('name')} starts")
    for chunk in call["chunks"]:
        yield chunk
        if "gate" in call:
            wait_for(call["gate"])


@app.handler("/yields")
def yields(cache, json_in):
    yield from chunks(json_in)


@app.handler("/returns")
def returns(cache, json_in):
    return chunks(json_in)


@app.handler("/response")
def response(cache, json_in):
    return Response(body=chunks(json_in))


@app.handler("/pushes")
def pushes(cache, request: Request):
    *first, last = request.json["chunks"]
    for chunk in first:
        request.send(chunk)
        if "gate" in request.json:
            wait_for(request.json["gate"])
    return last


@app.handler("/async")
async def asynchronous(cache, json_in):
    for chunk in json_in["chunks"]:
        yield chunk
        while "gate" in json_in and not pathlib.Path(json_in["gate"]).exists():
            await asyncio.sleep(0.005)


@app.handler("/response/own")
def own(cache, json_in):
    return Response(body=chunks(json_in), status=201, headers={"X-Own": "mine"})


@app.handler("/bytes")
def as_bytes(cache, json_in):
    for chunk in json_in["chunks"]:
        yield bytes.fromhex(chunk)


@app.handler("/arrays")
def arrays(cache, json_in):
    yield numpy.arange(3)
    yield {"x": numpy.float32(0.5)}


@app.handler("/validated")
def validated(cache, prompt: Prompt):
    for number in range(prompt.times):
        yield number


@app.handler("/threads")
def threads(cache, json_in):
    try:
        yield threading.current_thread().name
        yield threading.current_thread().name
    finally:
        note(f"{json_in['name']} closed on {threading.current_thread().name}")


@app.handler("/async/threads")
async def async_threads(cache, json_in):
    yield threading.current_thread().name


@app.handler("/hold")
def wait(cache, json_in):
    return hold(json_in)


if __name__ == "__main__":
    app.serve()
"""
)
PRODUCERS = ["/yields", "/returns", "/response", "/pushes", "/async"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serve_source(SOURCE, tmp_path_factory.mktemp("streaming")) as server:
        yield server


def whole(server: Server, path: str, accept: str, *chunks: Any) -> tuple[str, bytes]:
    """Return the content type and the body of a stream that came to its proper end."""
    with open_stream(server, path, {"chunks": chunks}, accept) as stream:
        body, is_whole = stream.rest()
        assert (stream.status, is_whole) == (200, True), body
        return stream.headers["content-type"], body


def messages(server: Server, path: str, *chunks: Any) -> list[Event]:
    """Return the events of a stream of server-sent events, without the last one."""
    kind, body = whole(server, path, SSE, *chunks)
    *first, last = parse(body)
    assert (kind.partition(";")[0], last.type) == ("text/event-stream", "end")
    return first


@pytest.mark.parametrize("path", PRODUCERS)
def test_text_arrives_as_it_is(server: Server, path: str) -> None:
    """``str`` chunks make up a body in UTF-8, whichever way a handler streams."""
    assert whole(server, path, RAW, "one ", "twö ", "\U0001f95d") == (
        "text/plain; charset=utf-8",
        "one twö \U0001f95d".encode(),
    )


def test_bytes_arrive_as_they_are(server: Server) -> None:
    """``bytes`` chunks make up the body, byte for byte."""
    assert whole(server, "/bytes", RAW, "00ff", "0a") == ("application/octet-stream", b"\0\xff\n")


@pytest.mark.parametrize("path", PRODUCERS)
def test_other_values_arrive_as_lines_of_json(server: Server, path: str) -> None:
    """Chunks that are neither text nor bytes are sent as one JSON value per line."""
    chunks = [{"a": "x\ny"}, [1, None], 2.5, True]
    kind, body = whole(server, path, RAW, *chunks)
    assert kind == "application/x-ndjson"
    assert [json.loads(line) for line in body.splitlines()] == chunks


@pytest.mark.parametrize("path", PRODUCERS)
def test_lines_of_json_are_sent_to_who_asks_for_them(server: Server, path: str) -> None:
    """``Accept: application/x-ndjson`` makes one JSON value per line, of text too."""
    chunks = ["one", "t\nw\ro", "", {"three": 3}]
    kind, body = whole(server, path, NDJSON, *chunks)
    assert (kind, body[-1:]) == ("application/x-ndjson", b"\n")
    assert [json.loads(line) for line in body[:-1].split(b"\n")] == chunks


@pytest.mark.parametrize("path", PRODUCERS)
def test_events_are_sent_to_who_asks_for_them(server: Server, path: str) -> None:
    """``Accept: text/event-stream`` makes each chunk an event, with ids that count up."""
    assert messages(server, path, "one", "two") == [
        Event("message", "one", "1"),
        Event("message", "two", "2"),
    ]


@pytest.mark.parametrize("path", PRODUCERS)
def test_the_end_of_a_stream_of_events_is_an_event(server: Server, path: str) -> None:
    """``event: end`` has a data line, because a browser would drop it otherwise."""
    _, body = whole(server, path, SSE, "one", "two")
    assert [(event.type, event.data) for event in parse(body)][2:] == [("end", "")]


LINES = {
    "LF": ("a\nb", "a\nb"),
    "CRLF": ("a\r\nb", "a\nb"),
    "CR": ("a\rb", "a\nb"),
    "empty lines": ("\n\na\n\n", "\n\na\n\n"),
    "no line": ("", ""),
    "a leading blank": ("  a", "  a"),
    "like a field": ("data: a\nevent: end\nid: 9\n: b", "data: a\nevent: end\nid: 9\n: b"),
    "other line breaks": ("a\u2028b\x0bc\x85d", "a\u2028b\x0bc\x85d"),
}


@pytest.mark.parametrize("case", LINES)
def test_text_survives_as_an_event(server: Server, case: str) -> None:
    """Line breaks, spaces and text that looks like a field are data, and break no event."""
    text, expected = LINES[case]
    assert [event.data for event in messages(server, "/yields", text, "next")] == [expected, "next"]


def test_other_values_arrive_as_json_in_events(server: Server) -> None:
    """Chunks that are not text are JSON in their events."""
    chunks = [{"a": "x\ny"}, [1, None], 2.5, True, None]
    assert [json.loads(event.data) for event in messages(server, "/yields", *chunks)] == chunks


@pytest.mark.parametrize("accept", [RAW, NDJSON])
def test_arrays_arrive_as_json(server: Server, accept: str) -> None:
    """Chunks may be whatever results may be, such as arrays and their scalars."""
    _, body = whole(server, "/arrays", accept)
    assert [json.loads(line) for line in body.splitlines()] == [[0, 1, 2], {"x": 0.5}]


ACCEPTS = {
    "text/event-stream": "text/event-stream",
    "Text/Event-Stream": "text/event-stream",
    "text/event-stream; charset=utf-8": "text/event-stream",
    "application/json;q=0.5, text/event-stream": "text/event-stream",
    "application/x-ndjson;q=0.5, text/event-stream;q=0.9": "text/event-stream",
    "text/event-stream;q=0.1, application/x-ndjson": "application/x-ndjson",
    "text/event-stream;q=0": "text/plain",
    "text/*": "text/plain",
    "application/json": "text/plain",
    "x": "text/plain",
}


@pytest.mark.parametrize("accept", ACCEPTS)
def test_the_accept_header_decides_as_http_has_it(server: Server, accept: str) -> None:
    """Media types are compared without case, and weights count (RFC 9110, section 12.5.1)."""
    kind, _ = whole(server, "/yields", f"Accept: {accept}", "one")
    assert kind.partition(";")[0] == ACCEPTS[accept]


@pytest.mark.parametrize("accept", [RAW, NDJSON, SSE])
@pytest.mark.parametrize("path", PRODUCERS)
def test_a_chunk_arrives_before_the_next_is_made(
    server: Server, path: str, accept: str, gate: Path
) -> None:
    """A chunk is on the wire while the handler works on the next one."""
    body = {"chunks": ["one", "two"], "gate": str(gate)}
    with open_stream(server, path, body, accept) as stream:
        stream.until(b"one")
        gate.touch()
        stream.until(b"two")


def test_a_push_of_nothing_at_the_end_is_no_chunk(server: Server) -> None:
    """If a handler has pushed chunks and returns None, the None is not sent."""
    assert [event.data for event in messages(server, "/pushes", "one", None)] == ["one"]


def test_a_handler_that_pushes_nothing_answers_as_ever(server: Server) -> None:
    """A handler that does not call ``request.send`` does not stream."""
    response = server.post("/pushes", {"chunks": [{"a": 1}]})
    assert (response.headers["content-type"], response.json()) == ("application/json", {"a": 1})
    assert "content-length" in response.headers


@pytest.mark.parametrize("path", ["/yields", "/response", "/async"])
def test_a_stream_of_nothing_is_whole(server: Server, path: str) -> None:
    """A generator that yields nothing makes an empty body, or the ``end`` event alone."""
    assert whole(server, path, RAW)[1] == b""
    assert messages(server, path) == []


@pytest.mark.parametrize(
    ("path", "expected"), [("/yields", b"6162"), ("/async", b"6162"), ("/bytes", b"ab")]
)
def test_an_empty_chunk_does_not_end_the_body(server: Server, path: str, expected: bytes) -> None:
    """A chunk of no bytes is not sent as the empty HTTP chunk that ends a body."""
    assert whole(server, path, RAW, "61", "", "62")[1] == expected


def test_a_streaming_response_has_its_own_status_and_headers(server: Server) -> None:
    """``Response(body=generator)`` is answered with its own status and headers."""
    with open_stream(server, "/response/own", {"chunks": ["one"]}, SSE) as stream:
        assert (stream.status, stream.headers["x-own"]) == (201, "mine")


@pytest.mark.parametrize("accept", [RAW, NDJSON, SSE])
@pytest.mark.parametrize("path", PRODUCERS)
def test_a_stream_carries_its_request_id(server: Server, path: str, accept: str) -> None:
    """The client's own id comes back with a stream as with any answer."""
    body = {"chunks": ["one", "two"]}
    with open_stream(server, path, body, accept, "X-Request-Id: mine-4711") as stream:
        assert stream.headers["x-request-id"] == "mine-4711"


def test_the_steps_of_a_generator_run_on_the_gpu_thread(server: Server, name: str) -> None:
    """The first step, the later ones and the final clean-up all run on the GPU thread."""
    with open_stream(server, "/threads", {"name": name}, SSE) as stream:
        seen = {event.data for event in stream.last_events() if event.type == "message"}
    assert seen == {"potassium-gpu"}
    assert events(server, name) == [f"{name} closed on potassium-gpu"]


def test_an_async_generator_streams_while_the_gpu_thread_is_held(
    server: Server, gate: Path, name: str
) -> None:
    """An ``async def`` handler streams from the event loop, and waits for no other handler."""
    with server.connect() as holder:
        holder.sendall(post("/hold", {"name": name, "gate": str(gate)}))
        _, body = whole(server, "/async/threads", RAW)
        gate.touch()
        assert answer(holder).status == 200
    assert body == b"MainThread"


def test_the_input_of_a_streaming_handler_is_validated(server: Server) -> None:
    """The 422 comes before the generator is made, even to a client that wants events."""
    headers = {"Accept": "text/event-stream"}
    refused = server.post("/validated", {"times": "many"}, headers=headers)
    taken = server.post("/validated", {"times": 2})
    assert (error(refused), taken.text) == ((422, "invalid_input"), "0\n1\n")


def test_head_never_streams(server: Server, name: str) -> None:
    """HEAD is the wrong method, as always: nothing is generated for it."""
    with server.client() as http:
        response = http.request("HEAD", "/yields", json={"name": name, "chunks": ["one"]})
    assert (response.status_code, response.content) == (405, b"")
    assert events(server, name) == []


@pytest.mark.parametrize("path", ["/yields", "/pushes", "/async"])
@pytest.mark.parametrize("accept", [RAW, SSE])
def test_many_chunks_arrive_in_order(server: Server, path: str, accept: str) -> None:
    """However many chunks pile up, none is lost, duplicated or out of order."""
    _, body = whole(server, path, accept, *range(MANY))
    if accept == SSE:
        seen = [(event.id, event.data) for event in parse(body)[:-1]]
        assert seen == [(str(number + 1), str(number)) for number in range(MANY)]
    else:
        assert [int(line) for line in body.splitlines()] == list(range(MANY))


@pytest.mark.parametrize("accept", [RAW, SSE])
@pytest.mark.parametrize("path", PRODUCERS)
def test_a_connection_serves_on_after_a_stream(server: Server, path: str, accept: str) -> None:
    """The end of a stream does not end its connection."""
    with server.connect() as connection:
        for text in ("one", "two"):
            connection.sendall(post(path, {"chunks": ["a", text]}, accept))
            body, is_whole = Stream(connection).rest()
            assert (is_whole, text.encode() in body) == (True, True)
