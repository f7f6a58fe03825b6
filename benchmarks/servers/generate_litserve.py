"""Chats with SmolLM2 behind LitServe: ``generate_litserve.py PORT``.

Its continuous batching loop makes the steps, of the decoder that Potassium has, too. It leaves
everything else to its user: here, a text's pieces are written as OpenAI's events.
"""

import json
import sys
from typing import Any

import litserve
import smollm2
from litserve.loops.continuous_batching_loop import ContinuousBatchingLoop, Output
from litserve.utils import LitAPIStatus

from potassium import Step
from potassium.text import Decoder, Sampling


def event(text: str, usage: dict[str, int] | None = None) -> str:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": "length" if usage else None}
    document = {"object": "chat.completion.chunk", "model": smollm2.NAME, "choices": [choice]}
    return f"data: {json.dumps({**document, 'usage': usage})}\n\n"


class Chats(litserve.LitAPI):  # type: ignore[misc]  # is Any where types are checked
    def setup(self, _: str) -> None:
        model, tokenizer = smollm2.loaded()
        self.decoder = Decoder(model, tokenizer, rows=smollm2.ROWS, length=smollm2.LENGTH)
        self.waiting: dict[str, tuple[Any, Any]] = {}  # by id: a text, and its step

    def decode_request(self, request: dict[str, Any]) -> dict[str, Any]:
        return request

    def encode_response(self, output: str) -> str:
        return output

    def add_request(self, uid: str, request: dict[str, Any]) -> None:
        count = request["max_tokens"]
        how = Sampling(
            max_tokens=count, min_tokens=count, temperature=request["temperature"], seed=1
        )
        text = self.decoder.generate(self.decoder.prompt(request["messages"]), how)
        self.waiting[uid] = text, next(text)

    def has_capacity(self) -> bool:
        return len(self.waiting) < smollm2.ROWS

    def has_active_requests(self) -> bool:
        return bool(self.waiting)

    def step(self, _: Any) -> list[Output]:
        rows = list(self.waiting.items())
        results = self.decoder.step([step.row for _, (_, step) in rows])
        return [
            one
            for (uid, (text, _)), result in zip(rows, results, strict=True)
            for one in self.outputs(uid, text, result)
        ]

    def outputs(self, uid: str, text: Any, result: Any) -> list[Output]:
        """Go on with a text up to its next step."""
        pieces = []
        try:
            step = text.send(result)
            while not isinstance(step, Step):
                pieces.append(step)
                step = next(text)
        except StopIteration as end:
            del self.waiting[uid]
            usage = {"completion_tokens": end.value.completion_tokens}
            last = Output(uid, event("".join(pieces), usage), LitAPIStatus.OK)
            return [last, Output(uid, "", LitAPIStatus.FINISH_STREAMING)]
        self.waiting[uid] = text, step
        return [Output(uid, event("".join(pieces)) if pieces else "", LitAPIStatus.OK)]


if __name__ == "__main__":
    litserve.LitServer(
        Chats(stream=True, api_path="/v1/chat/completions", loop=ContinuousBatchingLoop()),
        accelerator="cpu",
        workers_per_device=1,
        timeout=False,
        fast_queue=True,
    ).run(
        host="127.0.0.1",
        port=int(sys.argv[1]),
        log_level="warning",
        access_log=False,
        generate_client_file=False,
    )
