"""The engine, which counts the texts that are aborted in a file."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from vllm import AsyncEngineArgs, SamplingParams, TokensPrompt
from vllm.sampling_params import RequestOutputKind

__all__ = ["AsyncLLM"]


class Tokenizer:
    """Tokens are the numbers of characters."""

    def apply_chat_template(self, messages: list[dict[str, Any]], **options: Any) -> list[int]:
        assert options["tokenize"]
        return self.encode(messages[-1]["content"])

    def encode(self, text: str) -> list[int]:
        return list(map(ord, text))


class AsyncLLM:
    def __init__(self) -> None:
        self._open: set[str] = set()

    @classmethod
    def from_engine_args(cls, arguments: AsyncEngineArgs) -> "AsyncLLM":
        assert arguments.model
        return cls()

    def get_tokenizer(self) -> Tokenizer:
        return Tokenizer()

    async def generate(
        self, prompt: TokensPrompt, sampling: SamplingParams, request_id: str
    ) -> AsyncIterator[SimpleNamespace]:
        assert sampling.given["output_kind"] is RequestOutputKind.DELTA
        self._open.add(request_id)
        most = sampling.given["max_tokens"] or 10**9
        schema = sampling.given["structured_outputs"]
        tokens = prompt["prompt_token_ids"] if schema is None else list(map(ord, '{"a": 1}'))
        for count, token in enumerate(tokens, 1):
            await asyncio.sleep(0.01)
            is_last = count in (len(tokens), most)
            reason = ("stop" if count == len(tokens) else "length") if is_last else None
            text = SimpleNamespace(text=chr(token), token_ids=[token], finish_reason=reason)
            if is_last:
                self._open.discard(request_id)
            yield SimpleNamespace(outputs=[text], finished=is_last)
            if is_last:
                return

    async def abort(self, request_id: str) -> None:
        if request_id in self._open:
            self._open.discard(request_id)
            with Path(os.environ["ABORTED"]).open("a") as file:  # noqa: ASYNC230 - a line
                file.write(f"{request_id}\n")
