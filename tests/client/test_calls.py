"""What is sent for a call, and what its answer becomes."""

import gc
import json
import socket
import warnings
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import httpx
import numpy as np
import pytest
from client.conftest import Connect
from pydantic import BaseModel, Field
from typing_extensions import TypedDict  # pydantic wants it before Python 3.12

from potassium import Potassium, Request, Response
from potassium.client import AsyncClient, Client, InvalidInput, Unauthorized, UnexpectedAnswer


class Model(BaseModel):
    text: str = Field(alias="Text")
    top: int = 1


@dataclass
class Point:
    x: float
    y: float


@dataclass
class Other:
    x: float
    y: float


class Both(TypedDict):
    x: float
    y: float


def echo(app: Potassium) -> None:
    @app.handler("/echo")
    def echo(cache: dict[str, Any], request: Request) -> dict[str, Any]:
        headers = request.headers
        return {
            "body": json.loads(request.body),
            "type": headers["content-type"],
            "prefer": headers.get("prefer"),
            "priority": headers.get("x-priority"),
            "own": headers.get("x-own"),
        }


@pytest.mark.parametrize(
    ("item", "body"),
    [
        ({"a": [1, None]}, {"a": [1, None]}),
        ([1, 2], [1, 2]),
        ("text", "text"),
        (None, {}),
        (Model(Text="a"), {"Text": "a", "top": 1}),
        ({"items": [Model(Text="a")]}, {"items": [{"Text": "a", "top": 1}]}),
        (Point(1, 2.5), {"x": 1, "y": 2.5}),
        (np.eye(2), [[1.0, 0.0], [0.0, 1.0]]),
        ({"v": np.arange(3), "n": np.float32(0.1)}, {"v": [0, 1, 2], "n": 0.1}),
        ({"price": Decimal("1.10")}, {"price": "1.10"}),
        ({"big": 2**70}, {"big": 2**70}),
    ],
)
async def test_an_item_is_sent_as_json(
    app: Potassium, connect: Connect, item: Any, body: Any
) -> None:
    """Whatever the server can return as JSON, the client can send."""
    echo(app)
    client = await connect()
    answer = await client.call("/echo", item)
    assert (answer["body"], answer["type"]) == (body, "application/json")


async def test_what_is_not_json_is_named(connect: Connect) -> None:
    """The error says where it is in the item, and nothing is sent."""
    client = await connect()
    with pytest.raises(TypeError, match=r"The item cannot be sent as JSON at a\[1\]"):
        await client.call("/echo", {"a": [1, object()]})


@pytest.mark.parametrize("kind", [None, "audio/wav"])
async def test_bytes_are_sent_as_they_are(
    app: Potassium, connect: Connect, kind: str | None
) -> None:
    """With the content type that the caller gives them."""

    @app.handler("/raw")
    def raw(cache: dict[str, Any], request: Request) -> dict[str, Any]:
        return {"size": len(request.body), "type": request.headers["content-type"]}

    client = await connect()
    options: Any = {} if kind is None else {"content_type": kind}
    answer = await client.call("/raw", b"\0\1\2", **options)
    assert answer == {"size": 3, "type": kind or "application/octet-stream"}


@pytest.mark.parametrize(
    ("into", "result"),
    [
        (None, {"x": 1.0, "y": 2.0}),
        (Point, Point(1.0, 2.0)),
        (Both, {"x": 1.0, "y": 2.0}),
        (dict[str, Decimal], {"x": Decimal("1.0"), "y": Decimal("2.0")}),
        (bytes, b'{"x":1.0,"y":2.0}'),
    ],
)
async def test_an_answer_becomes_the_type_that_is_asked_for(
    app: Potassium, connect: Connect, into: Any, result: Any
) -> None:
    """A dataclass, a TypedDict, a generic type, the bytes; or what the JSON says."""

    @app.handler("/point")
    def point(cache: dict[str, Any], json_in: dict[str, Any]) -> Point:
        return Point(1.0, 2.0)

    client = await connect()
    assert await client.call("/point", into=into) == result


async def test_the_whole_response_can_be_asked_for(app: Potassium, connect: Connect) -> None:
    """It has the headers, and the id of the request."""

    @app.handler("/made")
    def made(cache: dict[str, Any], json_in: dict[str, Any]) -> Response:
        return Response(status=201, json=1, headers={"X-Model": "a"})

    client = await connect(headers={"X-Request-Id": "mine"})
    response = await client.call("/made", into=httpx.Response)
    assert (response.status_code, response.json()) == (201, 1)
    assert (response.headers["x-model"], response.headers["x-request-id"]) == ("a", "mine")


async def test_an_answer_of_another_type_is_an_error(app: Potassium, connect: Connect) -> None:
    """It keeps the response, so that what the call did is not lost."""

    @app.handler("/point")
    def point(cache: dict[str, Any], json_in: dict[str, Any]) -> dict[str, Any]:
        return {"x": "left"}

    client = await connect()
    with pytest.raises(UnexpectedAnswer, match="does not match into=") as caught:
        await client.call("/point", into=Point)
    assert caught.value.response is not None
    assert caught.value.response.json() == {"x": "left"}
    assert caught.value.request_id is not None


async def test_a_type_that_pydantic_does_not_know_is_an_error_before_the_call() -> None:
    """Nothing is sent: the call would run for nothing."""
    sent = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(200, json=1)

    async with AsyncClient("http://app", transport=httpx.MockTransport(answer)) as client:
        for start in (client.call("/", into=Trickle), anext(client.stream("/", into=Trickle))):
            with pytest.raises(TypeError, match="into="):
                await start
            with pytest.raises(TypeError, match="into="):
                await client.call("/", into=list["Missing"])  # type: ignore[name-defined] # noqa: F821
    assert sent == []


async def test_members_of_a_union_keep_their_order() -> None:
    """``A | B`` equals ``B | A`` for Python, but an answer that is both becomes the first one."""
    async with AsyncClient("http://app", transport=answering(b'{"x": 1, "y": 2}')) as client:
        first = await client.call("/", into=Point | Other)
        second = await client.call("/", into=Other | Point)
    assert (type(first), type(second)) == (Point, Other)


@pytest.mark.parametrize("path", ["http://other/embed", "HTTPS://other"])
async def test_the_api_key_is_not_sent_to_another_server(path: str) -> None:
    """A path that is a URL is an error."""
    transport = answering(b"1")
    async with AsyncClient("http://app", transport=transport, api_key="secret") as client:
        with pytest.raises(ValueError, match="is a URL"):
            await client.call(path)
        assert await client.call("/fetch/http://other") == 1


async def test_an_answer_that_is_no_json_is_an_error(app: Potassium, connect: Connect) -> None:
    """The error says how to get the body; ``into=bytes`` gets it."""

    @app.handler("/picture")
    def picture(cache: dict[str, Any], json_in: dict[str, Any]) -> Response:
        return Response(body=b"\x89PNG", headers={"Content-Type": "image/png"})

    client = await connect()
    with pytest.raises(UnexpectedAnswer, match="image/png, not JSON: into=bytes gives the body"):
        await client.call("/picture")
    assert await client.call("/picture", into=bytes) == b"\x89PNG"


async def test_json_that_is_none_is_an_error() -> None:
    """A content type may lie."""
    async with AsyncClient("http://app", transport=answering(b"{oops")) as client:
        with pytest.raises(UnexpectedAnswer, match="not JSON"):
            await client.call("/")
        with pytest.raises(UnexpectedAnswer):
            await client.call("/", into=dict[str, int])


async def test_an_empty_answer_is_none(app: Potassium, connect: Connect) -> None:
    """A handler may answer 204."""

    @app.handler("/nothing")
    def nothing(cache: dict[str, Any], json_in: dict[str, Any]) -> Response:
        return Response(status=204)

    client = await connect()
    assert await client.call("/nothing") is None


def answering(body: bytes) -> httpx.MockTransport:
    headers = {"content-type": "application/json"}
    return httpx.MockTransport(lambda request: httpx.Response(200, content=body, headers=headers))


async def test_json_is_asked_for_unless_the_caller_wants_something_else() -> None:
    """``Accept`` follows ``into=``; the caller's own header goes first."""
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.headers["accept"])
        return httpx.Response(200, json=1)

    async with AsyncClient("http://app", transport=httpx.MockTransport(answer)) as client:
        await client.call("/")
        await client.call("/", into=int)
        await client.call("/", into=bytes)
        await client.call("/", into=bytes, headers={"Accept": "application/x-npy"})
    assert asked == ["application/json"] * 2 + ["*/*", "application/x-npy"]


async def test_headers_priority_and_deadline_are_sent(app: Potassium, connect: Connect) -> None:
    """Those of the client with each call, those of a call with it alone."""
    echo(app)
    client = await connect(headers={"X-Own": "client"}, priority="low", deadline=60)
    answer = await client.call("/echo")
    assert (answer["own"], answer["priority"]) == ("client", "low")
    assert 59 < float(answer["prefer"].removeprefix("wait=")) <= 60
    answer = await client.call(
        "/echo", headers={"X-Own": "call", "Prefer": "handling=strict"}, priority="high"
    )
    assert (answer["own"], answer["priority"]) == ("call", "high")
    assert answer["prefer"] == "handling=strict"


async def test_the_api_key_is_sent(connect: Connect) -> None:
    """The server lets the call in; without the key, the error says what is missing."""
    app = Potassium("keys", api_keys=["secret"])

    @app.handler("/")
    def handler(cache: dict[str, Any], json_in: dict[str, Any]) -> int:
        return 1

    transport = httpx.ASGITransport(app)
    async with app.lifespan():
        async with AsyncClient("http://app", transport=transport, api_key="secret") as client:
            assert await client.call("/") == 1
            assert "secret" not in repr(client)
        async with AsyncClient("http://app", transport=transport) as client:
            with pytest.raises(Unauthorized):
                await client.call("/")


async def test_what_is_wrong_with_the_input_is_told(app: Potassium, connect: Connect) -> None:
    """``errors`` has the place and the reason."""

    @app.handler("/point")
    def point(cache: dict[str, Any], item: Point) -> float:
        return item.x

    client = await connect()
    with pytest.raises(InvalidInput) as caught:
        await client.call("/point", {"x": 1, "y": "up"})
    (fault,) = caught.value.errors
    assert fault["loc"] == ["y"]


async def test_a_mounted_app_is_called_below_its_path(app: Potassium, connect: Connect) -> None:
    """``base_url`` may have a path."""
    paths = []

    def answer(request: httpx.Request) -> httpx.Response:
        paths.append(request.url.path)
        return httpx.Response(200, json=1)

    transport = httpx.MockTransport(answer)
    async with AsyncClient("http://app/model", transport=transport) as client:
        await client.call("/embed")
        await client.call("/")
    assert paths == ["/model/embed", "/model/"]


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_unknown_options_are_errors(kind: Any) -> None:
    """Of the client, at once; the error says which there are."""
    with pytest.raises(TypeError, match=r"There is no option retry=; .* retries, timeout\."):
        kind("http://app", retry=3)


@pytest.mark.parametrize("kind", [Client, AsyncClient])
@pytest.mark.parametrize(
    "url",
    ["localhost:8000", "127.0.0.1:8000", "", "/model", "ftp://app", "http://", "http://a/?b=c"],
)
def test_a_url_that_is_not_that_of_a_server_is_an_error(kind: Any, url: str) -> None:
    """At once; the error shows how to write it."""
    with pytest.raises(ValueError, match="http://localhost:8000"):
        kind(url)


@pytest.mark.parametrize("key", ["", "secret\n", " secret", "sec\tret", "sec\0ret"])
def test_an_api_key_that_cannot_be_sent_is_an_error(key: str) -> None:
    """As one that was read from a file with its line end; the error does not show it."""
    with pytest.raises(ValueError, match="api_key=") as caught:
        Client("http://app", api_key=key)
    assert "sec" not in str(caught.value)


@pytest.mark.parametrize("retries", [-1, None, 1.5])
def test_retries_are_a_number(retries: Any) -> None:
    """With a negative one, a client would never give up."""
    with pytest.raises(ValueError, match="retries="):
        Client("http://app", retries=retries)


def test_a_password_in_the_url_is_not_shown() -> None:
    """As a client is shown in logs."""
    with Client("http://me:secret@app/model") as client:
        assert repr(client) == "<Client http://app/model/>"


def test_unknown_options_of_a_call_are_errors() -> None:
    """Nothing is sent, and the error says which options there are."""
    options: Any = {"timeout": 3}
    told = "There is no option timeout=; there are content_type, deadline, "
    with Client("http://app") as client, pytest.raises(TypeError, match=told):
        client.call("/", **options)


def test_the_blocking_client_does_the_same() -> None:
    """It runs the same flow."""
    with Client("http://app", transport=answering(b'{"x": 1, "y": 2}')) as client:
        assert client.call("/", into=Point) == Point(1, 2)
        assert "app" in repr(client)


def refusing_once() -> httpx.MockTransport:
    answers = [httpx.Response(503, headers={"retry-after": "3"}), httpx.Response(200, json=1)]
    return httpx.MockTransport(lambda request: answers.pop(0))


async def test_both_clients_wait_between_attempts(
    naps: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One lets its thread sleep, the other its task."""
    with Client("http://app", transport=refusing_once()) as blocking:
        assert blocking.call("/") == 1
    assert 3 <= naps.pop() <= 3.5

    async def sleep(seconds: float) -> None:
        naps.append(seconds)

    monkeypatch.setattr("anyio.sleep", sleep)
    async with AsyncClient("http://app", transport=refusing_once()) as client:
        assert await client.call("/") == 1
    assert 3 <= naps.pop() <= 3.5


async def test_a_call_without_time_is_not_sent() -> None:
    """Its deadline has passed when it begins."""
    with (
        Client("http://app", transport=answering(b"1")) as blocking,
        pytest.raises(TimeoutError),
    ):
        blocking.call("/", deadline=0)
    async with AsyncClient("http://app", transport=answering(b"1")) as client:
        assert await client.call("/", deadline=30) == 1


class Trickle(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body that never ends, and is never silent."""

    def __init__(self) -> None:
        self.closed = 0

    def __iter__(self) -> Iterator[bytes]:
        while True:
            yield b" "

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            yield b" "

    def close(self) -> None:
        self.closed += 1

    async def aclose(self) -> None:
        self.closed += 1


def test_a_deadline_ends_a_body_that_trickles() -> None:
    """No step of the connection takes long, and yet the call ends in time."""
    body = Trickle()
    transport = httpx.MockTransport(lambda request: httpx.Response(200, stream=body))
    with Client("http://app", transport=transport) as client, pytest.raises(TimeoutError):
        client.call("/", deadline=0.05)
    assert body.closed


def test_a_deadline_shortens_every_step_of_a_connection() -> None:
    """Blocking code can only be limited step by step."""
    seen = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.extensions["timeout"])
        return httpx.Response(200, json=1)

    transport = httpx.MockTransport(answer)
    with Client("http://app", transport=transport) as client:
        client.call("/", deadline=2)
        client.call("/")
    assert all(seconds <= 2 for seconds in seen[0].values())
    assert seen[1] == {"connect": 5.0, "read": 600.0, "write": 600.0, "pool": None}


def test_a_client_that_is_not_closed_is_noticed() -> None:
    """Its connections warn, as those of httpx do; those of a closed one do not."""
    answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1\r\n\r\n1"

    def serve(listener: socket.socket) -> None:
        for _ in range(2):
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)
                while connection.recv(65536):
                    pass

    def warned(*, closed: bool) -> list[str]:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            client = Client(f"http://127.0.0.1:{port}")
            assert client.call("/", {}) == 1
            if closed:
                client.close()
            del client
            gc.collect()
        return [str(one.message) for one in caught if one.category is ResourceWarning]

    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:
        port = listener.getsockname()[1]
        serving = pool.submit(serve, listener)
        (told,) = warned(closed=False)
        assert "unclosed" in told
        assert warned(closed=True) == []
        serving.result()
