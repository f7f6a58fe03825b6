"""Calls of functions, as chat templates write them, are found in texts."""

import json
from collections.abc import Generator
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.text import TEMPLATE, byte_tokenizer, toy_model, with_vocabulary

from potassium import InvalidInput, Step
from potassium.openai import ChatRequest
from potassium.text import Decoder, Finish, ToolCall
from potassium.text.call_reader import CallReader, read_calls
from potassium.text.call_style import CallStyle, call_style, schema_of_call

TURN = "{{ '<s>' + message.role + '\n' + (message.content or '') }}"
GENERATION = "{% if add_generation_prompt %}{{ '<s>assistant\n' }}{% endif %}"


def template(call: str, tools: str = "{{ tools }}") -> str:
    """Return a chat template that writes ``call`` for each call of a message."""
    calls = "{% for call in message.tool_calls %}" + call + "{% endfor %}"
    return tools + "{% for message in messages %}" + TURN + calls + "</s>{% endfor %}" + GENERATION


OBJECT = '{"name": {{ call.function.name | tojson }}, "%s": {{ call.function.arguments | tojson }}}'
STYLES = {
    "Hermes": (
        "\n<tool_call>\n" + OBJECT % "arguments" + "\n</tool_call>",
        CallStyle("<tool_call>", "name", "arguments"),
    ),
    "Llama": (OBJECT % "parameters", CallStyle("", "name", "parameters")),
    "Mistral": (
        "[TOOLS] [" + OBJECT % "arguments" + "]",
        CallStyle("[TOOLS]", "name", "arguments"),
    ),
    "text in text": (
        (
            '{"function": "{{ call.function.name }}", "input": '
            "{{ call.function.arguments | tojson | tojson }}}"
        ),
        CallStyle("", "function", "input"),
    ),
    "XML": ("<function={{ call.function.name }}></function>", None),
    "Python": ("{{ call.function.name }}(x=1)", None),
    "broken": ("{{ call.nothing.at.all }}", None),
}


def test_what_is_said_before_a_call_is_no_part_of_it() -> None:
    """Such as the thoughts that Qwen's template writes before each answer."""
    call, style = STYLES["Hermes"]
    thinking = template(call).replace(
        TURN, TURN.replace("(message.content", "'<think>\n\n</think>' + (message.content")
    )
    assert call_style(tokenizer_with(thinking)) == style


def tokenizer_with(chat_template: str) -> Any:
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = chat_template
    return tokenizer


@pytest.mark.parametrize("name", STYLES)
def test_the_template_shows_how_calls_are_written(name: str) -> None:
    call, style = STYLES[name]
    assert call_style(tokenizer_with(template(call))) == style


HERMES = CallStyle("<tool_call>")
CALL = '{"name": "add", "arguments": {"a": 1, "b": "}{"}}'


def read(text: str, cuts: list[int], style: CallStyle, **options: Any) -> tuple[str, list[Any]]:
    """Return the text and the calls that are found if ``text`` comes in pieces."""
    reader = CallReader(style, {"add", "sub"}, **options)
    places = sorted({min(cut, len(text)) for cut in cuts} | {0, len(text)})
    pieces = [text[a:b] for a, b in pairwise(places)]
    found: list[Any] = [chunk for piece in pieces for chunk in reader.add(piece)]
    found += reader.rest()
    calls = [chunk for chunk in found if isinstance(chunk, ToolCall)]
    return "".join(chunk for chunk in found if isinstance(chunk, str)), calls


def told(calls: list[ToolCall]) -> list[Any]:
    return [(call.index, call.name, json.loads(call.arguments)) for call in calls]


ADD = ("add", {"a": 1, "b": "}{"})
CASES = [
    (HERMES, "Hello", "Hello", []),
    (HERMES, f"<tool_call>\n{CALL}\n</tool_call>", "", [ADD]),
    (HERMES, f"I add.\n<tool_call>{CALL}</tool_call>", "I add.\n", [ADD]),
    (HERMES, f"<tool_call>{CALL}</tool_call>\n<tool_call>{CALL}</tool_call>", "", [ADD, ADD]),
    (HERMES, "a <tool_ca", "a <tool_ca", []),
    (HERMES, '<tool_call>{"name": "add", "argu', '<tool_call>{"name": "add", "argu', []),
    (HERMES, '<tool_call>{"name": "rm"} ok', '<tool_call>{"name": "rm"} ok', []),
    (HERMES, f"a {CALL}", f"a {CALL}", []),
    (CallStyle(), CALL, "", [ADD]),
    (CallStyle(), f"\n[{CALL}, {CALL}]", "", [ADD, ADD]),
    (CallStyle(), "A text { of braces }", "A text { of braces }", []),
    (CallStyle(), '{"x": 1} and more', '{"x": 1} and more', []),
    (CallStyle("", "name", "parameters"), '{"name": "sub"}', "", [("sub", {})]),
]


@pytest.mark.parametrize(("style", "text", "said", "calls"), CASES)
@example(cuts=list(range(100)))
@given(cuts=st.lists(st.integers(0, 100), max_size=8))
def test_calls_are_found_however_the_text_is_cut(
    style: CallStyle, text: str, said: str, calls: list[Any], cuts: list[int]
) -> None:
    found, made = read(text, cuts, style)
    assert found == said
    assert told(made) == [(n, *call) for n, call in enumerate(calls)]
    assert len({call.id for call in made}) == len(made)


def test_text_is_given_out_before_its_end() -> None:
    reader = CallReader(HERMES, {"add"})
    assert list(reader.add("One < two ")) == ["One < two "]
    assert list(reader.add("<tool")) == []
    assert list(reader.add("bar")) == ["<toolbar"]
    assert list(CallReader(CallStyle(), {"add"}).add("[1] says")) == ["[1] says"]
    spoken = CallReader(HERMES, {"add"})
    assert "".join(map(str, spoken.add("<tool_call> is a word"))) == "<tool_call> is a word"


def test_steps_get_their_results_and_the_text_is_closed() -> None:
    seen: list[Any] = []

    def text() -> Generator[Any, Any, Finish]:
        try:
            seen.append((yield Step("row")))
            yield "Hello"
            seen.append((yield Step("row")))
            return Finish(completion_tokens=2)
        finally:
            seen.append("closed")

    reading = read_calls(text(), CallReader(HERMES, {"add"}))
    assert isinstance(next(reading), Step)
    assert reading.send(1) == "Hello"
    next(reading)
    reading.close()
    assert seen == [1, "closed"]


WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"enum": ["Oslo", "Rome"]}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}
NOW = {"type": "function", "function": {"name": "now"}}


class Saying(Decoder):
    """A decoder whose model says what it is told to."""

    said = ""

    def generate(self, *_: Any) -> Generator[Any, Any, Finish]:
        yield from self.said
        return Finish(completion_tokens=len(self.said))


def request(**more: Any) -> ChatRequest:
    messages = more.pop("messages", [{"role": "user", "content": "?"}])
    return ChatRequest.model_validate(
        {"model": "toy", "messages": messages, "tools": [WEATHER, NOW], **more}
    )


def saying(text: str, call: str = STYLES["Hermes"][0]) -> Saying:
    decoder = Saying(toy_model(with_vocabulary(300)), tokenizer_with(template(call)), length=512)
    decoder.said = text
    return decoder


def test_a_decoder_yields_the_calls_that_its_model_writes() -> None:
    said = 'Well.<tool_call>{"name": "weather", "arguments": {"city": "Oslo"}}</tool_call>'
    *text, call, finish = saying(said).chat(request())
    assert "".join(map(str, text)) == "Well."
    assert isinstance(call, ToolCall)
    assert (call.name, json.loads(call.arguments)) == ("weather", {"city": "Oslo"})
    assert isinstance(finish, Finish)


def test_a_style_that_is_not_known_is_text() -> None:
    said = "<function=weather></function>"
    *text, _ = saying(said, STYLES["XML"][0]).chat(request())
    assert "".join(map(str, text)) == said


def test_without_tools_nothing_is_a_call() -> None:
    said = '<tool_call>{"name": "weather", "arguments": {}}</tool_call>'
    for asked in (request(tools=None), request(tool_choice="none")):
        *text, _ = saying(said).chat(asked)
        assert "".join(map(str, text)) == said


@pytest.mark.parametrize(
    ("choice", "names"),
    [
        ("required", {"weather", "climate"}),
        ({"type": "function", "function": {"name": "weather"}}, {"weather"}),
    ],
)
def test_a_call_that_is_required_is_made(choice: Any, names: set[str]) -> None:
    """The text is held to be one, whatever the model would rather say."""
    tokenizer = tokenizer_with(template(STYLES["Hermes"][0], "{{ tools | length }}"))
    decoder = Decoder(toy_model(with_vocabulary(300)), tokenizer, length=600)
    climate = {**WEATHER, "function": {**WEATHER["function"], "name": "climate"}}
    asked = request(tool_choice=choice, tools=[WEATHER, climate], max_tokens=200)
    chunks = decoder.chat(asked)
    found: list[Any] = []
    result = None
    while True:
        try:
            chunk = chunks.send(result)
        except StopIteration:
            break
        result = decoder.step([chunk.row])[0] if isinstance(chunk, Step) else None
        found += [] if isinstance(chunk, Step) else [chunk]
    call, finish = found
    assert call.name in names
    assert isinstance(json.loads(call.arguments), dict)
    assert finish.reason == "stop"


def test_a_template_without_tools_refuses_them() -> None:
    decoder = Saying(toy_model(with_vocabulary(300)), tokenizer_with(TEMPLATE))
    with pytest.raises(InvalidInput, match="takes no tools"):
        next(iter(decoder.chat(request())))


def test_earlier_calls_come_as_objects() -> None:
    """The template writes them in its own form, and not as text in text."""
    call = {"id": "1", "type": "function", "function": {"name": "now", "arguments": '{"a": 1}'}}
    messages = [{"role": "user", "content": "?"}, {"role": "assistant", "tool_calls": [call]}]
    decoder = saying("")
    prompt = decoder.prompt(request(messages=messages).conversation)
    assert '{"name": "now", "arguments": {"a": 1}}' in decoder.tokenizer.decode(prompt)


def test_the_schema_of_one_call_and_of_several() -> None:
    one = schema_of_call([WEATHER], HERMES)
    assert one["properties"]["name"] == {"const": "weather"}
    several = schema_of_call([WEATHER, NOW], HERMES)
    assert [call["properties"]["name"]["const"] for call in several["anyOf"]] == ["weather", "now"]


@pytest.mark.parametrize(
    "more",
    [
        {"tools": [{"type": "function"}]},
        {"tool_choice": {"type": "function", "function": {"name": "other"}}},
        {"tools": None, "tool_choice": "required"},
        {"tool_choice": "perhaps"},
    ],
)
def test_what_makes_no_sense_is_refused(more: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="tool"):
        request(**more)
