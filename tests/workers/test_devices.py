"""What a worker process is told of its device, and when."""

import asyncio
import os
from pathlib import Path

import pytest
from e2e.server import Start as StartServer

from potassium.config.import_path import ImportPath
from potassium.workers import process
from potassium.workers.placement import Placement
from potassium.workers.process import Start, WorkerProcess

STAND_IN = """
import os
import sys

sees = os.environ.get("CUDA_VISIBLE_DEVICES")
sys.exit(7 if sees == "1" and "torch" not in sys.modules else 1)
"""


async def test_a_worker_process_begins_with_its_own_accelerator_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The variable is there before anything is imported, whatever this process sees."""
    (tmp_path / "stand_in.py").write_text(STAND_IN)
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    monkeypatch.setenv("PYTHONPATH", path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    monkeypatch.setattr(process, "ENTRY", "stand_in")
    placement = Placement("cuda:1", "cuda:0", {"CUDA_VISIBLE_DEVICES": "1"})
    start = Start(ImportPath(tmp_path, "app", None), placement, "cuda:1", {"lock": None})
    ended = asyncio.get_running_loop().create_future()
    worker = WorkerProcess(start, ended.set_result)
    assert await asyncio.wait_for(ended, 30) == 7
    worker.socket.close()
    worker.page.close()


APP = """
from potassium import Potassium

app = Potassium("devices", workers=["cpu"])


@app.init
def init(device: str):
    return {"device": device}


@app.handler("/device")
def device(cache, json_in):
    return cache["device"]


if __name__ == "__main__":
    app.serve()
"""


def test_init_in_a_worker_is_told_its_device(start: StartServer) -> None:
    """Not what the front would be told: on a machine with an accelerator, that is another one."""
    assert start(APP).post("/device", {}).json() == "cpu"
