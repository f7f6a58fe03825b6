"""The client of OpenAI's own against a real server, with a toy model."""

import base64
import json
import struct
from typing import Any

import pytest
from e2e.server import Server

openai = pytest.importorskip("openai")


@pytest.fixture
def sdk(toy: Server) -> Any:
    return openai.OpenAI(base_url=f"{toy.url}/v1", api_key="secret", max_retries=0)


HELLO = [{"role": "user", "content": "Hello"}]


def test_a_chat_as_a_whole_and_as_it_comes_say_the_same(sdk: Any) -> None:
    whole = sdk.chat.completions.create(model="toy", messages=HELLO, max_tokens=20)
    assert whole.usage.completion_tokens == 20
    assert whole.choices[0].finish_reason == "length"
    pieces = sdk.chat.completions.create(
        model="toy",
        messages=HELLO,
        max_completion_tokens=20,
        stream=True,
        stream_options={"include_usage": True},
    )
    *parts, last = list(pieces)
    text = "".join(part.choices[0].delta.content or "" for part in parts)
    assert text == whole.choices[0].message.content
    assert last.usage == whole.usage


def test_the_streaming_helper_has_the_whole_at_the_end(sdk: Any) -> None:
    whole = sdk.chat.completions.create(model="toy", messages=HELLO, max_tokens=30)
    text = whole.choices[0].message.content
    with sdk.chat.completions.stream(model="toy", messages=HELLO, stop=[text[9:12]]) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_completion()
    assert {"chunk", "content.delta", "content.done"} <= kinds
    assert final.choices[0].message.content == text[: text.index(text[9:12])]
    assert final.choices[0].finish_reason == "stop"


async def test_the_asynchronous_client(toy: Server) -> None:
    async with openai.AsyncOpenAI(base_url=f"{toy.url}/v1", api_key="secret") as sdk:
        stream = await sdk.chat.completions.create(
            model="toy", messages=HELLO, max_tokens=5, stream=True
        )
        assert [part async for part in stream][-1].choices[0].finish_reason == "length"


def test_structured_output_is_valid(sdk: Any) -> None:
    schema = {
        "type": "object",
        "properties": {"city": {"enum": ["Oslo", "Rome"]}, "days": {"type": "integer"}},
        "required": ["city", "days"],
        "additionalProperties": False,
    }
    form = {
        "type": "json_schema",
        "json_schema": {"name": "trip", "strict": True, "schema": schema},
    }
    answer = sdk.chat.completions.create(
        model="toy", messages=HELLO, response_format=form, max_tokens=300
    )
    assert json.loads(answer.choices[0].message.content)["city"] in ("Oslo", "Rome")


def test_tools_are_called(sdk: Any) -> None:
    tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
    answer = sdk.chat.completions.create(model="tools", messages=HELLO, tools=[tool])
    (call,) = answer.choices[0].message.tool_calls
    assert (call.function.name, call.function.arguments) == ("weather", '{"city": "Oslo"}')
    assert answer.choices[0].finish_reason == "tool_calls"


def test_a_text_is_completed(sdk: Any) -> None:
    answer = sdk.completions.create(model="toy", prompt="Once", max_tokens=7)
    assert answer.usage.prompt_tokens == len("Once")
    stream = sdk.completions.create(model="toy", prompt="Once", max_tokens=7, stream=True)
    assert "".join(part.choices[0].text for part in stream) == answer.choices[0].text


def test_embeddings_come_as_the_client_asks_for_them(sdk: Any) -> None:
    """By default it asks for base64, and decodes it."""
    answer = sdk.embeddings.create(model="toy", input=["a", "bcd"])
    assert [one.embedding for one in answer.data] == [[1.0, 0.5], [3.0, 0.5]]
    assert answer.usage.total_tokens == 4
    plain = sdk.embeddings.create(model="toy", input="ab", encoding_format="float")
    assert plain.data[0].embedding == [2.0, 0.5]
    raw = sdk.embeddings.with_raw_response.create(
        model="toy", input=[[1, 2, 3]], encoding_format="base64"
    )
    (found,) = raw.http_response.json()["data"]
    assert struct.unpack("<2f", base64.b64decode(found["embedding"])) == (3.0, 0.5)


def test_models_are_listed(sdk: Any) -> None:
    assert [model.id for model in sdk.models.list()] == ["toy", "tools", "broken"]


def test_errors_are_told_with_their_code(sdk: Any, toy: Server) -> None:
    with pytest.raises(openai.NotFoundError, match="There is no model 'other' here"):
        sdk.chat.completions.create(model="other", messages=HELLO)
    with pytest.raises(openai.BadRequestError) as refused:
        sdk.chat.completions.create(model="toy", messages=HELLO, n=2)
    assert refused.value.param == "n"
    wrong = openai.OpenAI(base_url=f"{toy.url}/v1", api_key="wrong", max_retries=0)
    with pytest.raises(openai.AuthenticationError):
        wrong.chat.completions.create(model="toy", messages=HELLO)
