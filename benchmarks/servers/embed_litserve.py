"""MiniLM behind LitServe: ``embed_litserve.py PORT BATCH_SIZE``, with POST /embed."""

import sys
import warnings
from typing import Any

import litserve
from fastapi import Response
from minilm import MiniLM, encoded

# The sizes tried include 1, for which LitServe recommends an API without batch methods.
warnings.filterwarnings("ignore", message=".*both batch and unbatch methods")


class Embed(litserve.LitAPI):  # type: ignore[misc]  # is Any where types are checked
    def setup(self, device: str) -> None:  # noqa: ARG002 - LitServe gives it
        self.minilm = MiniLM()

    def decode_request(self, request: dict[str, str]) -> str:
        return request["text"]

    def batch(self, inputs: list[str]) -> list[str]:
        return inputs

    def predict(self, x: Any) -> Any:
        if isinstance(x, list):
            return self.minilm.embed(x).numpy()
        return self.minilm.embed([x]).numpy()[0]

    def unbatch(self, output: Any) -> Any:
        return output

    def encode_response(self, output: Any) -> Response:
        return Response(encoded(output), media_type="application/json")


if __name__ == "__main__":
    size = int(sys.argv[2])
    litserve.LitServer(
        # Under a backlog, a longer timeout than 0 changes nothing.
        Embed(api_path="/embed", max_batch_size=size, batch_timeout=0.0),
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
