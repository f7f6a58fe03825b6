"""A server with a toy model, for the clients of OpenAI's API."""

from collections.abc import Iterator

import pytest
from e2e.server import Server, serve_source

APP = """
    import torch

    from potassium import Potassium
    from potassium.openai import (
        ChatRequest,
        CompletionRequest,
        EmbeddingRequest,
        Embeddings,
        OpenAI,
        Segment,
        ToolCall,
        TranscriptionRequest,
    )
    from potassium.text import Decoder
    from support.text import TEMPLATE, byte_tokenizer, toy_model, with_vocabulary

    app = Potassium("toy", api_keys=["secret"])
    api = OpenAI(app, model="toy")


    @app.init
    def init():
        tokenizer = byte_tokenizer()
        tokenizer.chat_template = TEMPLATE
        model = toy_model(with_vocabulary(300))
        return {"decoder": Decoder(model, tokenizer, rows=8, length=512)}


    def forward(cache, rows):
        return cache["decoder"].step(rows)


    @api.chat(streams=8, step=forward)
    def chat(cache, request: ChatRequest):
        yield from cache["decoder"].chat(request)


    @api.completions(streams=8, step=forward)
    def complete(cache, request: CompletionRequest):
        yield from cache["decoder"].complete(request)


    @api.embeddings()
    def embed(cache, request: EmbeddingRequest):
        vectors = torch.tensor([[float(len(one)), 0.5] for one in request.inputs])
        return Embeddings(vectors=vectors, prompt_tokens=sum(map(len, request.inputs)))


    @api.chat(model="tools")
    def tools(cache, request: ChatRequest):
        if request.messages[-1].role == "tool":
            yield f"It is {request.messages[-1].content}."
            return
        yield ToolCall(id="call_1", name=request.tools[0]["function"]["name"])
        yield ToolCall(arguments='{"city": ')
        yield ToolCall(arguments='"Oslo"}')


    @api.chat(model="broken")
    def broken(cache, request: ChatRequest):
        yield "So far"
        raise RuntimeError("broken")


    @api.transcriptions(body_size=32 * 2**20)
    def transcribe(cache, request: TranscriptionRequest):
        yield Segment(start=0.0, end=1.5, text=f"{request.file.name} has ")
        yield Segment(start=1.5, end=2.0, text=f"{len(request.file.read())} bytes.")


    if __name__ == "__main__":
        app.serve()
"""


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serve_source(APP, tmp_path_factory.mktemp("app"), has_support=True) as server:
        yield server
