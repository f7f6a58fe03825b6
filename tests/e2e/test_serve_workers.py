"""``potassium serve --workers``, and an app with workers behind other servers, as processes."""

import signal
import sys
from pathlib import Path

from e2e.server import serve, serve_source, wait_until

COMMAND = [sys.executable, "-m", "potassium", "serve"]
APP = """
import os
from potassium import Potassium, Workers

app = Potassium("served"{options})


@app.init
def init(device: str):
    return {{"device": device}}


@app.handler("/")
def handle(cache, json_in):
    return {{"device": cache["device"], "pid": os.getpid()}}
"""


def test_the_option_gives_an_app_workers_that_it_has_not(tmp_path: Path, free_port: int) -> None:
    """They import it from the file that is served; the log says once where they are."""
    (tmp_path / "app.py").write_text(APP.format(options=""))
    command = [*COMMAND, "app.py", "--workers", "cpu,cpu"]
    with serve(command, tmp_path / "log", port=free_port, cwd=tmp_path) as server:
        answer = server.post(json={}).json()
        assert answer["device"] == "cpu"
        shown = server.status()["workers"]
        assert [one["name"] for one in shown] == ["cpu #0", "cpu #1"]
        assert answer["pid"] in {one["pid"] for one in shown}
        startup = server.status()["startup"]
        assert set(startup["workers"]) == {"cpu #0", "cpu #1"}
        assert max(startup["workers"].values()) <= startup["phases"]["init"]
        assert server.stop() == 0
        assert server.log().count("2 workers: cpu #0, cpu #1") == 1
        assert "init " in server.log()
        assert "(cpu #0 " in server.log()


def test_the_option_takes_the_workers_of_an_app_away(tmp_path: Path, free_port: int) -> None:
    """With 0, the model is in the server's own process."""
    (tmp_path / "app.py").write_text(APP.format(options=', workers=["cpu", "cpu"]'))
    command = [*COMMAND, "app.py", "--workers", "0"]
    with serve(command, tmp_path / "log", port=free_port, cwd=tmp_path) as server:
        assert server.post(json={}).json()["pid"] == server.process.pid
        assert server.status()["workers"] == []
        assert server.stop() == 0


def test_with_a_reload_the_model_is_in_one_process(tmp_path: Path, free_port: int) -> None:
    """One line says so, also after a change."""
    source = APP.format(options=', workers=["cpu", "cpu"]')
    (tmp_path / "app.py").write_text(source)
    command = [*COMMAND, "app.py", "--reload"]
    with serve(command, tmp_path / "log", port=free_port, cwd=tmp_path) as server:
        assert server.post(json={}).json()["pid"] == server.process.pid
        (tmp_path / "app.py").write_text(source + "\n\nNEW = 1\n")
        wait_until(lambda: "reloaded app in" in server.log(), "the new code")
        assert server.post(json={}).json()["pid"] == server.process.pid
        assert server.stop() == 0
        assert server.log().count("there are no workers") == 1


def test_uvicorn_serves_an_app_with_workers(tmp_path: Path, free_port: int) -> None:
    """It enters the lifespan, and a signal ends both."""
    (tmp_path / "app.py").write_text(APP.format(options=', workers=["cpu", "cpu"]'))
    command = [sys.executable, "-m", "uvicorn", "app:app", "--port", str(free_port)]
    with serve(command, tmp_path / "log", port=free_port, cwd=tmp_path) as server:
        pid = server.post(json={}).json()["pid"]
        assert pid in {one["pid"] for one in server.status()["workers"]}
        server.stop(signal.SIGTERM)
        assert not Path(f"/proc/{pid}").exists()


PARENT = """
import os
from potassium import Potassium
from starlette.applications import Starlette
from starlette.routing import Mount

model = Potassium("model", workers=["cpu"])


@model.handler("/")
def handle(cache, json_in):
    return {"pid": os.getpid()}


parent = Starlette(routes=[Mount("/model", model)]LIFESPAN)

if __name__ == "__main__":
    import uvicorn

    uvicorn.run(parent, port=int(os.environ["POTASSIUM_PORT"]))
"""


def test_a_parent_app_with_the_lifespan_serves_one_with_workers(tmp_path: Path) -> None:
    """They find the app in the parent's module."""
    source = PARENT.replace("LIFESPAN", ", lifespan=model.lifespan")
    with serve_source(source, tmp_path, ready="/model/readyz") as server:
        pid = server.post("/model/", json={}).json()["pid"]
        assert pid != server.process.pid


def test_a_parent_app_without_it_starts_the_workers_with_the_first_request(tmp_path: Path) -> None:
    """Which waits for them, as for any init."""
    source = PARENT.replace("LIFESPAN", "")
    with serve_source(source, tmp_path, ready="/model/readyz") as server:
        pid = server.post("/model/", json={}).json()["pid"]
        assert pid != server.process.pid
        server.stop()
        assert not Path(f"/proc/{pid}").exists()
