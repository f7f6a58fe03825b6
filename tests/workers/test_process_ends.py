"""How the end of a worker process is noticed."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from potassium.workers import process
from potassium.workers.inside import BROKEN, Inside
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


class Link:
    """The worker's end of a socket from which one thing is read."""

    def __init__(self, error: Exception | None) -> None:
        self._error = error

    def run(self, _: object) -> None:
        """Return as if the front was gone, or raise what comes of a frame."""
        if self._error is not None:
            raise self._error


@pytest.mark.parametrize(
    ("error", "status"), [(None, 0), (ValueError("no frame"), BROKEN)], ids=["gone", "broken"]
)
def test_a_worker_ends_with_what_it_reads(
    monkeypatch: pytest.MonkeyPatch, error: Exception | None, status: int
) -> None:
    """Once the front is gone, whatever its handlers do; and if it cannot read what it is sent."""

    def end(number: int) -> None:
        raise SystemExit(number)

    monkeypatch.setattr(os, "_exit", end)
    worker = object.__new__(Inside)  # as its thread that reads uses it
    worker._link = Link(error)  # type: ignore[assignment] # it has what that uses
    worker._receivers = {}
    with pytest.raises(SystemExit) as ended:
        worker._read()
    assert ended.value.code == status
