"""``warmup=`` in worker processes: each runs the handlers itself before it takes calls."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e.server import Server, Start, free_port
from prometheus_client.parser import text_string_to_metric_families
from support.metrics import Scrape
from workers.modes import served

APP = """
import os, threading
from pathlib import Path
from potassium import Batch, Potassium, Request
from starlette.responses import StreamingResponse

app = Potassium("warm", metrics=True)
SEEN = []


def prepare(item: dict):
    SEEN.append(["prepare", threading.current_thread().name])
    return item["n"]


def finish(result: int):
    SEEN.append(["finish", threading.current_thread().name])
    return result


@app.handler("/batched", batch=Batch(max_size=3), prepare=prepare, finish=finish, warmup={"n": 1})
def batched(cache, items: list[int]):
    SEEN.append(items)
    return items


@app.handler("/stream", warmup=lambda: {"n": 2000})
def stream(cache, json_in):
    for _ in range(json_in["n"]):
        yield "x" * 1000
    SEEN.append("streamed")


@app.handler("/pushed", warmup={})
def pushed(cache, request: Request):
    for _ in range(2000):
        request.send("x" * 1000)
    SEEN.append("pushed")


@app.handler("/sends-itself", warmup={})
def sends_itself(cache, json_in):
    async def body():
        yield "x"
        SEEN.append("sent")

    return StreamingResponse(body())


def items():
    SEEN.append("items")
    return {}


@app.handler("/async", warmup=items)
async def on_loop(cache, json_in):
    SEEN.append("on the loop")


@app.handler("/seen")
def seen(cache, json_in):
    return {"pid": os.getpid(), "seen": SEEN}


if __name__ == "__main__":
    app.serve()
"""
POOL, EXPECTED = "potassium-pool", [[1], [1, 1, 1], "streamed", "pushed", "sent"]


@pytest.fixture(scope="module", params=["0", "cpu,cpu"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    yield from served(APP, tmp_path_factory.mktemp("warm"), request.param)


def test_every_process_has_run_its_handlers_before_the_first_call(server: Server) -> None:
    """All steps, on the threads on which they run for calls; streams to their end."""
    seen = server.post("/seen", json={}).json()["seen"]
    steps = [one for one in seen if one in (["prepare", POOL], ["finish", POOL])]
    assert len(steps) == 2 * (1 + 3)
    on_loop = (
        [] if server.status()["workers"] else ["items", "on the loop"]
    )  # those run in the front
    assert [one for one in seen if one not in steps] == EXPECTED + on_loop


def test_the_ledger_tells_what_each_process_spent(server: Server) -> None:
    """Import, init and warm-up of each worker, and the warm-ups of this process."""
    status = server.status()
    startup, workers = status["startup"], status["workers"]
    assert startup["worker_phases"].keys() == {one["name"] for one in workers}
    for one in workers:
        assert one["phases"].keys() == {"import", "init", "warmup"}
        assert sum(one["phases"].values()) <= one["load_seconds"] + 0.1  # a tick of the clock
    everything = {"/batched", "/stream", "/pushed", "/sends-itself", "/async"}
    assert startup["warmups"].keys() == ({"/async"} if workers else everything)
    assert "warmup" in startup["phases"]


def test_they_are_no_calls_in_any_process(server: Server) -> None:
    """The front has heard of none."""
    status = server.status()
    assert status["service_time"].keys() <= {"/seen"}
    assert status["counts"]["admitted"] <= 1
    assert all(one["finished"] <= 1 for one in status["workers"])
    counts = Scrape(text_string_to_metric_families(server.get("/metrics").text))
    for path in ("/batched", "/stream", "/pushed", "/sends-itself", "/async"):
        assert counts.value("potassium_run_duration_seconds_count", handler=path) == 0


FAILING = """
from potassium import Potassium

app = Potassium("failing", workers=["cpu"])


@app.handler("/broken", warmup={"n": 1})
def broken(cache, json_in):
    raise ValueError("no such layer")


if __name__ == "__main__":
    app.serve()
"""


def test_a_worker_whose_warm_up_fails_fails_the_start(tmp_path: Path) -> None:
    """With the handler's own error and its path; the process ends with a status."""
    app = tmp_path / "app.py"
    app.write_text(FAILING)
    ended = subprocess.run(
        [sys.executable, str(app)],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "POTASSIUM_PORT": str(free_port())},
    )
    assert ended.returncode > 0
    assert "ValueError: no such layer" in ended.stderr
    assert "warm-up of POST /broken" in ended.stderr


CALLING = """
import anyio.from_thread
from potassium import Potassium

app = Potassium("calling", workers=["cpu"])


@app.handler("/model")
def model(cache, json_in):
    return {}


@app.handler("/both", warmup={})
def both(cache, json_in):
    return anyio.from_thread.run(app.call, "/model", {})


if __name__ == "__main__":
    app.serve()
"""


def test_a_warm_up_that_calls_a_handler_fails_instead_of_waiting_forever(tmp_path: Path) -> None:
    """The front would not answer before its workers are ready."""
    app = tmp_path / "app.py"
    app.write_text(CALLING)
    ended = subprocess.run(
        [sys.executable, str(app)],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "POTASSIUM_PORT": str(free_port())},
    )
    assert ended.returncode > 0
    assert "/both calls another handler" in ended.stderr


SLOW = """
import logging, threading
from potassium import Potassium
from potassium.serving import loading

loading.FIRST = loading.PERIOD = 0.01
TOLD = threading.Event()
app = Potassium("slow")


def hear(record):
    if "warmed up" in record.getMessage():
        TOLD.set()
    return True


logging.getLogger("potassium").addFilter(hear)


@app.handler("/slow", warmup={})
def slow(cache, json_in):
    if not TOLD.wait(20):
        raise TimeoutError("nobody has told what takes so long")


if __name__ == "__main__":
    app.serve()
"""


@pytest.mark.parametrize(
    ("workers", "line"),
    [("0", "loading, 0 s so far; /slow is"), ("cpu", "loading on cpu, 0 s so far; /slow is")],
)
def test_a_long_warm_up_is_told_by_the_process_that_runs_it(
    start: Start, workers: str, line: str
) -> None:
    """With the handler; the front of workers leaves it to them."""
    log = start(SLOW, env={"POTASSIUM_WORKERS": workers}).log()
    assert f"{line} being warmed up" in re.sub(r"\d+ s so far", "0 s so far", log)
    assert ("loading, " in log) == (workers == "0")


WITHOUT = """
from potassium import Potassium

app = Potassium("without", workers=["cpu"])


@app.handler("/")
def handler(cache, json_in):
    return {}


if __name__ == "__main__":
    app.serve()
"""


def test_a_worker_without_warm_ups_has_no_such_phase(start: Start) -> None:
    """Nor has the front."""
    status = start(WITHOUT).status()
    (phases,) = status["startup"]["worker_phases"].values()
    assert "warmup" not in phases
    assert "init" in phases
    assert "warmup" not in status["startup"]["phases"]
