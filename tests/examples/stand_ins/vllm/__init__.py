"""As much of vLLM as the example uses: an engine that says the words of a prompt once more."""

from typing import Any

__all__ = ["AsyncEngineArgs", "SamplingParams", "TokensPrompt"]


class AsyncEngineArgs:
    def __init__(self, model: str) -> None:
        self.model = model


class SamplingParams:
    def __init__(self, **given: Any) -> None:
        self.given = given


class TokensPrompt(dict[str, Any]):
    pass
