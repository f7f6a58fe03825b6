"""A request of OpenAI's API is a call of a handler like any other, but for how it is told."""

import asyncio
import json
import logging
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.exceptions import HTTPException
from support.asgi import Exchange

from potassium import Jobs, Limits, Potassium, Response, UsageError, current_request
from potassium.errors import StreamBroken
from potassium.http import sse
from potassium.openai import ChatRequest, EmbeddingRequest, OpenAI
from potassium.openai.embeddings import EmbeddingAnswer
from potassium.testing import client

PATH = "/v1/chat/completions"
HELLO = {"model": "toy", "messages": [{"role": "user", "content": "Hello"}]}
STREAM = {**HELLO, "stream": True}


def app_with(handler: Callable[..., Any], **options: Any) -> Potassium:
    app = Potassium("toy", **options)
    OpenAI(app, model="toy").chat()(handler)
    return app


def exchange_of(app: Potassium, body: Any = STREAM) -> Exchange:
    return Exchange(app, json.dumps(body).encode(), PATH)


async def test_a_client_that_leaves_ends_its_generator() -> None:
    closed = threading.Event()

    def endless(cache: dict[str, Any], request: ChatRequest) -> Iterator[str]:
        try:
            while True:
                yield "word "
        finally:
            closed.set()

    app = app_with(endless)
    async with app.lifespan():
        exchange = exchange_of(app)
        assert (await exchange.next())["status"] == 200
        exchange.leave()
        await exchange.rest()
        assert await asyncio.to_thread(closed.wait, 10)


async def test_a_client_that_reads_nothing_loses_its_stream(
    caplog: pytest.LogCaptureFixture,
) -> None:
    closed = threading.Event()

    def endless(cache: dict[str, Any], request: ChatRequest) -> Iterator[str]:
        try:
            while True:
                yield "word " * 1000
        finally:
            closed.set()

    app = app_with(endless, limits=Limits(stream_stall_timeout=0.1))
    async with app.lifespan():
        exchange = exchange_of(app)
        await exchange.next()
        exchange.reads.clear()
        with pytest.raises(StreamBroken), caplog.at_level(logging.CRITICAL):
            await exchange.rest()
        assert await asyncio.to_thread(closed.wait, 10)


async def test_a_stream_that_waits_is_kept_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    """Comments are no events, which these clients would take for pieces of the text."""
    monkeypatch.setattr(sse, "KEEP_ALIVE_INTERVAL", 0.01)
    go = threading.Event()

    def slow(cache: dict[str, Any], request: ChatRequest) -> Iterator[str]:
        assert go.wait(10)
        yield "late"

    app = app_with(slow)
    async with app.lifespan():
        exchange = exchange_of(app)
        assert dict((await exchange.next())["headers"])[b"content-type"] == b"text/event-stream"
        assert await exchange.body() == b": keep-alive\n\n"
        go.set()
        rest = (await exchange.rest()).replace(b": keep-alive\n\n", b"")
    events = [json.loads(event[6:]) for event in rest.split(b"\n\n")[:-2]]
    assert [event["choices"][0]["delta"].get("content") for event in events] == ["", "late", None]


async def test_a_whole_answer_has_the_status_of_its_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However long it waits, nothing is sent before its end."""
    monkeypatch.setattr(sse, "KEEP_ALIVE_INTERVAL", 0.01)

    async def slow(cache: dict[str, Any], request: ChatRequest) -> AsyncIterator[str]:
        await asyncio.sleep(0.1)
        yield "late"
        raise HTTPException(418, "short and stout")

    app = app_with(slow)
    async with client(app) as http:
        answer = await http.post(PATH, json=HELLO)
    assert (answer.status_code, answer.json()["error"]["message"]) == (418, "short and stout")
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_refusal_says_when_to_come_again() -> None:
    def full(cache: dict[str, Any], request: ChatRequest) -> Iterator[str]:
        raise HTTPException(503, "full", {"Retry-After": "3"})
        yield ""

    async with client(app_with(full)) as http:
        answer = await http.post(PATH, json=STREAM)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "3")
    assert answer.json()["error"]["type"] == "server_error"


async def test_deadlines_are_those_of_calls() -> None:
    app = Potassium("toy")

    @OpenAI(app, model="toy").chat(timeout=0.05)
    async def slow(cache: dict[str, Any], request: ChatRequest) -> AsyncIterator[str]:
        yield "one"
        await asyncio.sleep(10)

    async with client(app) as http:
        answer = await http.post(PATH, json=HELLO)
    assert (answer.status_code, answer.json()["error"]["code"]) == (504, "deadline_exceeded")


async def test_what_a_plain_function_returns_is_the_text() -> None:
    def chat(cache: dict[str, Any], request: ChatRequest) -> str:
        return "Hello"

    async with client(app_with(chat)) as http:
        whole = (await http.post(PATH, json=HELLO)).json()
        events = (await http.post(PATH, json=STREAM)).text
    assert whole["choices"][0]["message"]["content"] == "Hello"
    assert '"content":"Hello"' in events
    assert events.endswith("data: [DONE]\n\n")


@pytest.mark.parametrize("chunk", [1, None, ["a"], {"reason": "stop"}])
@pytest.mark.parametrize("body", [HELLO, STREAM], ids=["whole", "stream"])
async def test_what_is_no_text_is_the_handlers_fault(chunk: Any, body: Any) -> None:
    def generator(cache: dict[str, Any], request: ChatRequest) -> Iterator[Any]:
        yield chunk

    def plain(cache: dict[str, Any], request: ChatRequest) -> Any:
        return chunk

    for handler in (generator, plain):
        async with client(app_with(handler)) as http:
            answer = await http.post(PATH, json=body)
        assert '"code":"unserializable_output"' in answer.text
        if body is HELLO:
            assert answer.status_code == 500


async def test_another_content_type_is_passed_on_as_it_is() -> None:
    def chat(cache: dict[str, Any], request: ChatRequest) -> Response:
        return Response(body=b"<p>", headers={"Content-Type": "text/html"})

    async with client(app_with(chat)) as http:
        answer = await http.post(PATH, json=HELLO)
    assert (answer.text, answer.headers["content-type"]) == ("<p>", "text/html")


async def test_a_call_may_run_in_the_background(tmp_path: Path) -> None:
    def chat(cache: dict[str, Any], request: ChatRequest) -> Iterator[str]:
        yield "later"

    app = app_with(chat, jobs=Jobs(path=tmp_path / "jobs.db"))
    async with client(app) as http:
        answer = await http.post(PATH, json=HELLO, headers={"Prefer": "respond-async"})
        assert answer.status_code == 202
        job = await http.get(answer.headers["location"], headers={"Prefer": "wait=10"})
        both = {"Prefer": "respond-async, wait=10"}
        waited = await http.post(PATH, json=HELLO, headers=both)
    assert job.json()["output"] == waited.json() == ["later"]


async def test_a_body_is_as_large_as_its_handler_takes() -> None:
    app = Potassium("toy", limits=Limits(body_size=100))
    api = OpenAI(app, model="small")

    @api.chat()
    def small(cache: dict[str, Any], request: ChatRequest) -> str:
        return "small"

    @api.chat(model="large", body_size=20_000)
    def large(cache: dict[str, Any], request: ChatRequest) -> str:
        return str(len(request.conversation[0]["content"]))

    def asking(model: str, length: int) -> Any:
        return {"model": model, "messages": [{"role": "user", "content": "x" * length}]}

    async with client(app) as http:
        answer = await http.post(PATH, json=asking("large", 10_000))
        assert answer.json()["choices"][0]["message"]["content"] == "10000"
        for model, length in (("small", 1000), ("large", 30_000)):
            answer = await http.post(PATH, json=asking(model, length))
            assert (answer.status_code, answer.json()["error"]["code"]) == (413, "body_too_large")


async def test_bodies_are_counted_once() -> None:
    """What is held for the front is let go before the handler's endpoint counts it."""
    held: list[int] = []

    def chat(cache: dict[str, Any], request: ChatRequest) -> str:
        held.append(bodies.memory.held)
        return "counted"

    app = app_with(chat)
    bodies = app._parts.plan.bodies
    body = {"model": "toy", "messages": [{"role": "user", "content": "x" * 100_000}]}
    async with client(app) as http:
        for path in ("/models/toy/chat", PATH):
            await http.post(path, json=body)
    assert held[0] == held[1] > 100_000
    assert bodies.memory.held == 0


@pytest.mark.parametrize(
    ("content", "headers", "code"),
    [
        (b"{", {}, "malformed_json"),
        (b"[]", {}, "invalid_value"),
        (b"model=toy", {"content-type": "application/x-www-form-urlencoded"}, None),
        (b"{}", {"content-encoding": "morse"}, "unsupported_encoding"),
    ],
)
async def test_what_cannot_be_read_is_refused(
    content: bytes, headers: dict[str, str], code: str | None
) -> None:
    def chat(cache: dict[str, Any], request: ChatRequest) -> str:
        return "never"

    given = {"content-type": "application/json", **headers}
    async with client(app_with(chat)) as http:
        answer = await http.post(PATH, content=content, headers=given)
    assert answer.status_code in (400, 415)
    assert answer.json()["error"]["code"] == (code or "unsupported_media_type")


async def test_a_handler_sees_the_request_that_was_sent() -> None:
    def chat(cache: dict[str, Any], request: ChatRequest) -> str:
        seen = current_request()
        return f"{seen.headers['x-own']} {seen.headers['x-request-id']}"

    async with client(app_with(chat)) as http:
        answer = await http.post(PATH, json=HELLO, headers={"X-Own": "a", "X-Request-Id": "b"})
    assert answer.json()["choices"][0]["message"]["content"] == "a b"
    assert answer.headers["x-request-id"] == "b"


async def test_a_model_has_what_it_has_handlers_for() -> None:
    app = Potassium("toy")
    api = OpenAI(app, model="org/name", prefix="/api")

    @api.embeddings()
    def embed(cache: dict[str, Any], request: EmbeddingRequest) -> list[list[float]]:
        return [[1.0]]

    async with client(app) as http:
        answer = await http.post("/api/chat/completions", json={**HELLO, "model": "org/name"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")
        assert "has no chat" in answer.json()["error"]["message"]
        assert (await http.get("/api/models/org/name")).json()["id"] == "org/name"
        body = {"model": "org/name", "input": ["a", "b"]}
        answer = await http.post("/api/embeddings", json=body)
        assert "one vector for each input" in answer.json()["error"]["message"]
    with pytest.raises(UsageError, match="model="):
        OpenAI(app, model="other", prefix="api")


async def test_a_large_result_is_told_on_another_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[threading.Thread] = []
    add = EmbeddingAnswer.add

    def added(answer: EmbeddingAnswer, chunk: Any) -> bytes:
        threads.append(threading.current_thread())
        return add(answer, chunk)

    monkeypatch.setattr(EmbeddingAnswer, "add", added)
    app = Potassium("toy")

    @OpenAI(app, model="toy").embeddings()
    def embed(cache: dict[str, Any], request: EmbeddingRequest) -> list[list[float]]:
        return [[0.123456789] * int(request.texts[0])]

    async with client(app) as http:
        for count in (3, 30_000):
            answer = await http.post("/v1/embeddings", json={"model": "toy", "input": str(count)})
            assert len(answer.json()["data"][0]["embedding"]) == count
    assert threads[0] is threading.main_thread()
    assert threads[1] is not threading.main_thread()


async def test_an_api_may_be_at_the_root() -> None:
    app = Potassium("toy")
    OpenAI(app, model="toy", prefix="/").chat()(lambda cache, request: "rooted")
    async with client(app) as http:
        assert (await http.get("/models")).status_code == 200
        assert (await http.post("/chat/completions", json=HELLO)).status_code == 200
