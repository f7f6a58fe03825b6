"""Chats and completions over OpenAI's API, message by message."""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest

from potassium import InvalidInput, Potassium
from potassium.openai import ChatRequest, CompletionRequest, Finish, OpenAI, ToolCall
from potassium.testing import client

HELLO = {"model": "toy", "messages": [{"role": "user", "content": "Hello"}]}
WEATHER = {"name": "weather", "arguments": '{"city": "Oslo"}'}


def new_app() -> Potassium:
    app = Potassium("chats")
    api = OpenAI(app, model="toy")

    @api.chat()
    def chat(cache: dict[str, Any], request: ChatRequest) -> Iterator[Any]:
        said = request.conversation[-1]["content"]
        if said == "too long":
            raise InvalidInput("The chat is too long.")
        if said == "weather":
            yield ToolCall(id="call_1", name="weather", arguments="")
            yield ToolCall(arguments='{"city": ')
            yield ToolCall(arguments='"Oslo"}')
            return
        yield "You said "
        if said == "break":
            raise RuntimeError("broken")
        yield said
        yield Finish(reason="length", prompt_tokens=3, completion_tokens=2)

    @api.completions()
    def complete(cache: dict[str, Any], request: CompletionRequest) -> Iterator[Any]:
        yield f"{request.text} and"
        yield " so on"

    return app


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with client(new_app()) as http:
        yield http


def asking(text: Any, **more: Any) -> dict[str, Any]:
    return {**HELLO, "messages": [{"role": "user", "content": text}], **more}


async def events(http: httpx.AsyncClient, path: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    answer = await http.post(path, json={**body, "stream": True})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/event-stream")
    *blocks, last, nothing = answer.text.split("\n\n")
    assert (last, nothing) == ("data: [DONE]", "")
    return [json.loads(block.removeprefix("data: ")) for block in blocks]


async def test_a_chat_is_answered_as_a_whole(http: httpx.AsyncClient) -> None:
    answer = (await http.post("/v1/chat/completions", json=HELLO)).json()
    assert answer["id"].startswith("chatcmpl-")
    assert (answer["object"], answer["model"]) == ("chat.completion", "toy")
    (choice,) = answer["choices"]
    assert choice["message"] == {"role": "assistant", "content": "You said Hello", "refusal": None}
    assert choice["finish_reason"] == "length"
    assert answer["usage"] == {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


async def test_a_chat_is_answered_as_it_comes(http: httpx.AsyncClient) -> None:
    found = await events(http, "/v1/chat/completions", HELLO)
    assert {event["object"] for event in found} == {"chat.completion.chunk"}
    assert len({(event["id"], event["created"], event["model"]) for event in found}) == 1
    deltas = [event["choices"][0]["delta"] for event in found]
    assert deltas == [
        {"role": "assistant", "content": ""},
        {"content": "You said "},
        {"content": "Hello"},
        {},
    ]
    reasons = [event["choices"][0]["finish_reason"] for event in found]
    assert reasons == [None, None, None, "length"]
    assert not any("usage" in event for event in found)


async def test_a_stream_tells_its_usage_if_asked(http: httpx.AsyncClient) -> None:
    body = {**HELLO, "stream_options": {"include_usage": True}}
    *others, last = await events(http, "/v1/chat/completions", body)
    assert [event["usage"] for event in others] == [None] * 4
    assert last["choices"] == []
    assert last["usage"]["total_tokens"] == 5


async def test_calls_of_tools_come_whole_and_in_pieces(http: httpx.AsyncClient) -> None:
    answer = (await http.post("/v1/chat/completions", json=asking("weather"))).json()
    (choice,) = answer["choices"]
    called = {"id": "call_1", "type": "function", "function": WEATHER}
    assert choice["message"]["tool_calls"] == [called]
    assert choice["message"]["content"] is None
    assert choice["finish_reason"] == "tool_calls"
    found = await events(http, "/v1/chat/completions", asking("weather"))
    pieces = [event["choices"][0]["delta"].get("tool_calls") for event in found]
    assert pieces[1][0] == {
        "index": 0,
        "id": "call_1",
        "type": "function",
        "function": {"name": "weather", "arguments": ""},
    }
    assert [one[0]["function"]["arguments"] for one in pieces[2:4]] == ['{"city": ', '"Oslo"}']
    assert found[-1]["choices"][0]["finish_reason"] == "tool_calls"


async def test_contents_may_come_in_parts(http: httpx.AsyncClient) -> None:
    parts = [{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo"}]
    answer = (await http.post("/v1/chat/completions", json=asking(parts))).json()
    assert answer["choices"][0]["message"]["content"] == "You said Hello"


async def test_a_text_is_completed(http: httpx.AsyncClient) -> None:
    body = {"model": "toy", "prompt": "Once"}
    answer = (await http.post("/v1/completions", json=body)).json()
    assert answer["object"] == "text_completion"
    assert answer["choices"][0]["text"] == "Once and so on"
    found = await events(http, "/v1/completions", body)
    assert "".join(event["choices"][0]["text"] for event in found) == "Once and so on"


@pytest.mark.parametrize("stream", [True, False])
async def test_what_is_refused_has_its_reason(http: httpx.AsyncClient, stream: bool) -> None:
    body = asking("too long", stream=stream)
    answer = await http.post("/v1/chat/completions", json=body)
    assert answer.status_code == 422
    assert answer.json()["error"]["message"] == "The chat is too long."
    assert answer.json()["error"]["code"] == answer.json()["code"] == "invalid_input"


async def test_an_error_in_the_middle_of_a_stream_is_its_last_event(
    http: httpx.AsyncClient,
) -> None:
    *_, last = await events(http, "/v1/chat/completions", asking("break"))
    assert last["error"]["code"] == "handler_error"
    assert last["error"]["type"] == "server_error"


@pytest.mark.parametrize(
    ("changed", "param"),
    [
        ({"n": 2}, "n"),
        ({"logprobs": True}, "logprobs"),
        ({"messages": []}, "messages"),
        ({"temperature": 3}, "temperature"),
        ({"max_tokens": 0}, "max_tokens"),
        (asking([{"type": "text", "text": None}]), "messages.0.content"),
        (asking([{"type": "text", "text": 5}]), "messages.0.content"),
    ],
)
async def test_what_is_not_offered_is_refused(
    http: httpx.AsyncClient, changed: dict[str, Any], param: str
) -> None:
    answer = await http.post("/v1/chat/completions", json={**HELLO, **changed})
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["type"] == "invalid_request_error"
    assert error["param"].startswith(param)


async def test_unknown_members_are_ignored(http: httpx.AsyncClient) -> None:
    answer = await http.post("/v1/chat/completions", json={**HELLO, "service_tier": "auto"})
    assert answer.status_code == 200


async def test_models_are_listed(http: httpx.AsyncClient) -> None:
    listed = (await http.get("/v1/models")).json()
    assert [model["id"] for model in listed["data"]] == ["toy"]
    assert (await http.get("/v1/models/toy")).json()["object"] == "model"
    unknown = await http.get("/v1/models/other")
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "model_not_found")
    asked = await http.post("/v1/chat/completions", json={**HELLO, "model": "other"})
    assert (asked.status_code, asked.json()["error"]["param"]) == (404, "model")


async def test_pictures_are_refused_by_models_that_take_text(http: httpx.AsyncClient) -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,"}}
    answer = await http.post("/v1/chat/completions", json=asking([picture]))
    assert answer.status_code == 422
    assert "image_url" in answer.json()["error"]["message"]


async def test_what_is_null_is_not_said(http: httpx.AsyncClient) -> None:
    body = {**HELLO, "stream": None, "tools": None, "n": None, "temperature": None}
    assert (await http.post("/v1/chat/completions", json=body)).status_code == 200
