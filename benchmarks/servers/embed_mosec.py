"""MiniLM behind mosec: ``embed_mosec.py PORT BATCH_SIZE``, with POST /embed."""

import os
import sys
from typing import Any

import mosec
from minilm import MiniLM, encoded

MAX_WAIT_TIME = 1  # milliseconds, the minimum; under a backlog, 10 is no better
TIMEOUT = 120_000  # milliseconds


class Embed(mosec.Worker):  # type: ignore[misc]  # is Any where types are checked
    def __init__(self) -> None:
        super().__init__()
        self.minilm = MiniLM()

    def forward(self, data: Any) -> Any:
        if isinstance(data, list):
            return self.minilm.embed([item["text"] for item in data]).numpy()
        return self.minilm.embed([data["text"]]).numpy()[0]

    def serialize(self, data: Any) -> bytes:
        return encoded(data)


if __name__ == "__main__":
    os.environ |= {
        "MOSEC_ADDRESS": "127.0.0.1",
        "MOSEC_PORT": sys.argv[1],
        "MOSEC_TIMEOUT": str(TIMEOUT),
        "MOSEC_LOG_LEVEL": "error",
    }
    server = mosec.Server()
    server.append_worker(
        Embed, max_batch_size=int(sys.argv[2]), max_wait_time=MAX_WAIT_TIME, route="/embed"
    )
    server.run()
