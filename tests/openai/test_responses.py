"""Responses over OpenAI's API, message by message."""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest

from potassium import InvalidInput, Potassium, Request
from potassium.openai import ChatRequest, Finish, OpenAI, ToolCall
from potassium.testing import client

HELLO = {"model": "toy", "input": "Hello"}
WEATHER = {"type": "function", "name": "weather", "parameters": {"type": "object"}, "strict": True}


def new_app() -> Potassium:
    app = Potassium("responses")
    api = OpenAI(app, model="toy")

    @api.chat()
    def chat(cache: dict[str, Any], request: ChatRequest) -> Iterator[Any]:
        said = request.conversation[-1]["content"]
        if said == "too long":
            raise InvalidInput("The chat is too long.")
        yield ""  # a decoder may have nothing to say yet
        if said == "nothing":
            return
        yield "You said "
        if said == "break":
            raise RuntimeError("broken")
        yield said
        if said == "weather":
            yield ToolCall(id="call_1", name="weather", arguments="")
            yield ToolCall(index=1, name="time")
            yield ToolCall(arguments='{"city": ')
            yield ToolCall(index=1, arguments="{}")
            yield ToolCall(arguments='"Oslo"}')
            return
        reason: Any = "stop" if said == "Hello" else said
        yield Finish(reason=reason, prompt_tokens=3, completion_tokens=2)

    @api.chat(model="echo")
    def echo(cache: dict[str, Any], request: Request) -> str:
        length = request.headers["content-length"]
        assert int(length) == len(request.body)
        return request.body.decode()

    return app


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with client(new_app()) as http:
        yield http


async def chat_for(http: httpx.AsyncClient, **body: Any) -> dict[str, Any]:
    """Return the body that the handler is passed."""
    answer = await http.post("/v1/responses", json={"model": "echo", **body})
    assert answer.status_code == 200, answer.text
    chat: dict[str, Any] = json.loads(answer.json()["output"][0]["content"][0]["text"])
    return chat


async def events(http: httpx.AsyncClient, text: str) -> list[dict[str, Any]]:
    body = {**HELLO, "input": text, "stream": True}
    answer = await http.post("/v1/responses", json=body)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/event-stream")
    *blocks, nothing = answer.text.split("\n\n")
    assert nothing == ""
    found = []
    for block in blocks:
        named, data = block.split("\n")
        found.append(json.loads(data.removeprefix("data: ")))
        assert named == f"event: {found[-1]['type']}"
    return found


async def test_a_response_is_told_as_a_whole(http: httpx.AsyncClient) -> None:
    answer = (await http.post("/v1/responses", json={**HELLO, "temperature": 0.5})).json()
    assert answer["id"].startswith("resp_")
    assert (answer["object"], answer["model"]) == ("response", "toy")
    assert (answer["status"], answer["incomplete_details"]) == ("completed", None)
    assert (answer["store"], answer["temperature"], answer["top_p"]) == (False, 0.5, None)
    assert answer["text"] == {"format": {"type": "text"}}
    (message,) = answer["output"]
    assert message["id"].startswith("msg_")
    assert (message["role"], message["status"]) == ("assistant", "completed")
    (part,) = message["content"]
    assert (part["type"], part["text"]) == ("output_text", "You said Hello")
    assert answer["usage"] == {
        "input_tokens": 3,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": 2,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 5,
    }


async def test_a_response_is_told_as_it_comes(http: httpx.AsyncClient) -> None:
    found = await events(http, "Hello")
    assert [event["type"] for event in found] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert [event["sequence_number"] for event in found] == [*range(10)]
    assert found[0]["response"]["status"] == found[1]["response"]["status"] == "in_progress"
    assert found[2]["item"]["content"] == []
    assert found[3]["part"]["text"] == ""
    assert [event["delta"] for event in found[4:6]] == ["You said ", "Hello"]
    assert found[6]["text"] == found[7]["part"]["text"] == "You said Hello"
    assert {event["item_id"] for event in found[3:8]} == {found[2]["item"]["id"]}
    assert found[-1]["response"]["output"] == [found[8]["item"]]


async def test_both_forms_say_the_same(http: httpx.AsyncClient) -> None:
    whole = (await http.post("/v1/responses", json={**HELLO, "input": "weather"})).json()
    streamed = (await events(http, "weather"))[-1]["response"]
    assert whole.keys() == streamed.keys()
    for response in (whole, streamed):
        del response["id"], response["created_at"]
        for item in response["output"]:
            assert item.pop("id")
        response["output"][-1]["call_id"] = "call_2"
    assert streamed == whole


async def test_calls_of_functions_may_come_in_turns(http: httpx.AsyncClient) -> None:
    found = await events(http, "weather")
    added = [one["item"] for one in found if one["type"] == "response.output_item.added"]
    assert [item["type"] for item in added] == ["message", "function_call", "function_call"]
    of_calls = [one for one in found if "function_call_arguments" in one["type"]]
    deltas = [(one["output_index"], one["delta"]) for one in of_calls if "delta" in one]
    assert deltas == [(1, '{"city": '), (2, "{}"), (1, '"Oslo"}')]
    done = [(one["item_id"], one["arguments"]) for one in of_calls if "arguments" in one]
    assert done == [(added[1]["id"], '{"city": "Oslo"}'), (added[2]["id"], "{}")]
    _, first, second = found[-1]["response"]["output"]
    assert (first["call_id"], first["name"]) == ("call_1", "weather")
    assert second["call_id"].startswith("call_")  # the handler has named none


@pytest.mark.parametrize(
    ("finish", "reason"), [("length", "max_output_tokens"), ("content_filter", "content_filter")]
)
async def test_a_text_that_ends_too_early_is_incomplete(
    http: httpx.AsyncClient, finish: str, reason: str
) -> None:
    last = (await events(http, finish))[-1]
    assert last["type"] == "response.incomplete"
    assert last["response"]["status"] == "incomplete"
    assert last["response"]["incomplete_details"] == {"reason": reason}
    assert last["response"]["output"][0]["status"] == "incomplete"


async def test_a_response_may_be_empty(http: httpx.AsyncClient) -> None:
    found = await events(http, "nothing")
    kinds = ["response.created", "response.in_progress", "response.completed"]
    assert [event["type"] for event in found] == kinds
    assert (found[-1]["response"]["output"], found[-1]["response"]["usage"]) == ([], None)


async def test_a_response_tells_what_was_asked(http: httpx.AsyncClient) -> None:
    asked = {
        "instructions": "Be brief.",
        "max_output_tokens": 9,
        "metadata": {"a": "b"},
        "parallel_tool_calls": False,
        "temperature": 0.5,
        "tool_choice": "none",
        "tools": [{**WEATHER, "description": "Tells it."}],
        "top_p": 0.5,
    }
    answer = (await http.post("/v1/responses", json={**HELLO, **asked})).json()
    assert {name: answer[name] for name in asked} == asked
    plain = (await http.post("/v1/responses", json=HELLO)).json()
    assert (plain["tools"], plain["tool_choice"], plain["metadata"]) == ([], "auto", {})
    assert plain["parallel_tool_calls"] is True


async def test_a_failure_in_the_middle_of_a_stream(http: httpx.AsyncClient) -> None:
    *_, failed, last = await events(http, "break")
    assert failed["type"] == "response.failed"
    assert failed["response"]["status"] == "failed"
    assert failed["response"]["error"]["code"] == "server_error"
    (message,) = failed["response"]["output"]
    assert (message["status"], message["content"][0]["text"]) == ("incomplete", "You said ")
    assert (last["type"], last["code"]) == ("error", "handler_error")
    assert last["error"]["code"] == "handler_error"


@pytest.mark.parametrize("stream", [True, False])
async def test_what_is_refused_has_its_reason(http: httpx.AsyncClient, stream: bool) -> None:
    body = {**HELLO, "input": "too long", "stream": stream}
    answer = await http.post("/v1/responses", json=body)
    assert answer.status_code == 422
    assert answer.json()["error"]["message"] == "The chat is too long."


async def test_items_become_messages(http: httpx.AsyncClient) -> None:
    items = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "input_text", "text": "Weather?"}]},
        {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "Let me see.", "annotations": []}],
        },
        {"type": "function_call", "call_id": "1", "name": "weather", "arguments": "{}"},
        {"type": "function_call", "call_id": "2", "name": "time", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "1", "output": "sunny"},
        {
            "type": "function_call_output",
            "call_id": "2",
            "output": [{"type": "input_text", "text": "noon"}],
        },
    ]
    chat = await chat_for(http, input=items, instructions="You are kind.")
    calls = [
        {"id": id_, "type": "function", "function": {"name": name, "arguments": "{}"}}
        for id_, name in (("1", "weather"), ("2", "time"))
    ]
    assert chat["messages"] == [
        {"role": "system", "content": "You are kind."},
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": "Let me see.", "tool_calls": calls},
        {"role": "tool", "tool_call_id": "1", "content": "sunny"},
        {"role": "tool", "tool_call_id": "2", "content": "noon"},
    ]


async def test_calls_without_a_text_are_a_message_of_their_own(http: httpx.AsyncClient) -> None:
    call = {"type": "function_call", "call_id": "1", "name": "weather", "arguments": "{}"}
    chat = await chat_for(http, input=[{"role": "user", "content": "Weather?"}, call])
    assert chat["messages"][1].keys() == {"role", "tool_calls"}


async def test_options_become_those_of_a_chat(http: httpx.AsyncClient) -> None:
    schema = {"type": "object", "properties": {}}
    form = {"type": "json_schema", "name": "trip", "schema": schema, "strict": True}
    chat = await chat_for(
        http,
        input="Hello",
        max_output_tokens=7,
        temperature=0,
        top_p=0.5,
        tools=[WEATHER],
        tool_choice={"type": "function", "name": "weather"},
        text={"format": form, "verbosity": "low"},
        parallel_tool_calls=False,
        store=True,
        reasoning={"effort": "low"},
    )
    function = {"name": "weather", "parameters": {"type": "object"}, "strict": True}
    assert chat == {
        "model": "echo",
        "messages": [{"role": "user", "content": "Hello"}],
        "max_completion_tokens": 7,
        "temperature": 0,
        "top_p": 0.5,
        "tools": [{"type": "function", "function": function}],
        "tool_choice": {"type": "function", "function": {"name": "weather"}},
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "trip", "schema": schema, "strict": True},
        },
        "parallel_tool_calls": False,
    }
    request = ChatRequest.model_validate(chat)
    assert (request.token_limit, request.schema_of_text) == (7, schema)


@pytest.mark.parametrize("kind", ["text", "json_object"])
async def test_a_format_may_have_no_schema(http: httpx.AsyncClient, kind: str) -> None:
    chat = await chat_for(http, input="Hello", text={"format": {"type": kind}})
    assert chat["response_format"] == {"type": kind}


@pytest.mark.parametrize(
    ("changed", "param", "why"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id", "not stored"),
        ({"conversation": "conv_1"}, "conversation", "not stored"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt", "not stored"),
        ({"background": True}, "background", "background"),
        ({"include": ["message.output_text.logprobs"]}, "include", "not offered"),
        ({"tools": [{"type": "web_search"}]}, "tools.0", "'web_search' is not offered"),
        ({"tool_choice": {"type": "mcp"}}, "tool_choice", "may be"),
        ({"tool_choice": "required"}, None, "one of tools"),
        ({"tool_choice": {"type": "function", "name": "other"}}, None, "one of tools"),
        ({"truncation": "auto"}, "truncation", "disabled"),
        ({"top_logprobs": 2}, "top_logprobs", "0"),
        ({"max_output_tokens": 0}, "max_output_tokens", "greater"),
        ({"input": []}, "input", "at least 1"),
        ({"input": [{"type": "item_reference", "id": "1"}]}, "input.0", "function_call_output"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image"}]}]},
            "input.0.message.content",
            "input_text",
        ),
    ],
)
async def test_what_is_not_offered_is_refused(
    http: httpx.AsyncClient, changed: dict[str, Any], param: str | None, why: str
) -> None:
    answer = await http.post("/v1/responses", json={**HELLO, **changed})
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert (error["type"], error["param"]) == ("invalid_request_error", param)
    assert why in error["message"]


async def test_no_responses_are_kept(http: httpx.AsyncClient) -> None:
    assert (await http.post("/v1/responses", json={**HELLO, "store": True})).status_code == 200
    assert (await http.get("/v1/responses/resp_1")).status_code == 404


async def test_a_body_that_was_turned_may_be_large(http: httpx.AsyncClient) -> None:
    """A large body is read on another thread, and the handler gets all of it."""
    text = "a" * 1_000_000
    chat = await chat_for(http, input=text)
    assert chat["messages"] == [{"role": "user", "content": text}]
