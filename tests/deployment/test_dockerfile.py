"""What the Dockerfile of an app says."""

import json
import subprocess
import sysconfig
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from dockerfile_parse import DockerfileParser

from potassium.deployment import ImageFacts, render_dockerfile, render_dockerignore

HADOLINT = Path(sysconfig.get_path("scripts")) / "hadolint"

KINDS = [
    ImageFacts(
        target="app.py",
        command=command,
        requirements=requirements,
        download=download,
        download_requirements=listed,
        accelerator=accelerator,  # type: ignore[arg-type]
        jobs=jobs,
        fastboot=accelerator == "cpu",
    )
    for requirements, (download, listed) in product(
        ["requirements.txt", "pyproject.toml", "uv.lock", None],
        [(None, None), ("download.py", None), ("download.py", "requirements-download.txt")],
    )
    for command, accelerator, jobs in [
        (("python", "app.py"), "cuda", PurePosixPath("/app/.potassium")),
        (("potassium", "serve", "app:app"), "cpu", None),
    ]
]
FULL = ImageFacts(
    target="app.py",
    command=("python", "app.py"),
    requirements="requirements.txt",
    download="download.py",
    jobs=PurePosixPath("/app/.potassium"),
    port=9000,
    python="3.13",
)

Stage = list[tuple[str, str]]
Parse = Callable[[ImageFacts], list[Stage]]


@pytest.fixture
def parse(tmp_path: Path) -> Parse:
    """Return a function that parses a Dockerfile: the instructions and values of each stage."""

    def parse(facts: ImageFacts) -> list[Stage]:
        parser = DockerfileParser(str(tmp_path))
        parser.content = render_dockerfile(facts)
        stages: list[Stage] = []
        for one in parser.structure:
            if one["instruction"] == "FROM":
                stages.append([])
            if one["instruction"] != "COMMENT":
                stages[-1].append((one["instruction"], one["value"]))
        return stages

    return parse


def values(stage: Stage, instruction: str) -> list[str]:
    return [value for name, value in stage if name == instruction]


def value(stage: Stage, instruction: str) -> str:
    (one,) = values(stage, instruction)
    return one


def environ(stage: Stage) -> dict[str, str]:
    return dict(part.split("=", 1) for value in values(stage, "ENV") for part in value.split())


@pytest.mark.parametrize("facts", KINDS, ids=str)
def test_hadolint_finds_nothing(facts: ImageFacts, tmp_path: Path) -> None:
    """Of any kind of app."""
    file = tmp_path / "Dockerfile"
    file.write_text(render_dockerfile(facts))
    done = subprocess.run([HADOLINT, file], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.parametrize("facts", KINDS, ids=str)
def test_requirements_depend_on_their_list_alone(facts: ImageFacts, parse: Parse) -> None:
    """A change in the code, or of the model, installs nothing again."""
    requirements = parse(facts)[0]
    listed = {
        None: [],
        "uv.lock": ["pyproject.toml uv.lock ./"],
    }.get(facts.requirements, [f"{facts.requirements} ./"])
    assert values(requirements, "COPY") == listed


def test_the_model_depends_on_its_script_alone(parse: Parse) -> None:
    """A change in the code, or of a requirement, downloads nothing again."""
    stages = parse(FULL)
    model = stages[1]
    assert value(model, "FROM") == "python:3.13-slim AS model"
    assert values(model, "COPY") == ["download.py ./"]


@pytest.mark.parametrize("facts", KINDS, ids=str)
def test_code_comes_last(facts: ImageFacts, parse: Parse) -> None:
    """Layers from other stages stand on their own (``--link``), and code goes on top of them."""
    copies = values(parse(facts)[-1], "COPY")
    assert copies.pop() == ". ./"
    assert all(one.startswith("--link --from=") for one in copies)
    assert len(copies) == 1 + bool(facts.download)


@pytest.mark.parametrize("facts", KINDS, ids=str)
def test_the_server_is_not_root(facts: ImageFacts, parse: Parse) -> None:
    """The user is a number, which Kubernetes can tell from root, and has an entry and a home."""
    stage = parse(facts)[-1]
    assert value(stage, "USER") == "10001:10001"
    after = stage[[name for name, _ in stage].index("USER") :]
    assert not {name for name, _ in after} & {"RUN", "COPY", "ADD"}
    assert "useradd --uid 10001 " in values(stage, "RUN")[0]
    assert environ(stage)["HOME"] == "/cache"


@pytest.mark.parametrize("facts", KINDS, ids=str)
def test_what_is_written_to_is_a_volume_of_the_user(facts: ImageFacts, parse: Parse) -> None:
    """So ``docker run --read-only`` works without more options."""
    stage = parse(facts)[-1]
    volumes = json.loads(value(stage, "VOLUME"))
    assert volumes == [str(one) for one in facts.writable]
    made = values(stage, "RUN")[0].partition("--group=10001 ")[2].split()
    assert {*made, "/tmp"} == {*volumes}  # noqa: S108 - in the image


def test_the_server_gets_signals_itself(parse: Parse) -> None:
    """No shell stands between it and SIGTERM."""
    stage = parse(FULL)[-1]
    assert value(stage, "STOPSIGNAL") == "SIGTERM"
    assert json.loads(value(stage, "CMD")) == ["python", "app.py"]
    assert values(stage, "ENTRYPOINT") == []
    assert "--stop-timeout 60 " in render_dockerfile(FULL)


def test_the_port_may_be_set_by_the_platform(parse: Parse) -> None:
    """Every variable for it outweighs the one in the image, or is that one."""
    stage = parse(FULL)[-1]
    assert value(stage, "EXPOSE") == "9000"
    assert environ(stage)["PORT"] == "9000"
    assert "POTASSIUM_PORT" not in environ(stage)
    assert environ(stage)["POTASSIUM_HOST"] == "0.0.0.0"
    assert environ(stage)["PYTHONUNBUFFERED"] == "1"


def test_a_model_in_the_image_is_not_looked_up_on_the_hub(parse: Parse) -> None:
    """Otherwise it is kept in the cache, where it survives a restart."""
    assert environ(parse(FULL)[-1]).items() >= {"HF_HOME": "/models", "HF_HUB_OFFLINE": "1"}.items()
    assert environ(parse(FULL)[1])["HF_HOME"] == "/models"
    plain = ImageFacts(target="app.py", command=("python", "app.py"))
    bare = environ(parse(plain)[-1])
    assert bare["HF_HOME"] == "/cache/huggingface"
    assert "HF_HUB_OFFLINE" not in bare


def test_an_image_for_cpus_has_the_small_torch(parse: Parse) -> None:
    cpu, cuda = (
        ImageFacts(target="app.py", command=("python", "app.py"), accelerator=one)
        for one in ("cpu", "cuda")
    )
    assert environ(parse(cpu)[0])["UV_TORCH_BACKEND"] == "cpu"
    assert "UV_TORCH_BACKEND" not in environ(parse(cuda)[0])
    assert environ(parse(cuda)[-1])["NVIDIA_DRIVER_CAPABILITIES"] == "compute,utility"
    assert "--gpus all" in render_dockerfile(cuda)
    assert "--gpus" not in render_dockerfile(cpu)


@pytest.mark.parametrize("facts", KINDS, ids=str)
def test_no_secret_gets_into_the_image(facts: ImageFacts, parse: Parse) -> None:
    """A token is there while the model is downloaded, and in no layer."""
    names: set[str] = set()
    for stage in parse(facts):
        assert values(stage, "ARG") == []
        names |= {*environ(stage)}
    assert not {one for one in names if "TOKEN" in one or "KEY" in one or "SECRET" in one}


def test_what_is_secret_or_made_anew_is_ignored() -> None:
    ignored: list[Any] = render_dockerignore().splitlines()
    assert {"**/.env*", "**/*.pem", ".git", ".venv", ".potassium", "**/__pycache__"} <= {*ignored}


def test_what_init_loads_is_a_layer_behind_the_code(parse: Parse) -> None:
    """It is made by root, so nobody may change it, where no volume hides it."""
    facts = replace(FULL, accelerator="cpu", fastboot=True)
    stage = parse(facts)[-1]
    names = [name for name, _ in stage]
    at = stage.index(("RUN", "potassium build app.py"))
    assert stage.index(("COPY", ". ./")) < at < names.index("VOLUME") < names.index("USER")
    assert environ(stage[:at])["POTASSIUM_FASTBOOT"] == "/fastboot"
    assert not any("/fastboot".startswith(str(one)) for one in facts.writable)


def test_without_being_asked_it_keeps_nothing(parse: Parse) -> None:
    stage = parse(FULL)[-1]
    assert "potassium build app.py" not in values(stage, "RUN")
    assert "POTASSIUM_FASTBOOT" not in environ(stage)
