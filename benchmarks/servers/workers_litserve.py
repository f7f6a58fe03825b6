"""One of the works of work.py behind two workers of LitServe: ``workers_litserve.py PORT``."""

import os
import sys
from collections.abc import Iterator
from typing import Any

import litserve
import work
from chunks import chunks

NAME = os.environ[work.WORK]


class Works(litserve.LitAPI):  # type: ignore[misc]  # is Any where types are checked
    def setup(self, device: str) -> None:  # noqa: ARG002 - LitServe gives it
        work.init()

    def predict(self, x: dict[str, Any]) -> Any:
        return work.ALL[NAME](x)


class Stream(litserve.LitAPI):  # type: ignore[misc]  # is Any where types are checked
    def setup(self, device: str) -> None:
        pass

    def predict(self, x: dict[str, Any]) -> Iterator[str]:
        yield from chunks(int(x["chunks"]), x["delay"])

    def encode_response(self, output: Iterator[str]) -> Any:  # LitServe makes a schema of the type
        yield from output


if __name__ == "__main__":
    path = f"/{NAME}"
    litserve.LitServer(
        Stream(stream=True, api_path=path) if NAME == "stream" else Works(api_path=path),
        accelerator="cpu",
        workers_per_device=2,
        fast_queue=True,
    ).run(
        host="127.0.0.1",
        port=int(sys.argv[1]),
        log_level="warning",
        access_log=False,
        generate_client_file=False,
    )
