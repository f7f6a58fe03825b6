"""``potassium ray``: an app on a Ray of its own."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner
from e2e.server import free_port
from ray_serve.cluster import ENVIRONMENT, needs_ray, until
from ray_serve.stand_in import Deployed, pretend

from potassium.cli.ray import command
from potassium.errors import UsageError
from potassium.project.target import Target
from potassium.ray.local import DRAINING, PRIVATE, Local, Proxy

APP = """
import os
import time

from potassium import Limits, Potassium

app = Potassium("own", limits=Limits(grace_period=10))


@app.handler("/work")
def work(cache, json_in: dict):
    time.sleep(json_in.get("seconds", 0))
    return {"pid": os.getpid()}
"""


@pytest.fixture
def app_file(tmp_path: Path) -> Path:
    file = tmp_path / "app.py"
    file.write_text(APP)
    return file


def test_the_help_has_examples() -> None:
    """And says what it needs, and where HAProxy listens."""
    told = CliRunner().invoke(command, ["--help"]).output
    assert "potassium ray app.py --replicas 2" in told
    assert 'pip install "potassium[ray]"' in told
    assert "haproxy listens on all addresses" in " ".join(told.split())
    assert "[default: haproxy]" in told


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], ("haproxy", 1, "127.0.0.1", 8000, None)),
        (["--replicas", "3", "--gpus", "0.5", "--port", "9"], ("haproxy", 3, "127.0.0.1", 9, 0.5)),
        (["--proxy", "python", "--host", "0.0.0.0"], ("python", 1, "0.0.0.0", 8000, None)),
    ],
)
def test_its_options_are_passed_on(
    app_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    expected: tuple[object, ...],
) -> None:
    seen: list[Local] = []

    def run(local: Local) -> None:
        seen.append(local)

    monkeypatch.setattr(Local, "run", run)
    monkeypatch.setattr("potassium.cli.ray.set_up_logging", lambda level: None)
    for name in ("POTASSIUM_HOST", "POTASSIUM_PORT", "AIP_HTTP_PORT", "PORT"):
        monkeypatch.delenv(name, raising=False)
    done = CliRunner().invoke(command, [str(app_file), *arguments])
    assert done.exit_code == 0, done.output
    (local,) = seen
    assert local.app == Target.in_file(app_file)
    assert (local.proxy, local.replicas, local.host, local.port, local.gpus) == expected


@pytest.mark.parametrize(
    ("gpus", "replicas", "has", "each"),
    [(None, 2, 0, 0), (None, 2, 2, 1), (0.5, 2, 1, 0.5), (0, 4, 1, 0)],
)
def test_replicas_have_a_gpu_each_if_there_are_any(
    app_file: Path, gpus: float | None, replicas: int, has: float, each: float
) -> None:
    local = Local(app=Target.in_file(app_file), replicas=replicas, gpus=gpus)
    assert local._gpus_of_each({"GPU": has, "CPU": 2}) == each


def test_too_few_gpus_are_said(app_file: Path) -> None:
    """Ray would wait for another one without an end."""
    local = Local(app=Target.in_file(app_file), replicas=2)
    with pytest.raises(UsageError, match=r"need 2, and this machine has 1\. With --gpus 0\.5"):
        local._gpus_of_each({"GPU": 1})


def test_without_ray_it_says_what_to_install(app_file: Path) -> None:
    """Before anything is started."""
    blocked = app_file.parent / "blocked"
    blocked.mkdir()
    code = (
        "import sys; sys.modules['ray'] = None; import importlib.util as util; "
        "found = util.find_spec; "
        "util.find_spec = lambda name, *rest: None if name == 'ray' else found(name, *rest); "
        "sys.argv = ['potassium', 'ray', 'app.py']; from potassium.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=app_file.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert 'pip install "potassium[ray]"' in done.stderr


@pytest.mark.parametrize("proxy", ["haproxy", "python"])
def test_ray_is_started_and_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, proxy: Proxy
) -> None:
    """The proxy is chosen before Ray reads its environment; the app is deleted before Ray stops."""
    file = tmp_path / f"own_{proxy}.py"  # other tests import an app.py of theirs
    file.write_text(APP)
    did: list[str] = []
    serve = pretend(monkeypatch)
    ray: Any = sys.modules["ray"]
    ray.is_initialized = lambda: False
    ray.init = lambda **_: did.append(f"init {os.environ['RAY_SERVE_ENABLE_HA_PROXY']}")
    ray.cluster_resources = dict
    ray.shutdown = lambda: did.append("ray.shutdown")
    serve.start = lambda http_options: did.append(f"start {http_options['port']}")
    serve.delete = lambda name: did.append(f"delete {name}")
    serve.shutdown = lambda: did.append("serve.shutdown")

    def run(made: Deployed, name: str) -> None:
        did.append(f"run {name} {made.options['num_replicas']}")
        signal.raise_signal(signal.SIGINT)

    serve.run = run
    for name in ("RAY_SERVE_ENABLE_HA_PROXY", *DRAINING, *PRIVATE):
        monkeypatch.setenv(name, "0")
    before = signal.getsignal(signal.SIGINT)
    Local(app=Target.in_file(file), replicas=2, proxy=proxy, port=9).run()
    assert did == [
        f"init {int(proxy == 'haproxy')}",
        "start 9",
        "run potassium 2",
        "delete potassium",
        "serve.shutdown",
        "ray.shutdown",
    ]
    assert signal.getsignal(signal.SIGINT) is before


@pytest.fixture(params=["haproxy", "python"])
def served(request: pytest.FixtureRequest, app_file: Path) -> Iterator[Any]:
    """The command, with two replicas."""
    needs_ray()
    port, temporary = free_port(), tempfile.mkdtemp(prefix="ray-")
    log_file = app_file.with_name("log")
    arguments = ["--replicas", "2", "--proxy", request.param, "--port", str(port)]
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "potassium", "ray", "app.py", *arguments],
            cwd=app_file.parent,
            stdout=log,
            stderr=log,
            env={**os.environ, **ENVIRONMENT, "RAY_TMPDIR": temporary},
        )
    try:
        until(lambda: "is on http" in log_file.read_text() or process.poll(), "it is ready")
        assert process.poll() is None, log_file.read_text()[-5000:]
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=20) as http:
            yield process, http
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(temporary, ignore_errors=True)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("sig", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_it_is_told_to_end(served: Any, sig: signal.Signals) -> None:
    """Then open calls have their answers, and no process is left."""
    process, http = served
    pids = {http.get("/_k/status").json()["replica"] for _ in range(40)}
    assert len(pids) >= 1
    assert len(http.get("/_k/replicas").json()["replicas"]) == 2
    answers: list[httpx.Response] = []

    def call() -> None:
        answers.append(http.post("/work", json={"seconds": 2}))

    calling = threading.Thread(target=call)
    calling.start()

    def runs() -> bool:
        shown = http.get("/_k/replicas").json()["replicas"]
        return any(one["open_calls"] for one in shown.values())

    until(runs, "the call runs")
    process.send_signal(sig)
    calling.join()
    assert answers[0].status_code == httpx.codes.OK
    assert process.wait(60) == 0
    with pytest.raises(ProcessLookupError):
        os.kill(answers[0].json()["pid"], 0)
