"""Whether torch fits the GPU."""

import json
import subprocess
import sys
from typing import Any

import pytest
from doctor.conftest import Build

from potassium.doctor.machine import ProgramError
from potassium.doctor.torch_build import LOOK, torch_build
from potassium.project.finding import Finding

QUERY = "nvidia-smi --query-gpu"
H100 = "0, NVIDIA H100, 550.54.15, 81559, 4\n"
CPU: dict[str, Any] = {
    "version": "2.13.0+cpu",
    "cuda": None,
    "hip": None,
    "available": False,
    "told": [],
}
CUDA = {**CPU, "version": "2.13.0", "cuda": "13.0"}
GOOD = {
    **CUDA,
    "available": True,
    "arches": ["sm_80", "sm_90"],
    "devices": [["NVIDIA H100", 9, 0]],
}


def look(
    machine: Build,
    facts: dict[str, Any] | ProgramError,
    *,
    gpu: str | None = H100,
    driver_knows: str = "13.0",
    **options: Any,
) -> Finding:
    programs: dict[str, Any] = {
        sys.executable: facts
        if isinstance(facts, ProgramError)
        else f"something else\n{json.dumps({'mps': False, **facts})}\n",
    }
    if gpu is not None:
        programs |= {QUERY: gpu, "nvidia-smi -q": f"CUDA Version        : {driver_knows}\n"}
    (found,) = torch_build(machine(programs=programs, packages={"torch": "2.13"}, **options))
    return found


def test_what_it_asks_torch_is_what_torch_has() -> None:
    """The script runs with the torch that is installed here, in a process of its own."""
    ran = subprocess.run([sys.executable, "-c", LOOK], capture_output=True, text=True, check=True)

    facts = json.loads(ran.stdout.splitlines()[-1])
    assert facts["version"].startswith("2.")
    assert {"cuda", "hip", "available", "told", "mps"} <= set(facts)


def test_an_app_without_torch_has_no_problem(machine: Build) -> None:
    (found,) = torch_build(machine())

    assert (found.level, found.why) == ("ok", "not installed")


def test_a_build_that_can_use_the_gpu_is_right(machine: Build) -> None:
    found = look(machine, GOOD)

    assert (found.level, found.why) == ("ok", "2.13.0 for CUDA 13.0, and it can use the GPU")


def test_a_build_for_cpus_on_a_machine_with_a_gpu_is_a_problem(machine: Build) -> None:
    found = look(machine, CPU, driver_knows="12.4")

    assert found.level == "problem"
    assert found.why == "2.13.0+cpu is a build for CPUs only, but there is a GPU: NVIDIA H100."
    assert found.fix == (
        "pip install --force-reinstall torch==2.13.0 "
        "--index-url https://download.pytorch.org/whl/cu126"
    )


def test_a_build_for_another_maker_is_a_problem(machine: Build) -> None:
    found = look(machine, {**CPU, "version": "2.13.0+rocm7", "hip": "7.0"})

    assert found.why == "2.13.0+rocm7 is a build for AMD's GPUs, but there is a GPU: NVIDIA H100."


def test_a_build_that_is_newer_than_the_driver_is_a_problem(machine: Build) -> None:
    found = look(machine, CUDA, driver_knows="12.4")

    assert found.level == "problem"
    assert "is built for CUDA 13.0, but the driver knows only CUDA 12.4" in found.why
    assert "https://download.pytorch.org/whl/cu126" in (found.fix or "")


def test_a_build_that_is_newer_within_one_major_version_is_none(machine: Build) -> None:
    """CUDA 12.8 runs with a driver that knows 12.4; something else is wrong."""
    told = ["CUDA initialization: Unexpected error"]
    found = look(machine, {**CUDA, "cuda": "12.8", "told": told}, driver_knows="12.4")

    assert (
        found.why == "2.13.0 cannot use the GPU, NVIDIA H100: CUDA initialization: Unexpected error"
    )


@pytest.mark.parametrize(
    ("arches", "capability", "has_code"),
    [
        (["sm_80", "sm_90"], (9, 0), True),
        (["sm_80"], (8, 6), True),  # the same major version, and not newer
        (["sm_86"], (8, 0), False),
        (["sm_80"], (9, 0), False),
        (["sm_80", "compute_80"], (12, 0), True),  # compiled for it when it is loaded
        (["sm_90a"], (9, 0), True),
        (["sm_100a"], (10, 3), False),  # for exactly that one
        (["sm_100f"], (10, 3), True),
        (["sm_120"], (12, 0), True),
    ],
)
def test_a_gpu_that_the_build_has_no_code_for_is_a_problem(
    machine: Build, arches: list[str], capability: tuple[int, int], has_code: bool
) -> None:
    found = look(machine, {**GOOD, "arches": arches, "devices": [["GPU X", *capability]]})

    assert found.level == ("ok" if has_code else "problem")
    assert has_code or f"no code for GPU X (sm_{capability[0]}{capability[1]})" in found.why


def test_a_gpu_that_fails_at_the_first_operation_is_a_problem(machine: Build) -> None:
    found = look(machine, {**GOOD, "error": "RuntimeError: CUDA error: busy"})

    assert found.level == "problem"
    assert "sees the GPU, but cannot use it: RuntimeError: CUDA error: busy" in found.why


def test_a_build_for_gpus_where_there_is_none_is_worth_a_word(machine: Build) -> None:
    found = look(machine, CUDA, gpu=None)

    assert (found.level, found.fix is not None) == ("note", True)


def test_apple_s_gpu_is_named(machine: Build) -> None:
    found = look(machine, {**CPU, "mps": True}, gpu=None, system="Darwin")

    assert found.level == "ok"
    assert "MPS" in found.why


def test_a_gpu_that_is_hidden_is_not_reported_twice(machine: Build) -> None:
    programs = {
        sys.executable: json.dumps({"mps": False, **CUDA}),
        QUERY: H100,
        "nvidia-smi -q": "CUDA Version : 13.0",
    }
    hidden = {"CUDA_VISIBLE_DEVICES": ""}

    one = machine(programs=programs, packages={"torch": "2.13"}, environ=hidden)

    assert list(torch_build(one)) == []


@pytest.mark.parametrize(
    ("error", "why"),
    [
        ("Traceback...\nImportError: libcudart.so.13", "ImportError: libcudart.so.13"),
        ("python took longer than 120 s", "python took longer than 120 s"),
    ],
)
def test_a_torch_that_cannot_be_imported_is_a_problem(machine: Build, error: str, why: str) -> None:
    found = look(machine, ProgramError(error))

    assert (found.level, found.why) == ("problem", f"It cannot be imported: {why}")
