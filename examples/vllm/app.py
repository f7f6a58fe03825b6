"""OpenAI's API in front of vLLM's engine. Run it with ``MODEL=Qwen/Qwen3-8B python app.py``.

The engine has a loop of its own and batches what it is given; the handlers only pass texts on.
"""

import os
import uuid
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

from vllm import AsyncEngineArgs, SamplingParams, TokensPrompt
from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams
from vllm.v1.engine.async_llm import AsyncLLM

from potassium import Potassium
from potassium.openai import ChatRequest, CompletionRequest, Finish, OpenAI

MODEL = os.environ.get("MODEL", "Qwen/Qwen3-8B")
Request = ChatRequest | CompletionRequest

MOST = 256  # texts at a time; further ones wait here, where they have deadlines and a limit

app = Potassium("vllm")
api = OpenAI(app, model=MODEL.rpartition("/")[2].lower())


@app.init
def load() -> dict[str, Any]:
    engine = AsyncLLM.from_engine_args(AsyncEngineArgs(model=MODEL))
    return {"engine": engine, "tokenizer": engine.get_tokenizer()}


def sampling(request: Request) -> SamplingParams:
    given = {"temperature": request.temperature, "top_p": request.top_p, "seed": request.seed}
    schema = request.schema_of_text
    return SamplingParams(
        max_tokens=request.token_limit,
        stop=list(request.stops),
        structured_outputs=None if schema is None else StructuredOutputsParams(json=dict(schema)),
        output_kind=RequestOutputKind.DELTA,
        **{name: value for name, value in given.items() if value is not None},
    )


async def texts(
    engine: AsyncLLM, tokens: Sequence[int], request: Request
) -> AsyncGenerator[str | Finish, None]:
    prompt = TokensPrompt(prompt_token_ids=list(tokens))
    request_id = uuid.uuid4().hex
    reason, count = "stop", 0
    try:
        async for output in engine.generate(prompt, sampling(request), request_id):
            (text,) = output.outputs
            count += len(text.token_ids)
            reason = text.finish_reason or reason
            if text.text:
                yield text.text
    finally:
        await engine.abort(request_id)  # does nothing if the text is complete
    yield Finish(
        reason="length" if reason == "length" else "stop",
        prompt_tokens=len(tokens),
        completion_tokens=count,
    )


@api.chat(concurrency=MOST, timeout=600)
async def chat(cache: dict[str, Any], request: ChatRequest) -> AsyncGenerator[str | Finish, None]:
    tokens = cache["tokenizer"].apply_chat_template(
        request.conversation,
        tools=list(request.offered_tools) or None,
        add_generation_prompt=True,
        tokenize=True,
        return_dict=False,
    )
    async with aclosing(texts(cache["engine"], tokens, request)) as chunks:
        async for chunk in chunks:
            yield chunk


@api.completions(concurrency=MOST, timeout=600)
async def complete(
    cache: dict[str, Any], request: CompletionRequest
) -> AsyncGenerator[str | Finish, None]:
    text = request.text
    tokens = cache["tokenizer"].encode(text) if isinstance(text, str) else text
    async with aclosing(texts(cache["engine"], tokens, request)) as chunks:
        async for chunk in chunks:
            yield chunk


if __name__ == "__main__":
    app.serve()
