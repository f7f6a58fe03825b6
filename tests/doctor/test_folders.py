"""Which folders outlive a container, and have room."""

from pathlib import Path
from typing import Any

import pytest
from doctor.conftest import GIB, Build, seen

from potassium.doctor import folders
from potassium.doctor.machine import Disk

ALL = {"huggingface_hub": "1.0", "torch": "2.13", "triton": "3.5"}
CONTAINER = {"/.dockerenv": ""}
LAYER = {"/": "overlay", "/proc": "proc"}


def test_caches_in_the_layer_of_a_container_are_lost(machine: Build) -> None:
    (found,) = folders.caches(machine(packages=ALL, files=CONTAINER, mounts=LAYER))

    assert found.level == "note"
    for lost in (
        "models of Hugging Face (/root/.cache/huggingface/hub)",
        "models of torch.hub (/root/.cache/torch)",
        "what torch.compile makes (/tmp/torchinductor_root)",
        "kernels of Triton (/root/.triton/cache)",
    ):
        assert lost in found.why
    assert "docker run -v cache:/cache -e HF_HOME=/cache/hf_home" in (found.fix or "")


@pytest.mark.parametrize(
    ("facts", "lost"),
    [
        ({"mounts": {"/": "ext4"}}, False),
        ({"mounts": LAYER, "files": {}}, False),  # not a container: a live system, perhaps
        ({"mounts": {**LAYER, "/root/.cache": "ext4"}}, False),
        ({"mounts": {"/root/.cache": "ext4", **LAYER}}, False),  # in any order
        ({"mounts": {**LAYER, "/cache": "ext4"}, "environ": {"HF_HOME": "/cache/hf"}}, False),
        ({"mounts": {**LAYER, "/cache": "ext4"}, "environ": {"HF_HUB_CACHE": "/cache"}}, False),
        ({"mounts": {**LAYER, "/c": "ext4"}, "environ": {"XDG_CACHE_HOME": "/c"}}, False),
        ({"mounts": LAYER, "environ": {"HF_HUB_OFFLINE": "1"}}, False),  # they are in the image
        ({"mounts": LAYER, "environ": {"HF_HOME": "/elsewhere"}}, True),
        ({"mounts": {"/": "ext4", "/root": "tmpfs"}}, True),
        ({"mounts": {"/": "ext4", "/root": "tmpfs"}, "files": {}}, True),
        ({"mounts": {**LAYER, "/root/my cache": "ext4"}, "home": Path("/root/my cache")}, False),
        ({"mounts": {}}, False),  # not Linux
    ],
)
def test_caches_on_volumes_stay(machine: Build, facts: dict[str, Any], lost: bool) -> None:
    facts.setdefault("files", CONTAINER)
    facts["mounts"] = {point.replace(" ", "\\040"): at for point, at in facts["mounts"].items()}
    one = machine(packages={"huggingface_hub": "1.0"}, **facts)

    assert [level for level, _ in seen(folders.caches(one)) if level != "ok"] == ["note"] * lost


def test_caches_of_libraries_that_are_not_installed_do_not_matter(machine: Build) -> None:
    assert seen(folders.caches(machine(files=CONTAINER, mounts=LAYER))) == []


def test_a_cache_that_cannot_be_written_is_a_problem(machine: Build, tmp_path: Path) -> None:
    (tmp_path / "root").write_text("no folder")

    (found,) = folders.caches(machine(packages={"huggingface_hub": "1"}))

    assert found.level == "problem"
    assert "cannot be written to /root/.cache/huggingface/hub: Not a directory" in found.why
    assert found.fix == "export HF_HOME=/a/folder/that/can/be/written"


@pytest.mark.parametrize(
    ("free", "levels"), [(10 * GIB, ["ok"]), (2 * GIB, ["note"]), (10, ["problem"])]
)
def test_little_room_is_found(machine: Build, free: int, levels: list[str]) -> None:
    one = machine(packages={"huggingface_hub": "1"}, disks={"/.": Disk(100 * GIB, free)})

    assert [level for level, _ in seen(folders.caches(one))] == levels


@pytest.mark.parametrize(
    ("mounts", "files", "level", "why"),
    [
        ({"/": "ext4"}, {}, "ok", "is writable and persistent"),
        (LAYER, CONTAINER, "problem", "/app/.potassium/jobs.db is lost with the container"),
        ({**LAYER, "/app/.potassium": "xfs"}, CONTAINER, "ok", "persistent"),
        ({"/": "ext4", "/app": "nfs4"}, {}, "note", "is on a network file system (nfs4)"),
        ({"/": "ext4", "/app": "fuse.sshfs"}, {}, "note", "(fuse.sshfs)"),
    ],
)
def test_background_jobs_should_stay(
    machine: Build, mounts: dict[str, str], files: dict[str, str], level: str, why: str
) -> None:
    one = machine(mounts=mounts, files=files, jobs=Path(".potassium/jobs.db"))

    ((found, text),) = seen(folders.jobs(one))

    assert found == level
    assert why in text


def test_an_app_without_jobs_has_none_to_lose(machine: Build) -> None:
    assert seen(folders.jobs(machine(mounts=LAYER, files=CONTAINER))) == []


def test_jobs_that_cannot_be_written_are_a_problem(machine: Build, tmp_path: Path) -> None:
    (tmp_path / "app").write_text("no folder")

    ((level, why),) = seen(folders.jobs(machine(jobs=Path("jobs.db"))))

    assert (level, why) == ("problem", "/app/jobs.db cannot be written: Not a directory.")
