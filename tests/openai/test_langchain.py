"""LangChain against a real server with a toy model."""

from collections.abc import Iterator
from typing import Any, Literal

import pytest
from e2e.server import Server
from pydantic import BaseModel

openai = pytest.importorskip("openai")
langchain = pytest.importorskip("langchain_openai")

ROUTES = pytest.mark.parametrize("responses", [False, True], ids=["chats", "responses"])


class Trip(BaseModel):
    """Where to go."""

    city: Literal["Oslo", "Rome"]
    days: int


class Weather(BaseModel):
    """Tell the weather."""

    city: str


@pytest.fixture
def options(toy: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """What every client is made with: connections of its own, which would be kept otherwise."""
    monkeypatch.setenv("LANGSMITH_TRACING", "false")
    with openai.DefaultHttpxClient() as http:
        server = {"base_url": f"{toy.url}/v1", "api_key": "secret", "max_retries": 0}
        yield {**server, "http_client": http}


def chat_of(options: dict[str, Any], model: str, *, responses: bool, **more: Any) -> Any:
    return langchain.ChatOpenAI(**options, model=model, use_responses_api=responses, **more)


@ROUTES
def test_an_answer_as_a_whole_and_as_it_comes_are_the_same(
    options: dict[str, Any], responses: bool
) -> None:
    chat = chat_of(options, "toy", responses=responses, max_tokens=20)
    whole = chat.invoke("Hello")
    assert whole.usage_metadata["output_tokens"] == 20
    pieces = list(chat.stream("Hello"))
    assert len(pieces) > 2
    assert "".join(piece.text for piece in pieces) == whole.text != ""


@ROUTES
async def test_an_answer_as_it_comes_on_an_event_loop(
    options: dict[str, Any], responses: bool
) -> None:
    async with openai.DefaultAsyncHttpxClient() as http:
        options["http_async_client"] = http
        chat = chat_of(options, "toy", responses=responses, max_tokens=20)
        whole = await chat.ainvoke("Hello")
        pieces = [piece.text async for piece in chat.astream("Hello")]
    assert "".join(pieces) == whole.text


@ROUTES
def test_structured_output_is_valid(options: dict[str, Any], responses: bool) -> None:
    chat = chat_of(options, "toy", responses=responses, max_tokens=300)
    trip = chat.with_structured_output(Trip, method="json_schema", strict=True).invoke("Hello")
    assert isinstance(trip, Trip)


@ROUTES
def test_tools_are_called_and_their_results_sent(options: dict[str, Any], responses: bool) -> None:
    chat = chat_of(options, "tools", responses=responses).bind_tools([Weather])
    asked: list[Any] = [("user", "How is the weather?")]
    answer = chat.invoke(asked)
    (call,) = answer.tool_calls
    assert (call["name"], call["args"]) == ("Weather", {"city": "Oslo"})
    whole, *pieces = chat.stream(asked)
    for piece in pieces:
        whole += piece
    assert [(one["name"], one["args"]) for one in whole.tool_calls] == [("Weather", call["args"])]
    asked += [answer, {"role": "tool", "tool_call_id": call["id"], "content": "sunny"}]
    assert chat.invoke(asked).text == "It is sunny."


def test_errors_are_raised_in_the_middle_of_a_stream(options: dict[str, Any]) -> None:
    stream = chat_of(options, "broken", responses=True).stream("Hello")
    found: list[Any] = []
    with pytest.raises(ValueError, match="server_error"):
        found.extend(stream)
    assert "So far" in [piece.text for piece in found]


def test_vectors_of_texts(options: dict[str, Any]) -> None:
    """By default, it sends tokens of OpenAI's own models, for which it loads a file."""
    embeddings = langchain.OpenAIEmbeddings(
        **options, model="toy", check_embedding_ctx_length=False
    )
    assert embeddings.embed_documents(["a", "bcd"]) == [[1.0, 0.5], [3.0, 0.5]]
    assert embeddings.embed_query("ab") == [2.0, 0.5]
