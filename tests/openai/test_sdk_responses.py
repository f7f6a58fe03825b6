"""Responses and transcriptions with OpenAI's own client, against a real server with a toy model."""

from collections.abc import AsyncIterator, Iterator
from typing import Any, Literal

import pytest
from e2e.server import Server
from pydantic import BaseModel

openai = pytest.importorskip("openai")

WEATHER = {
    "type": "function",
    "name": "weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    "strict": False,
}


class Trip(BaseModel):
    city: Literal["Oslo", "Rome"]
    days: int


@pytest.fixture
def sdk(toy: Server) -> Iterator[Any]:
    with openai.OpenAI(base_url=f"{toy.url}/v1", api_key="secret", max_retries=0) as sdk:
        yield sdk


@pytest.fixture
async def async_sdk(toy: Server) -> AsyncIterator[Any]:
    async with openai.AsyncOpenAI(base_url=f"{toy.url}/v1", api_key="secret") as sdk:
        yield sdk


def test_a_response_as_a_whole_and_as_it_comes_say_the_same(sdk: Any) -> None:
    whole = sdk.responses.create(model="toy", input="Hello", max_output_tokens=20)
    assert (whole.status, whole.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    assert whole.usage.output_tokens == 20
    events = list(
        sdk.responses.create(model="toy", input="Hello", max_output_tokens=20, stream=True)
    )
    text = "".join(one.delta for one in events if one.type == "response.output_text.delta")
    assert text == whole.output_text != ""
    last = events[-1]
    assert (last.type, last.response.usage) == ("response.incomplete", whole.usage)
    chat = sdk.chat.completions.create(
        model="toy", messages=[{"role": "user", "content": "Hello"}], max_tokens=20
    )
    assert chat.choices[0].message.content == text


def test_every_document_is_of_the_types_of_the_client(sdk: Any) -> None:
    """The client itself validates nothing."""
    events = list(sdk.responses.create(model="tools", input="Hi", tools=[WEATHER], stream=True))
    events += sdk.responses.create(model="toy", input="Hi", max_output_tokens=9, stream=True)
    for event in events:
        type(event).model_validate(event.to_dict())
    assert len({event.type for event in events}) == 12


def test_structured_output_is_parsed(sdk: Any) -> None:
    answer = sdk.responses.parse(model="toy", input="Hello", text_format=Trip)
    assert isinstance(answer.output_parsed, Trip)
    assert answer.status == "completed"
    with sdk.responses.stream(model="toy", input="Hello", text_format=Trip) as stream:
        final = stream.get_final_response()
    assert final.output_parsed == answer.output_parsed


def test_the_streaming_helper_has_the_whole_at_the_end(sdk: Any) -> None:
    tools = [openai.pydantic_function_tool(Trip, name="weather")["function"]]
    tools = [{"type": "function", **tools[0]}]
    with sdk.responses.stream(model="tools", input="Hello", tools=tools) as stream:
        snapshots = [
            one.snapshot for one in stream if one.type == "response.function_call_arguments.delta"
        ]
        final = stream.get_final_response()
    assert snapshots == ['{"city": ', '{"city": "Oslo"}']
    (call,) = final.output
    assert (call.name, call.arguments, call.call_id) == ("weather", snapshots[-1], "call_1")


def test_tools_are_called_and_their_results_sent(sdk: Any) -> None:
    asked: list[Any] = [{"role": "user", "content": "How is the weather?"}]
    first = sdk.responses.create(model="tools", input=asked, tools=[WEATHER])
    (call,) = first.output
    assert (call.type, call.arguments) == ("function_call", '{"city": "Oslo"}')
    asked += first.output
    asked.append({"type": "function_call_output", "call_id": call.call_id, "output": "sunny"})
    second = sdk.responses.create(model="tools", input=asked, tools=[WEATHER])
    assert second.output_text == "It is sunny."


async def test_the_asynchronous_client(async_sdk: Any) -> None:
    whole = await async_sdk.responses.create(model="toy", input="Hello", max_output_tokens=5)
    stream = await async_sdk.responses.create(
        model="toy", input="Hello", max_output_tokens=5, stream=True
    )
    last = [event async for event in stream][-1]
    assert last.response.output_text == whole.output_text
    parsed = await async_sdk.responses.parse(model="toy", input="Hello", text_format=Trip)
    async with async_sdk.responses.stream(model="toy", input="Hello", text_format=Trip) as helper:
        final = await helper.get_final_response()
    assert final.output_parsed == parsed.output_parsed


def test_errors_are_raised(sdk: Any) -> None:
    with pytest.raises(openai.BadRequestError, match="not stored") as refused:
        sdk.responses.create(model="toy", input="Hello", previous_response_id="resp_1")
    assert refused.value.param == "previous_response_id"
    with pytest.raises(openai.InternalServerError):
        sdk.responses.create(model="broken", input="Hello")
    stream = sdk.responses.create(model="broken", input="Hello", stream=True)
    found: list[Any] = []
    with pytest.raises(openai.APIError) as failed:
        found.extend(stream)
    assert failed.value.code == "handler_error"
    assert found[-1].type == "response.failed"


SOUND = ("a.wav", b"RIFF" * 100)


def test_a_recording_is_transcribed(sdk: Any) -> None:
    answer = sdk.audio.transcriptions.create(file=SOUND, model="toy")
    assert answer.text == "a.wav has 400 bytes."
    text = sdk.audio.transcriptions.create(file=SOUND, model="toy", response_format="text")
    assert text == answer.text
    subtitles = sdk.audio.transcriptions.create(file=SOUND, model="toy", response_format="srt")
    assert "00:00:01,500 --> 00:00:02,000" in subtitles
    verbose = sdk.audio.transcriptions.create(
        file=SOUND,
        model="toy",
        response_format="verbose_json",
        language="en",
        temperature=0.5,
        timestamp_granularities=["segment"],
    )
    type(verbose).model_validate(verbose.to_dict())
    assert (verbose.text, verbose.duration, verbose.language) == (answer.text, 2.0, "en")
    assert [one.start for one in verbose.segments] == [0.0, 1.5]
    assert verbose.segments[0].temperature == 0.5


def test_a_recording_is_transcribed_as_it_is_heard(sdk: Any) -> None:
    stream = sdk.audio.transcriptions.create(file=SOUND, model="toy", stream=True)
    *deltas, done = list(stream)
    assert [one.delta for one in deltas] == ["a.wav has ", "400 bytes."]
    assert (done.type, done.text) == ("transcript.text.done", "a.wav has 400 bytes.")


async def test_a_long_recording_from_the_asynchronous_client(async_sdk: Any) -> None:
    sound = ("long.wav", bytes(20 * 2**20))
    answer = await async_sdk.audio.transcriptions.create(file=sound, model="toy")
    assert answer.text == "long.wav has 20971520 bytes."


def test_transcriptions_are_refused_with_a_reason(sdk: Any) -> None:
    with pytest.raises(openai.NotFoundError, match="has no transcriptions"):
        sdk.audio.transcriptions.create(file=SOUND, model="tools")
    with pytest.raises(openai.BadRequestError) as refused:
        sdk.audio.transcriptions.create(file=SOUND, model="toy", response_format="diarized_json")
    assert refused.value.param == "response_format"
