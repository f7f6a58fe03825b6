"""The image of an app: built step by step as its Dockerfile says, and run as it says."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from e2e.server import Server, Start, free_port, serve, wait_until
from support.image import Image, build, need_overlays

from potassium.deployment import image_facts, render_dockerfile
from potassium.deployment.dockerfile import HEALTH_CHECK

ROOT = Path(__file__).parent.parent.parent

APP = """
import errno
import os
import tempfile
import time
from pathlib import Path

from potassium import Potassium, Request

app = Potassium("server")

@app.init
def init():
    return {"model": Path(os.environ["HF_HOME"], "model.txt").read_text()}

@app.handler
def handler(cache, json_in):
    time.sleep(json_in.get("seconds", 0))
    return {"model": cache["model"], "user": os.getuid(), "groups": os.getgroups()}

@app.handler("/write")
def write(cache, json_in):
    try:
        Path(json_in["path"]).write_text("x")
    except OSError as error:
        return {"error": errno.errorcode[error.errno]}
    return {"error": None}

@app.handler("/upload", body_size=64 << 20)
def upload(cache, request: Request):
    with request.open() as file:
        return {"size": file.seek(0, 2), "tmp": tempfile.gettempdir()}

@app.background("/job")
def job(cache, json_in):
    return json_in

if __name__ == "__main__":
    app.serve()
"""
DOWNLOAD = """
import os
from pathlib import Path

import huggingface_hub

Path(os.environ["HF_HOME"], "model.txt").write_text("the model")
"""


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    """Build an image, with the packages of the registry."""
    need_overlays()
    folder = tmp_path_factory.mktemp("image")
    for one in (folder, *folder.parents[:2]):
        one.chmod(0o755)
    wheels, context = folder / "wheels", folder / "context"
    pip = [sys.executable, "-m", "pip", "--quiet", "wheel", "--wheel-dir", str(wheels)]
    wanted = [f"{ROOT}[jobs]", "uv", "huggingface_hub>=1,<3"]
    subprocess.run([*pip, *wanted, "-c", str(ROOT / "constraints.txt")], check=True)
    context.mkdir()
    (context / "app.py").write_text(APP)
    (context / "download.py").write_text(DOWNLOAD)
    (context / "requirements.txt").write_text("potassium[jobs]\n")
    facts = image_facts(str(context / "app.py"), accelerator="cpu")
    config = folder / "uv.toml"
    config.write_text(f"no-index = true\nfind-links = [{json.dumps(str(wheels))}]\n")
    environ = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels), "UV_CONFIG_FILE": str(config)}
    return build(render_dockerfile(facts), context, folder / "stages", environ)


@pytest.fixture
def server(image: Image, tmp_path: Path) -> Iterator[Server]:
    """Run the image: as its user, read-only, with empty volumes."""
    port = free_port()
    command = image.start(json.loads(image.said["CMD"]), {"PORT": str(port)}, tmp_path / "volumes")
    with serve(command, tmp_path / "server.log", port=port) as running:
        yield running


@pytest.mark.timeout(300)  # the image is built for the first one
def test_the_image_serves_the_model_as_a_user_without_rights(server: Server) -> None:
    """The model was downloaded when the image was built."""
    answer = server.post("/", {}).json()
    assert answer == {"model": "the model", "user": 10001, "groups": []}


@pytest.mark.timeout(300)
def test_only_the_volumes_can_be_written_to(server: Server, image: Image) -> None:
    """Not the code, the model, the packages, or anything of the system."""
    for path in ("/app/x", "/models/x", "/venv/x", "/etc/x", "/srv/x", "/usr/local/x"):
        assert server.post("/write", {"path": path}).json()["error"] in {"EROFS", "EACCES"}, path
    for folder in json.loads(image.said["VOLUME"]):
        assert server.post("/write", {"path": f"{folder}/x"}).json() == {"error": None}


@pytest.mark.timeout(300)
def test_jobs_and_large_bodies_are_in_the_volumes(server: Server, tmp_path: Path) -> None:
    """Where the paths of the app, which know nothing of the image, lead to."""
    ended = server.post("/job", {"a": 1}, headers={"Prefer": "wait=5"})
    assert ended.json() == {"a": 1}
    assert (tmp_path / "volumes" / "0" / "jobs.db").is_file()
    large = server.post("/upload", content=b"x" * (32 << 20)).json()
    assert large == {"size": 32 << 20, "tmp": "/tmp"}  # noqa: S108 - a volume


@pytest.mark.timeout(300)
def test_the_health_check_works_inside(server: Server, image: Image, tmp_path: Path) -> None:
    """With what the image has."""
    argv = json.loads(image.said["HEALTHCHECK"].partition(" CMD ")[2])

    def status(port: int) -> int:
        command = image.start(argv, {"PORT": str(port)}, tmp_path / "volumes")
        return subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode

    assert status(server.port) == 0
    assert status(free_port()) == 1


@pytest.mark.timeout(300)
def test_the_image_drains(server: Server, pool: ThreadPoolExecutor) -> None:
    """SIGTERM reaches the server itself."""
    call = pool.submit(server.post, "/", {"seconds": 1})
    wait_until(lambda: server.status()["running"], "the call runs")
    assert server.stop(signal.SIGTERM) == 0
    assert call.result().status_code == 200


@pytest.mark.timeout(300)
def test_the_command_serves_inside(image: Image, tmp_path: Path) -> None:
    """For an app that does not serve itself."""
    port = free_port()
    argv = image_facts(f"{image.folder.parents[1] / 'context' / 'app.py'}:app").command
    command = image.start(argv, {"PORT": str(port)}, tmp_path / "volumes")
    assert argv == ("potassium", "serve", "app.py:app")
    with serve(command, tmp_path / "server.log", port=port) as running:
        assert running.post("/", {}).json()["model"] == "the model"
        assert running.stop(signal.SIGTERM) == 0


HANGS = """
import time

from potassium import Limits, Potassium

app = Potassium("server", limits=Limits(hang_timeout=0.1, grace_period=30))

@app.handler
def handler(cache, json_in):
    time.sleep(60)

"""


def health(port: int, **environ: str) -> int:
    """Return the exit status of the health check."""
    command = [sys.executable, "-IS", "-c", HEALTH_CHECK]
    done = subprocess.run(command, env={"PORT": str(port), **environ}, stderr=-1, check=False)
    return done.returncode


def test_a_server_that_lives_is_healthy(start: Start) -> None:
    """Whatever variable its port comes from, and whatever proxy the environment names."""
    server = start(APP.replace('Path(os.environ["HF_HOME"], "model.txt").read_text()', "1"))
    proxy = f"http://127.0.0.1:{free_port()}"
    assert health(server.port, http_proxy=proxy, HTTP_PROXY=proxy) == 0
    assert health(free_port(), POTASSIUM_PORT=str(server.port)) == 0
    assert health(free_port(), AIP_HTTP_PORT=str(server.port)) == 0


def test_a_server_that_is_not_there_is_not_healthy(free_port: int) -> None:
    assert health(free_port) == 1


def test_a_server_that_has_failed_is_not_healthy(start: Start, pool: ThreadPoolExecutor) -> None:
    """It answers, and with 503."""
    server = start(HANGS, target="app")  # which does not end when it has failed
    assert health(server.port) == 0
    pool.submit(server.post, "/", {})
    wait_until(lambda: server.get("/healthz").status_code == 503, "the server has failed")
    assert health(server.port) == 1
