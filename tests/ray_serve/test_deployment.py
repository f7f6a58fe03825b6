"""What Ray Serve is told of an app, and what is refused before it is told anything."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from ray_serve.stand_in import Deployed, pretend

from potassium import Batch, Jobs, Limits, Potassium
from potassium.errors import UsageError
from potassium.project.target import Target
from potassium.ray import Autoscaling, build, deployment
from potassium.ray.jobs import check_jobs
from potassium.ray.options import ROOM, options_of
from potassium.ray.replica import Replica
from potassium.ray.sigterm import Sigterm

APP = """
from potassium import Jobs, Limits, Potassium

app = Potassium("sums", limits=Limits(queue_size=10, grace_period=7), jobs={jobs})


@app.handler("/add")
def add(cache, json_in: dict):
    return {{}}
"""


@pytest.fixture(autouse=True)
def _ray(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch)


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """The file of an app without jobs."""
    return write(tmp_path, "None")


def write(folder: Path, jobs: str) -> Path:
    file = folder / f"app_{folder.name.replace('-', '_')}.py"
    file.write_text(APP.format(jobs=jobs))
    return file


def test_the_queue_and_the_batches_stay_ours(app: Potassium) -> None:
    """Ray lets as many calls through as may wait and run, so that we refuse the next one."""
    app = Potassium("all", limits=Limits(queue_size=100))
    app.handler("/plain")(lambda cache, json_in: json_in)

    @app.handler("/batch", batch=Batch(max_size=16))
    def batch(cache: dict[str, object], items: list[dict[str, object]]) -> list[int]:
        return [0 for _ in items]

    @app.handler("/stream", streams=8)
    def stream(cache: dict[str, object], json_in: dict[str, object]) -> object:
        yield 0

    @app.handler("/lane", concurrency=5)
    async def lane(cache: dict[str, object], json_in: dict[str, object]) -> int:
        return 0

    told = options_of(app)
    admitted = 2 * 100 + 5  # the queue of the GPU thread, that of the lane, and what runs in it
    admitted += 2 + 2 * 16 + 2 + 2 * 8
    assert told["max_ongoing_requests"] == admitted + ROOM
    assert told["max_queued_requests"] == told["max_ongoing_requests"]
    assert told["backpressure_config"] == {"status_code": 503, "retry_after_s": 1}


def test_clients_that_follow_jobs_have_room(app: Potassium) -> None:
    """They do not take the places of calls."""
    app.handler("/add")(lambda cache, json_in: json_in)
    before = options_of(app)["max_ongoing_requests"]
    other = Potassium("jobs", jobs=Jobs(max_watchers=77))
    other.handler("/add")(lambda cache, json_in: json_in)
    assert options_of(other)["max_ongoing_requests"] == before + 77


def test_a_drain_is_never_cut_short(app: Potassium) -> None:
    """Ray kills a replica that stops later than the app needs, after its own 30 s of draining."""
    app = Potassium("slow", limits=Limits(grace_period=100))
    assert options_of(app)["graceful_shutdown_timeout_s"] >= 30 + 100 + 20


def test_a_deployment_is_told_of_the_app(written: Path) -> None:
    """It is imported for its limits, and named as itself; a replica is told where it is."""
    made = deployment(
        str(written), num_replicas=3, ray_actor_options={"num_gpus": 1}, health_check_period_s=9
    )
    assert isinstance(made, Deployed)
    assert made.made_of is Replica
    assert made.arguments[0] == str(written)
    assert made.options["name"] == "sums"
    assert made.options["num_replicas"] == 3
    assert made.options["ray_actor_options"] == {"num_gpus": 1}
    assert made.options["health_check_period_s"] == 9
    assert made.options["graceful_shutdown_timeout_s"] == 57


def test_a_config_file_says_the_same(written: Path) -> None:
    """``potassium.ray:build`` takes the arguments as a file has them."""
    scale = {"min": 2, "max": 5, "waiting": 6}
    made = build({"app": str(written), "autoscaling": scale})
    told = made.options["autoscaling_config"]
    assert (told["min_replicas"], told["max_replicas"]) == (2, 5)
    assert told["policy"]["policy_kwargs"] == {"waiting": 6}
    assert "num_replicas" not in made.options
    assert build({"app": str(written), "num_replicas": "2"}).options["num_replicas"] == 2


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({}, "needs an app"),
        ({"app": "APP", "replicas": 2}, r"deployment\(replicas=...\): no such option"),
        ({"app": "APP", "num_replicas": 0}, "num_replicas=0 must be"),
        ({"app": "APP", "num_replicas": "two"}, "num_replicas='two' must be"),
        ({"app": "APP", "autoscaling": {"most": 2}}, r"autoscaling\(most=...\): no such option"),
        ({"app": "APP", "autoscaling": {"max": 0}}, "max=0 must be"),
        ({"app": "APP", "autoscaling": {"min": 3, "max": 2}}, "min=3 must be at most max=2"),
        ({"app": "APP", "autoscaling": {"max": 2, "down_after": -1}}, "down_after=-1"),
        ({"app": "APP", "num_replicas": 2, "autoscaling": {"max": 2}}, "write one of them"),
        ({"app": "APP", "autoscaling_config": {}}, r"write autoscaling=Autoscaling\(min=1"),
        ({"app": "nowhere/app.py"}, "no file"),
    ],
)
def test_mistakes_are_named(written: Path, args: dict[str, object], message: str) -> None:
    """Before anything is deployed."""
    given = {key: str(written) if value == "APP" else value for key, value in args.items()}
    with pytest.raises(UsageError, match=message):
        build(given)


@pytest.mark.parametrize("jobs", ['Jobs(path="jobs.db")', "Jobs(path=None)"])
@pytest.mark.parametrize("how", [{"num_replicas": 2}, {"autoscaling": Autoscaling(max=2)}])
def test_replicas_do_not_keep_jobs_apart(tmp_path: Path, jobs: str, how: dict[str, object]) -> None:
    """Each would have jobs that the others do not know: the message has the line to write."""
    with pytest.raises(UsageError, match=r'jobs=Jobs\(url="postgresql://'):
        deployment(str(write(tmp_path, jobs)), **how)  # type: ignore[arg-type]


def test_one_replica_may_keep_a_file(app: Potassium, caplog: pytest.LogCaptureFixture) -> None:
    """But it is said what is lost."""
    app = Potassium("one", jobs=Jobs(path="jobs.db"))
    check_jobs(app, 1)
    assert "lost when Ray starts its replica on another node" in caplog.text


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, written: Path) -> None:
    monkeypatch.delitem(sys.modules, "ray.serve")
    monkeypatch.delitem(sys.modules, "ray")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr("potassium.ray.extra.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r'pip install "potassium\[ray\]"'):
        deployment(str(written))


def test_sigterm_is_heard_where_it_is_unpickled_in_a_replica(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not where an app is deployed from."""
    heard: list[Sigterm] = []

    def listen(sigterm: Sigterm) -> None:
        heard.append(sigterm)

    monkeypatch.setattr(Sigterm, "listen", listen)
    actor: list[str | None] = [None]

    class Context:
        def get_actor_id(self) -> str | None:
            return actor[0]

    monkeypatch.setattr(sys.modules["ray"], "get_runtime_context", Context, raising=False)
    pickled = pickle.dumps(Sigterm())
    pickle.loads(pickled)  # noqa: S301 - made here
    assert heard == []
    actor[0] = "an actor"
    pickle.loads(pickled)  # noqa: S301 - as above
    assert len(heard) == 1


def test_sigterm_does_not_end_a_process_that_listens() -> None:
    """The first one is noted, also if another thread began to listen; the second one ends it."""
    script = """
import os, signal, sys, threading, time
from potassium.ray.sigterm import Sigterm

sigterm = Sigterm()
thread = threading.Thread(target=sigterm.listen)
thread.start()
thread.join()
until = time.monotonic() + 10
while signal.getsignal(signal.SIGTERM) is signal.SIG_DFL and time.monotonic() < until:
    time.sleep(0.001)
os.kill(os.getpid(), signal.SIGTERM)
while not sigterm.received and time.monotonic() < until:
    time.sleep(0.001)
print("received", flush=True)
os.kill(os.getpid(), signal.SIGTERM)
time.sleep(10)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert done.stdout == b"received\n"
    assert done.returncode == 128 + 15


def test_apps_without_the_extra_import_nothing_of_ray(tmp_path: Path, written: Path) -> None:
    """Nor does the command, for its help."""
    code = (
        f"import runpy, sys; sys.argv = ['app']; runpy.run_path({str(written)!r}); "
        "import potassium.ray.local, potassium.cli.ray, potassium.ray.replica; "
        "assert 'ray' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "RAY": ""})


def test_a_target_says_where_its_folder_is(written: Path) -> None:
    """For those who know it better than a replica: the command, whose Ray is on this machine."""
    target = Target.in_file(written)
    assert deployment(target).arguments[0] is target
