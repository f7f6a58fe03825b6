"""Background jobs of an app in the test's own process."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from potassium import Jobs, Limits, Potassium, Request
from potassium.testing import client

__all__ = ["Bench", "ended", "submit"]


class Bench:
    """An app with jobs in memory; ``held`` blocks the GPU thread until ``gate`` is released."""

    def __init__(self, *, limits: Limits | None = None, **options: Any) -> None:
        self.app = Potassium(
            "test", limits=limits, jobs=Jobs(**{"path": None, "backoff": 0.01, **options})
        )
        self.ran: list[Any] = []
        self.gate = threading.Semaphore(0)
        self.begun = threading.Semaphore(0)
        self.app.background("/held")(self.held)
        self.app.handler("/gated")(self.held)
        self.app.background("/short")(self.direct)
        self.app.handler("/direct")(self.direct)

    def held(self, cache: dict[str, Any], request: Request) -> Any:
        self.ran.append(request.json)
        self.begun.release()
        assert self.gate.acquire(timeout=40)
        return {"held": request.json}

    def direct(self, cache: dict[str, Any], json_in: Any) -> Any:
        self.ran.append(json_in)
        return {"direct": json_in}

    async def has_begun(self) -> None:
        assert await asyncio.to_thread(self.begun.acquire, timeout=10)

    @asynccontextmanager
    async def client(self) -> AsyncIterator[httpx.AsyncClient]:
        """Run the app; release everything that is held at the end."""
        async with client(self.app) as http:
            try:
                yield http
            finally:
                for _ in range(1000):
                    self.gate.release()


async def submit(http: httpx.AsyncClient, path: str, body: Any, **headers: str) -> dict[str, Any]:
    """Submit a job and return its document."""
    answer = await http.post(path, json=body, headers=headers)
    assert answer.status_code == 202, answer.text
    document: dict[str, Any] = answer.json()
    return document


async def ended(http: httpx.AsyncClient, job: dict[str, Any]) -> dict[str, Any]:
    """Return the document of a job once it has ended."""
    answer = await http.get(f"/jobs/{job['id']}", headers={"Prefer": "wait=10"})
    document: dict[str, Any] = answer.json()
    assert document["finished_at"], document
    return document
