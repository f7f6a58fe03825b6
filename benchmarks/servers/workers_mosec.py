"""One of the works of work.py behind two workers of mosec: ``workers_mosec.py PORT``."""

import os
import sys
from typing import Any

import mosec
import work

NAME = os.environ[work.WORK]


class Worker(mosec.Worker):  # type: ignore[misc]  # is Any where types are checked
    def __init__(self) -> None:
        super().__init__()
        work.init()

    def forward(self, data: Any) -> Any:
        return work.ALL[NAME](data)


class Bytes(Worker):
    resp_mime_type = "application/octet-stream"

    def deserialize(self, data: bytes) -> bytes:
        return data

    def serialize(self, data: bytes) -> bytes:
        return data


if __name__ == "__main__":
    os.environ |= {
        "MOSEC_ADDRESS": "127.0.0.1",
        "MOSEC_PORT": sys.argv[1],
        "MOSEC_LOG_LEVEL": "error",
    }
    server = mosec.Server()
    server.append_worker(Bytes if NAME == "bytes" else Worker, num=2, route=f"/{NAME}")
    server.run()
