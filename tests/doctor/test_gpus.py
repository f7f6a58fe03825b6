"""What is found out of GPUs."""

from typing import Any

import pytest
from doctor.conftest import Build, seen

from potassium.doctor import gpus
from potassium.doctor.machine import ProgramError

QUERY = "nvidia-smi --query-gpu"
H100 = "0, NVIDIA H100 80GB HBM3, 550.54.15, 81559, {}\n"
UVM = {"/dev/nvidia-uvm": ""}


def test_a_gpu_is_named_with_its_memory_and_driver(machine: Build) -> None:
    found = gpus.nvidia(machine(programs={QUERY: H100.format(4)}, files=UVM))

    assert seen(found) == [("ok", "0: NVIDIA H100 80GB HBM3, 80 GiB, driver 550.54.15")]


def test_a_gpu_that_shares_the_memory_of_the_machine_has_none(machine: Build) -> None:
    one = machine(programs={QUERY: "0, NVIDIA GB10, 580.65, [N/A], [N/A]\n"}, files=UVM)

    assert seen(gpus.nvidia(one)) == [("ok", "0: NVIDIA GB10, driver 580.65")]
    assert seen(gpus.memory(one)) == []


@pytest.mark.parametrize(
    ("facts", "why", "fix"),
    [
        (
            {"programs": {QUERY: ProgramError("Driver/library version mismatch\nNVML 555")}},
            "the driver was updated while it was in use",
            "sudo reboot",
        ),
        (
            {
                "programs": {QUERY: ProgramError("Failed to initialize NVML: Unknown Error")},
                "files": {"/.dockerenv": ""},
            },
            "the container has lost its GPU",
            "Start the container anew",
        ),
        (
            {"programs": {QUERY: ProgramError("No devices were found")}},
            "nvidia-smi: No devices were found",
            "sudo dmesg",
        ),
        (
            {"files": {"/proc/driver/nvidia/version": "550"}},
            "nvidia-smi is missing",
            "NVIDIA_DRIVER_CAPABILITIES=compute,utility",
        ),
        (
            {
                "files": {
                    "/sys/bus/pci/devices/0000:01:00.0/vendor": "0x10de\n",
                    "/sys/bus/pci/devices/0000:01:00.0/class": "0x030200\n",
                }
            },
            "There is an NVIDIA card, but no driver for it",
            "docker run --gpus all",
        ),
        (
            {"programs": {QUERY: H100.format(4)}},
            "/dev/nvidia-uvm is missing",
            "sudo nvidia-modprobe -u",
        ),
    ],
)
def test_a_gpu_that_cannot_be_used_is_a_problem(
    machine: Build, facts: dict[str, Any], why: str, fix: str
) -> None:
    found = [one for one in gpus.nvidia(machine(**facts)) if one.level != "ok"]

    assert [one.level for one in found] == ["problem"]
    assert why in found[0].why
    assert fix in (found[0].fix or "")


def test_no_gpu_is_no_problem(machine: Build) -> None:
    audio = {
        "/sys/bus/pci/devices/0000:01:00.1/vendor": "0x10de",
        "/sys/bus/pci/devices/0000:01:00.1/class": "0x040300",
    }

    assert seen(gpus.nvidia(machine(files=audio))) == [("note", "No NVIDIA GPU was found.")]


@pytest.mark.parametrize(("used", "level"), [(4000, None), (41000, "note"), (78000, "problem")])
def test_a_gpu_that_others_use_is_found_with_who_does(
    machine: Build, used: int, level: str | None
) -> None:
    programs = {
        QUERY: H100.format(used),
        "nvidia-smi --id=0 --query-compute-apps": "123, /usr/bin/python3, 40000\n",
    }

    found = seen(gpus.memory(machine(programs=programs)))

    why = f"{used / 1024:.1f} of 79.6 GiB of GPU 0 are in use, by python3 (process 123)."
    assert found == ([(level, why)] if level else [])


def test_memory_in_use_is_found_even_if_nobody_says_by_whom(machine: Build) -> None:
    ((_, why),) = seen(gpus.memory(machine(programs={QUERY: H100.format(41000)})))

    assert why.endswith("are in use.")


@pytest.mark.parametrize(
    ("value", "level", "why"),
    [
        ("0", None, ""),
        ("GPU-8932f937", None, ""),
        ("", "note", "hides every GPU"),
        ("-1", "note", "hides every GPU"),
        ("0,3", "problem", "names 3, but the GPUs are 0"),
    ],
)
def test_hidden_gpus_are_found(machine: Build, value: str, level: str | None, why: str) -> None:
    one = machine(programs={QUERY: H100.format(4)}, environ={"CUDA_VISIBLE_DEVICES": value})

    found = seen(gpus.hidden(one))

    assert [level for level, _ in found] == ([level] if level else [])
    assert all(why in text for _, text in found)


def test_a_gpu_of_amd_needs_its_device(machine: Build) -> None:
    nodes = "/sys/class/kfd/kfd/topology/nodes"
    files = {
        f"{nodes}/0/properties": "cpu_cores_count 8\nsimd_count 0\n",
        f"{nodes}/1/properties": "cpu_cores_count 0\nsimd_count 440\n",
    }

    assert seen(gpus.amd(machine(files={**files, "/dev/kfd": ""}))) == [("ok", "1 from AMD")]


def test_a_gpu_of_amd_without_its_device_is_a_problem(machine: Build) -> None:
    files = {"/sys/class/kfd/kfd/topology/nodes/1/properties": "simd_count 440\n"}

    levels = [level for level, _ in seen(gpus.amd(machine(files=files)))]

    assert levels == ["ok", "problem"]
