"""The generator of chunks.py behind LitServe: ``stream_litserve.py PORT``."""

import sys
from collections.abc import Iterator
from typing import Any

import litserve
from chunks import chunks

Asked = tuple[int, float]


class Stream(litserve.LitAPI):  # type: ignore[misc]  # is Any where types are checked
    def setup(self, device: str) -> None:
        pass

    def decode_request(self, request: dict[str, float]) -> Asked:
        return int(request["chunks"]), request["delay"]

    def predict(self, x: Asked) -> Iterator[str]:
        yield from chunks(*x)

    def encode_response(self, output: Iterator[str]) -> Any:  # LitServe makes a schema of the type
        yield from output


if __name__ == "__main__":
    litserve.LitServer(
        Stream(stream=True, api_path="/"),
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
