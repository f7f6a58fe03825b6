"""Which accelerators a process sees, and how another one sees one of them alone."""

import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.accelerators import GPUS, amd_files, ascend_files, intel_files, system

from potassium.accelerators.nvml import NvidiaGpu
from potassium.accelerators.system import System
from potassium.accelerators.visible import VARIABLES, hiding, own_device, usable, visible

ONE, DIVIDED = NvidiaGpu("GPU-aaaa1111"), NvidiaGpu("GPU-bbbb2222", ("MIG-d1", "MIG-d2"))
CUDA = "CUDA_VISIBLE_DEVICES"


def shown(one: System) -> dict[str, Mapping[str, str]]:
    """Return what the variables of a process say that sees only one, by the device."""
    return {each.device: each.environment for each in visible(one)}


@pytest.mark.parametrize(
    ("value", "values"),
    [
        (None, ["0", "1", "2"]),
        ("2,0", ["2", "0"]),
        (" 1 , 2 ", ["1", "2"]),
        ("GPU-cccc3333,GPU-aaaa1111", ["GPU-cccc3333", "GPU-aaaa1111"]),
        ("GPU-cc,gpu-AAAA", ["GPU-cc", "gpu-AAAA"]),  # beginnings are enough
        ("", []),
        ("-1", []),
        ("NoDevFiles", []),  # Slurm
        ("1,-1,2", ["1"]),  # from the first invalid one on, all are hidden
        ("0,7,1", ["0"]),
        ("0,GPU-ffff,1", ["0"]),
        ("GPU-", []),
        ("1,1", []),  # one that is named twice hides all
        ("1,GPU-bbbb2222", []),
    ],
)
def test_gpus_are_those_that_cuda_shows(
    tmp_path: Path, value: str | None, values: list[str]
) -> None:
    """cuda:0 is the first one of CUDA_VISIBLE_DEVICES, and is chosen by what stands there."""
    one = system(tmp_path, nvidia=GPUS, environ={} if value is None else {CUDA: value})

    assert shown(one) == {f"cuda:{at}": {CUDA: text} for at, text in enumerate(values)}
    assert {each.alone for each in visible(one)} <= {"cuda:0"}


@pytest.mark.parametrize(
    ("value", "values"),
    [
        (None, ["GPU-aaaa1111", "MIG-d1", "MIG-d2"]),
        ("MIG-d2,MIG-d1", ["MIG-d2", "MIG-d1"]),
        ("1", ["1"]),  # the first MIG device of that GPU
        ("0,MIG-d2", ["0", "MIG-d2"]),
        ("MIG-d3", []),
    ],
)
def test_a_divided_gpu_is_its_mig_devices(
    tmp_path: Path, value: str | None, values: list[str]
) -> None:
    """They are chosen by UUID, because numbers are ambiguous."""
    one = system(tmp_path, nvidia=[ONE, DIVIDED], environ={} if value is None else {CUDA: value})

    assert [each[CUDA] for each in shown(one).values()] == values


def test_a_gpu_divided_into_nothing_is_none(tmp_path: Path) -> None:
    one = system(tmp_path, nvidia=[NvidiaGpu("GPU-a", ()), ONE])

    assert shown(one) == {"cuda:0": {CUDA: "GPU-aaaa1111"}}


def test_mig_devices_that_nobody_lists_are_believed(tmp_path: Path) -> None:
    one = system(tmp_path, nvidia=[ONE], environ={CUDA: "MIG-x,MIG-GPU-aaaa1111/1/0"})

    assert [each[CUDA] for each in shown(one).values()] == ["MIG-x", "MIG-GPU-aaaa1111/1/0"]


def test_without_the_library_gpus_are_the_files_of_the_driver(tmp_path: Path) -> None:
    file = "/proc/driver/nvidia/gpus/0000:{}:00.0/information"
    texts = {file.format("3b"): "GPU UUID: \t GPU-00b\n", file.format("1a"): "GPU UUID: GPU-00a\n"}
    one = system(tmp_path, files=texts, environ={CUDA: "GPU-00b,0"})

    assert [each[CUDA] for each in shown(one).values()] == ["GPU-00b", "0"]
    assert shown(system(tmp_path / "other")) == {}


@pytest.mark.parametrize(
    ("environ", "values"),
    [
        ({}, ["0", "1", "2", "3"]),
        ({"HIP_VISIBLE_DEVICES": "3,1"}, ["3", "1"]),
        ({CUDA: "2"}, ["2"]),
        ({CUDA: "2", "HIP_VISIBLE_DEVICES": "1"}, ["1"]),
        ({"ROCR_VISIBLE_DEVICES": "2,3"}, ["0", "1"]),  # those that it leaves are counted anew
        ({"ROCR_VISIBLE_DEVICES": "2,3", "HIP_VISIBLE_DEVICES": "1"}, ["1"]),
        ({"ROCR_VISIBLE_DEVICES": "GPU-000000000000abc1"}, ["0"]),
        ({"HIP_VISIBLE_DEVICES": "-1"}, []),
    ],
)
def test_gpus_of_amd_are_those_that_rocm_shows(
    tmp_path: Path, environ: dict[str, str], values: list[str]
) -> None:
    """Both variables of a process are set: libraries complain if they differ."""
    one = system(tmp_path, files=amd_files(4), environ=environ, builds=["hip"])

    assert shown(one) == {
        f"cuda:{at}": {"HIP_VISIBLE_DEVICES": text, CUDA: text} for at, text in enumerate(values)
    }


def test_gpus_of_amd_that_a_container_has_not_are_none(tmp_path: Path) -> None:
    files = amd_files(3)
    del files["/dev/dri/renderD129"]
    one = system(tmp_path, files=files)

    assert list(shown(one)) == ["cuda:0", "cuda:1"]
    (tmp_path / "dev" / "kfd").unlink()
    assert shown(one) == {}


def test_npus_are_those_that_cann_shows(tmp_path: Path) -> None:
    variable = "ASCEND_RT_VISIBLE_DEVICES"
    one = system(tmp_path, files=ascend_files(4), environ={variable: "2,3"})

    assert shown(one) == {"npu:0": {variable: "2"}, "npu:1": {variable: "3"}}
    assert {each.alone for each in visible(one)} == {"npu:0"}


def test_gpus_of_intel_and_apple_are_found(tmp_path: Path) -> None:
    of_intel = system(tmp_path, files=intel_files(2), builds=["xpu"])
    of_apple = system(tmp_path / "other", platform="Darwin arm64")

    assert shown(of_intel) == {
        "xpu:0": {"ZE_AFFINITY_MASK": "0"},
        "xpu:1": {"ZE_AFFINITY_MASK": "1"},
    }
    assert shown(of_apple) == {"mps": {}}
    assert [each.alone for each in visible(of_apple)] == ["mps"]
    assert shown(system(tmp_path / "old", platform="Darwin x86_64")) == {}


@pytest.mark.parametrize(
    ("builds", "first"),
    [
        (["cuda"], {CUDA: "0"}),
        (["hip"], {"HIP_VISIBLE_DEVICES": "0", CUDA: "0"}),
        (["xpu"], {"ZE_AFFINITY_MASK": "0"}),
        ([], None),
        (None, {CUDA: "0"}),
    ],
)
def test_a_program_uses_what_its_torch_is_built_for(
    tmp_path: Path, builds: list[str] | None, first: dict[str, str] | None
) -> None:
    """The graphics of a processor are no accelerator for a torch that is built for others."""
    files = amd_files(2) | intel_files(1)
    one = system(tmp_path, nvidia=GPUS, files=files, builds=builds)

    found = usable(one)

    assert (dict(found[0].environment) if found else None) == first


def test_without_torch_the_graphics_of_intel_are_no_accelerator(tmp_path: Path) -> None:
    assert usable(system(tmp_path, files=intel_files(1))) == []


def test_npus_need_no_build_of_torch(tmp_path: Path) -> None:
    """It is torch-npu that adds them to a torch for CPUs."""
    one = system(tmp_path, files=ascend_files(1), builds=[])

    assert [each.device for each in usable(one)] == ["npu:0"]


def test_accelerators_are_hidden_by_the_variables_of_those_in_use(tmp_path: Path) -> None:
    files = amd_files(1) | ascend_files(1)

    assert hiding(system(tmp_path / "a", files=files, builds=["hip"])) == dict.fromkeys(
        ("HIP_VISIBLE_DEVICES", CUDA, "ASCEND_RT_VISIBLE_DEVICES"), "-1"
    )
    assert hiding(system(tmp_path / "b", nvidia=GPUS, builds=[])) == {}
    assert hiding(system(tmp_path / "c", files=intel_files(1), builds=["xpu"])) == {}


def test_a_hidden_accelerator_is_hidden(tmp_path: Path) -> None:
    """What hides them in another process is what hides them here."""
    files = amd_files(1) | ascend_files(1)
    environ = dict.fromkeys(VARIABLES, "-1")

    assert shown(system(tmp_path, nvidia=GPUS, files=files, environ=environ)) == {}


@pytest.mark.parametrize(
    ("modules", "device"),
    [
        ({"cuda": True, "xpu": True}, "cuda:0"),
        ({"cuda": False, "xpu": True}, "xpu:0"),
        ({"cuda": False, "npu": True}, "npu:0"),
        ({"cuda": False, "mps": True}, "mps"),
        ({"cuda": False, "mps": False}, "cpu"),
        ({}, "cpu"),
    ],
)
def test_a_torch_that_is_loaded_says_where_a_model_belongs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, modules: dict[str, bool], device: str
) -> None:
    """Whatever the machine has: the driver may be too old for it."""
    there: dict[str, Any] = {
        name: SimpleNamespace(is_available=lambda value=value: value)
        for name, value in modules.items()
    }
    backends = SimpleNamespace(**{"mps": there.pop("mps")} if "mps" in there else {})
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(**there, backends=backends))

    assert own_device(system(tmp_path, nvidia=GPUS, builds=["cuda"])) == device


def test_without_a_loaded_torch_the_machine_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "torch", raising=False)

    assert own_device(system(tmp_path, nvidia=GPUS, environ={CUDA: "2"})) == "cuda:0"
    assert own_device(system(tmp_path, nvidia=GPUS, environ={CUDA: ""})) == "cpu"
    assert own_device(system(tmp_path, nvidia=GPUS, builds=[])) == "cpu"
    assert own_device(system(tmp_path)) == "cpu"
    assert own_device(system(tmp_path, platform="Darwin arm64")) == "mps"
