"""How the end of a worker process is noticed."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from potassium.workers import process
from potassium.workers.process import WorkerProcess


def refused(_: int) -> int:
    raise PermissionError("Operation not permitted")


@pytest.mark.parametrize("opens", [None, refused], ids=["as it is", "forbidden by a sandbox"])
async def test_the_end_is_noticed_with_its_status(
    monkeypatch: pytest.MonkeyPatch, opens: Callable[[int], int] | None
) -> None:
    """Old kernels and sandboxes have no ``pidfd_open``; then a thread waits."""
    command = [sys.executable, "-c", "raise SystemExit(3)"]
    monkeypatch.setattr(process, "_spawn", lambda *_: subprocess.Popen(command))
    if opens is not None:
        monkeypatch.setattr(os, "pidfd_open", opens)
    ended = asyncio.get_running_loop().create_future()
    start: Any = None
    worker = WorkerProcess(start, ended.set_result)
    assert await asyncio.wait_for(ended, 20) == 3
    worker.socket.close()
    worker.page.close()
