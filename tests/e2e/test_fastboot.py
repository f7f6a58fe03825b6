"""``potassium build``, and starts with what it makes, by real processes."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from e2e.server import START_TIME, Server, free_port, serve, uvicorn, wait_until

SOURCE = """
    import os
    from potassium import Potassium
    import own

    app = Potassium("fast")

    class Model:
        def __init__(self, name, weights):
            self.name, self.weights = name, weights

    @app.init
    def init():
        print("init runs", flush=True)
        own.STATE["loaded"] = True
        with open("weights.txt") as file:
            weights = file.read()
        return {"model": Model(os.environ.get("MODEL_NAME", "base"), weights)}

    @app.restored
    def restored(cache):
        return {"restored": lambda: own.STATE["loaded"]}

    @app.handler("/ask")
    def ask(cache, item: dict):
        model = cache["model"]
        assert type(model) is Model
        return {"name": model.name, "weights": model.weights, "state": cache["restored"]()}

    if __name__ == "__main__":
        app.serve()
"""
ANSWER = {"name": "base", "weights": "w1", "state": True}
INIT = "init runs"
RESTORED = "init does not run: what it loaded on"


class Project:
    """A folder with an app, and what can be done there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "app.py").write_text(textwrap.dedent(SOURCE))
        (folder / "own.py").write_text("STATE = {}\n")
        (folder / "weights.txt").write_text("w1")
        (folder / "body.json").write_text("{}")
        self.snapshot = folder / ".potassium" / "fastboot" / "app.init"

    def edit(self, old: str, new: str, file: str = "app.py") -> None:
        text = (self.folder / file).read_text()
        assert old in text
        (self.folder / file).write_text(text.replace(old, new))

    def build(
        self, *arguments: str, umask: int = 0o022, **env: str
    ) -> "subprocess.CompletedProcess[str]":
        """Run ``potassium build``."""
        return subprocess.run(
            [sys.executable, "-m", "potassium", "build", *arguments],
            cwd=self.folder,
            env={**os.environ, **env},
            umask=umask,
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


@pytest.fixture
def built(project: Project) -> Project:
    """Return a project with a snapshot."""
    done = project.build()
    assert done.returncode == 0, done.stderr
    return project


Run = Callable[..., Server]


@pytest.fixture
def run(project: Project) -> Iterator[Run]:
    """Return a function that starts the app of the project, and returns the server."""
    with ExitStack() as stack:

        def run(*command: str, start_time: float = START_TIME, **env: str) -> Server:
            port = free_port()
            log = project.folder / f"{port}.log"
            words = [sys.executable, *(command or ("app.py",))]
            if command[:1] == ("uvicorn",):
                words = uvicorn("app:app", port)
            options: dict[str, Any] = {"cwd": project.folder, "env": env, "start_time": start_time}
            return stack.enter_context(serve(words, log, port=port, **options))

        yield run


def test_a_build_keeps_what_init_loads(project: Project) -> None:
    """And shows what that is, and what it gains."""
    done = project.build("app.py", "--call", "/ask=body.json")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count(INIT) == 1
    assert f"Kept in {project.snapshot}, and compared:" in done.stdout
    heads = [line.split()[0] for line in done.stdout.splitlines() if line]
    assert "objects.pkl" in heads
    assert [one for one in heads if one in {"START", "import", "init", "first", "all"}] == [
        *("START", "import", "init", "first", "all")
    ]
    assert sorted(path.name for path in project.snapshot.iterdir()) == [
        *("manifest.json", "needed.txt", "objects.pkl", "tensors.bin")
    ]
    assert [path.name for path in project.snapshot.parent.iterdir()] == ["app.init"]


def test_a_build_is_shown_as_json(project: Project) -> None:
    done = project.build("--json", "--call", "/ask=body.json")
    document = json.loads(done.stdout)
    assert document["snapshot"] == str(project.snapshot)
    assert document["objects_bytes"] == (project.snapshot / "objects.pkl").stat().st_size
    assert [one["name"] for one in document["seconds"]][-2:] == ["first /ask", "all"]
    assert document["answers_vary"] == []
    assert set(document["fits"]["sources"]) == {"app.py", "own.py"}
    assert set(document["fits"]["files"]) == {"weights.txt"}
    assert "MODEL_NAME" in document["fits"]["environment"]


@pytest.mark.parametrize(
    "command", [("app.py",), ("-m", "potassium", "serve"), ("uvicorn",), ("-m", "app")], ids=str
)
def test_a_start_restores_it(built: Project, run: Run, command: tuple[str, ...]) -> None:
    """Whatever serves the app; init does not run, and one line says so."""
    server = run(*command)
    assert server.post("/ask", {}).json() == ANSWER
    log = server.log()
    assert INIT not in log
    # uvicorn sets up no log but its own
    assert log.count(RESTORED) == int(command != ("uvicorn",))


def test_workers_restore_it(built: Project, run: Run) -> None:
    server = run(POTASSIUM_WORKERS="cpu,cpu")
    assert server.post("/ask", {}).json() == ANSWER
    assert INIT not in server.log()
    assert server.log().count(RESTORED) == 2


def test_with_reload_what_completes_the_cache_runs_anew(built: Project, run: Run) -> None:
    pytest.importorskip("watchfiles")
    server = run("-m", "potassium", "serve", "app.py", "--reload")
    assert server.post("/ask", {}).json() == ANSWER
    built.edit('lambda: own.STATE["loaded"]', 'lambda: "anew"')
    wait_until(lambda: server.post("/ask", {}).json()["state"] == "anew", "the new code")


def test_a_start_with_reload_restores_it_until_init_changes(built: Project, run: Run) -> None:
    """What init runs is a part of the app's source."""
    pytest.importorskip("watchfiles")
    server = run("-m", "potassium", "serve", "app.py", "--reload")
    assert server.post("/ask", {}).json() == ANSWER
    assert INIT not in server.log()
    built.edit('"base"', '"other"')
    wait_until(lambda: server.post("/ask", {}).json()["name"] == "other", "the new code")
    assert server.log().count("app.py has changed. To make it anew: potassium build app.py") == 1


CHANGES: dict[str, tuple[Callable[[Project], object], dict[str, str], str]] = {
    "the app": (lambda one: one.edit("fast", "faster"), {}, "app.py"),
    "another module": (lambda one: one.edit("{}", "{'n': 1}", "own.py"), {}, "own.py"),
    "a variable": (lambda one: None, {"MODEL_NAME": "large"}, "variable MODEL_NAME"),
    "a file": (lambda one: one.edit("w1", "w2!", "weights.txt"), {}, "weights.txt"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_init_runs_where_something_has_changed(built: Project, run: Run, name: str) -> None:
    """And one line says what, and what to type."""
    change, env, what = CHANGES[name]
    change(built)
    server = run(**env)
    log = server.log()
    assert log.count(INIT) == 1 + log.count("init runs: ")
    (line,) = [line for line in log.splitlines() if "is not used, because" in line]
    assert what in line
    assert line.endswith("To make it anew: potassium build app.py")
    answer = server.post("/ask", {}).json()
    assert answer["name"] == env.get("MODEL_NAME", "base")
    assert answer["weights"] == (built.folder / "weights.txt").read_text()


def test_a_snapshot_may_be_switched_off(built: Project, run: Run) -> None:
    server = run(POTASSIUM_FASTBOOT="off")
    assert INIT in server.log()
    assert "snapshot" not in server.log()


def test_a_snapshot_may_lie_elsewhere(built: Project, run: Run) -> None:
    built.snapshot.rename(built.folder / "elsewhere")
    assert INIT in run().log()
    assert INIT not in run(POTASSIUM_FASTBOOT=str(built.folder / "elsewhere")).log()


def test_a_build_puts_it_where_the_variable_says(project: Project, run: Run) -> None:
    elsewhere = str(project.folder / "elsewhere")
    assert project.build(POTASSIUM_FASTBOOT="elsewhere").returncode == 0
    assert not project.snapshot.exists()
    assert INIT not in run(POTASSIUM_FASTBOOT=elsewhere).log()


def start_fails(project: Project, **env: str) -> str:
    """Return the log of a start that fails."""
    done = subprocess.run(
        [sys.executable, "app.py"],
        cwd=project.folder,
        env={**os.environ, "POTASSIUM_PORT": "0", **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert INIT not in done.stdout
    return done.stdout


def test_a_snapshot_may_be_required(built: Project, run: Run) -> None:
    """Then the app does not start without it, and the reason is all that is said."""
    assert INIT not in run(POTASSIUM_FASTBOOT="require").log()
    log = start_fails(built, POTASSIUM_FASTBOOT="require", MODEL_NAME="large")
    assert "POTASSIUM_FASTBOOT=require, but the snapshot in " in log
    assert "MODEL_NAME, which init reads, has another value" in log
    assert "Traceback" not in log


def test_without_one_an_app_that_requires_it_does_not_start(project: Project) -> None:
    log = start_fails(project, POTASSIUM_FASTBOOT="require")
    assert f"there is no snapshot in {project.snapshot}. Make it: potassium build" in log


def test_an_app_without_a_snapshot_imports_nothing_of_it(project: Project) -> None:
    """It looks into a folder, and that is all."""
    code = """
        import asyncio, os, sys
        stats = []
        import app
        stat = os.stat
        def counted(path, *rest, **more):
            if ".potassium" in str(path):
                stats.append(path)
            return stat(path, *rest, **more)
        os.stat = counted
        async def main():
            async with app.app.lifespan():
                pass
        asyncio.run(main())
        print(len(stats), sorted(name for name in sys.modules if "fastboot" in name
                                 or "building" in name))
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, cwd=project.folder, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "1 []"


def test_what_cannot_be_kept_is_named(built: Project) -> None:
    """The old snapshot stays, and nothing else is left."""
    before = (built.snapshot / "manifest.json").read_bytes()
    built.edit('{"model": Model', '{"lock": [open("weights.txt")], "model": Model')
    done = built.build()
    assert done.returncode == 1
    assert 'A snapshot cannot keep cache["lock"][0]: a _io.TextIOWrapper (' in done.stderr
    assert "@app.restored" in done.stderr
    assert "Traceback" not in done.stderr
    assert (built.snapshot / "manifest.json").read_bytes() == before
    assert list(built.snapshot.parent.iterdir()) == [built.snapshot]


def test_an_init_that_fails_is_shown_from_its_own_lines(built: Project) -> None:
    built.edit("weights = file.read()", "weights = file.read() + 1")
    done = built.build()
    assert done.returncode == 1
    assert "TypeError" in done.stderr
    assert "weights = file.read() + 1" in done.stderr
    assert "Error: there is no new snapshot, see above." in done.stderr
    assert list(built.snapshot.parent.iterdir()) == [built.snapshot]


def test_an_answer_that_differs_is_a_reason(built: Project) -> None:
    """Here, something that is in no cache and no file of the user's own."""
    before = (built.snapshot / "manifest.json").read_bytes()
    built.edit("import own\n", "import own, wave\n")
    built.edit('own.STATE["loaded"] = True', "wave.loaded = True")
    built.edit('own.STATE["loaded"]', 'getattr(wave, "loaded", False)')
    done = built.build("--call", "/ask=body.json")
    assert done.returncode == 1
    assert "/ask answers differently once the snapshot is restored: " in done.stderr
    assert (built.snapshot / "manifest.json").read_bytes() == before
    assert list(built.snapshot.parent.iterdir()) == [built.snapshot]


def test_an_answer_that_varies_is_not_compared(project: Project) -> None:
    project.edit('"state": cache', '"state": os.urandom(3).hex() or cache')
    done = project.build("--call", "/ask=body.json")
    assert done.returncode == 0, done.stderr
    assert "Not compared, because it varies: what /ask answers." in done.stdout


def test_a_tensor_that_comes_back_otherwise_is_a_reason(project: Project) -> None:
    pytest.importorskip("numpy")
    project.edit("class Model:", "import numpy\nclass Model:")
    project.edit("self.weights = name, weights", "self.weights = name, numpy.zeros(3)")
    spoilt = (
        "def __setstate__(self, state):\n        self.__dict__.update(state); self.weights += 1"
    )
    project.edit("    def __init__", f"    {spoilt}\n\n    def __init__")
    done = project.build()
    assert done.returncode == 1
    assert "The bytes differ once they are restored: 24 bytes" in done.stderr


def test_a_build_that_is_killed_leaves_the_old_snapshot(built: Project, run: Run) -> None:
    """What it leaves behind is removed by the next build."""
    built.edit("with open", 'os.environ.get("WAITS") and open("waits", "w").close()\n    with open')
    built.edit(
        "weights = file.read()", 'weights = file.read()\n        while "WAITS" in os.environ: pass'
    )
    building = subprocess.Popen(
        [sys.executable, "-m", "potassium", "build"],
        cwd=built.folder,
        env={**os.environ, "WAITS": "1"},
        start_new_session=True,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until((built.folder / "waits").exists, "init")
    finally:
        os.killpg(building.pid, signal.SIGKILL)
        building.wait()
    assert len(list(built.snapshot.parent.iterdir())) == 2
    assert (built.snapshot / "manifest.json").exists()
    (built.folder / "waits").unlink()

    assert built.build().returncode == 0
    assert list(built.snapshot.parent.iterdir()) == [built.snapshot]
    assert RESTORED in run().log()


def test_a_build_begins_no_jobs_and_posts_no_results(project: Project) -> None:
    """Nobody wants those of a trial."""
    project.edit(
        '@app.handler("/ask")',
        '@app.handler("/ask")\n@app.result_webhook(url="http://127.0.0.1:9/")',
    )
    project.edit(
        "if __name__", '@app.background("/train")\ndef train(cache, item: dict): ...\n\nif __name__'
    )
    done = project.build("--call", "/ask=body.json")
    assert done.returncode == 0, done.stderr
    assert "127.0.0.1:9" not in done.stderr
    assert not (project.folder / ".potassium" / "jobs.db").exists()


def test_an_app_without_init_has_nothing_to_keep(project: Project) -> None:
    (project.folder / "app.py").write_text("from potassium import Potassium\napp = Potassium()\n")
    done = project.build()
    assert done.returncode == 1
    assert "app has no @app.init, so there is nothing to keep." in done.stderr


@pytest.mark.parametrize("call", ["ask=body.json", "/ask", "/ask=none.json", "none.json"])
def test_a_call_that_is_wrong_is_refused(project: Project, call: str) -> None:
    done = project.build("--call", call)
    assert done.returncode == 2
    assert "Write FILE, or PATH=FILE for a handler that is not at /, such as" in done.stderr


def test_a_secret_is_not_written(project: Project) -> None:
    project.edit('own.STATE["loaded"] =', 'os.environ["HF_TOKEN"] = "hf_1"; own.STATE["loaded"] =')
    done = project.build()
    assert done.returncode == 1
    assert "init sets the environment variable HF_TOKEN" in done.stderr


def test_modules_are_compiled_to_bytecode(project: Project) -> None:
    """Where nobody may write later, as in an image, they would be compiled at each start."""
    assert project.build(PYTHONDONTWRITEBYTECODE="1").returncode == 0
    names = {path.name.partition(".")[0] for path in (project.folder / "__pycache__").iterdir()}
    assert {"app", "own"} <= names


def test_a_build_is_trusted_where_new_files_belong_to_a_group(project: Project, run: Run) -> None:
    """Many systems let users have a group each, and an umask of 002."""
    project.edit(
        '    with open("weights.txt")',
        """    if cache := os.environ.get("TORCHINDUCTOR_CACHE_DIR"):
        os.makedirs(cache, exist_ok=True)
        open(f"{cache}/kernel.so", "w").close()
    with open("weights.txt")""",
    )
    done = project.build(umask=0o002)
    assert done.returncode == 0, done.stderr
    files = [path for path in project.snapshot.rglob("*") if path.is_file()]
    assert {path.name for path in files} == {
        *("kernel.so", "manifest.json", "needed.txt", "objects.pkl", "tensors.bin")
    }
    assert {path.stat().st_mode & 0o022 for path in files} == {0}
    server = run()
    assert server.post("/ask", {}).json() == ANSWER
    assert RESTORED in server.log()
