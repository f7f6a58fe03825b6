"""Wherever the model is, OpenAI's API says the same."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from e2e.server import Server
from workers.modes import MODES, served

APP = """
    import os

    from potassium import InvalidInput, Potassium
    from potassium.openai import ChatRequest, EmbeddingRequest, Finish, OpenAI, ToolCall

    app = Potassium("chats", api_keys=["secret"])
    api = OpenAI(app, model="toy")


    @app.init
    def init():
        return {"greeting": "Hello, "}


    @api.chat()
    def chat(cache, request: ChatRequest):
        said = request.conversation[-1]["content"]
        if said == "no":
            raise InvalidInput("No is no answer.")
        yield cache["greeting"]
        if said == "fail":
            raise RuntimeError
        yield said
        yield ToolCall(id="call_1", name="wave", arguments="{}")
        yield Finish(prompt_tokens=1, completion_tokens=2)


    @api.embeddings()
    def embed(cache, request: EmbeddingRequest):
        return [[0.5, 1.0] for _ in request.inputs]


    if __name__ == "__main__":
        app.serve()
"""
KEY = {"Authorization": "Bearer secret"}


@pytest.fixture(scope="module", params=MODES)
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    yield from served(APP, tmp_path_factory.mktemp("app"), request.param)


def asked(server: Server, text: str, **more: Any) -> Any:
    body = {"model": "toy", "messages": [{"role": "user", "content": text}], **more}
    return server.post("/v1/chat/completions", body, headers=KEY)


def test_a_chat(server: Server) -> None:
    (choice,) = asked(server, "you").json()["choices"]
    assert choice["message"]["content"] == "Hello, you"
    assert choice["message"]["tool_calls"][0]["function"]["name"] == "wave"
    assert choice["finish_reason"] == "tool_calls"
    answer = asked(server, "you", stream=True, stream_options={"include_usage": True})
    *events, done, _ = answer.text.split("\n\n")
    assert done == "data: [DONE]"
    chunks = [json.loads(event.removeprefix("data: ")) for event in events]
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks if chunk["choices"]]
    assert "".join(delta.get("content") or "" for delta in deltas) == "Hello, you"
    assert chunks[-1]["usage"]["total_tokens"] == 3


def test_what_fails(server: Server) -> None:
    refused = asked(server, "no", stream=True)
    assert (refused.status_code, refused.json()["error"]["message"]) == (422, "No is no answer.")
    whole = asked(server, "fail")
    assert (whole.status_code, whole.json()["error"]["code"]) == (500, "handler_error")
    *_, last, done, _ = asked(server, "fail", stream=True).text.split("\n\n")
    assert json.loads(last.removeprefix("data: "))["error"]["code"] == "handler_error"
    assert done == "data: [DONE]"


def test_vectors(server: Server) -> None:
    body = {"model": "toy", "input": ["a", "b"]}
    answer = server.post("/v1/embeddings", body, headers=KEY)
    assert [one["embedding"] for one in answer.json()["data"]] == [[0.5, 1.0]] * 2


def test_a_key_is_required(server: Server) -> None:
    for path in ("/v1/chat/completions", "/v1/embeddings"):
        assert server.post(path, {"model": "toy"}).status_code == 401
    with server.client() as http:
        assert http.get("/v1/models").status_code == 401
        assert http.get("/v1/models", headers=KEY).status_code == 200
