"""Looks at the workers of ``watched_app``, which are real processes."""

import asyncio
import importlib
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from potassium import Potassium
from support import watched_app

__all__ = ["Switch", "kill", "new_app", "seen", "status"]

PATIENCE = 20.0  # seconds; what is waited for takes less than two

Worker = dict[str, Any]


def new_app() -> Potassium:
    """Return the app as one that was never started."""
    app: Potassium = importlib.reload(watched_app).app
    return app


class Switch:
    """A file that a worker looks for."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __str__(self) -> str:
        """Return its path."""
        return str(self._path)

    def on(self) -> None:
        """Let the file be there."""
        self._path.touch()

    def off(self) -> None:
        """Let it be gone."""
        self._path.unlink(missing_ok=True)


async def status(http: httpx.AsyncClient) -> dict[str, Any]:
    document: dict[str, Any] = (await http.get("/_k/status")).json()
    return document


async def seen(
    http: httpx.AsyncClient, is_there: Callable[[list[Worker]], object] = bool
) -> list[Worker]:
    """Return what is shown of the workers once ``is_there`` says so."""
    async with asyncio.timeout(PATIENCE):
        while not is_there(found := (await status(http))["workers"]):  # noqa: ASYNC110 - of a page
            await asyncio.sleep(0.01)
    workers: list[Worker] = found
    return workers


async def kill(http: httpx.AsyncClient, number: int = 0) -> Worker:
    """Kill a worker, wait until that is known, and return what was shown of it before."""
    before = (await seen(http))[number]
    os.kill(before["pid"], signal.SIGKILL)
    await seen(http, lambda workers: workers[number]["pid"] != before["pid"])
    return before
