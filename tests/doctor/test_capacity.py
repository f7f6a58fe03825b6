"""What the process may use of the machine."""

from typing import Any

import pytest
from doctor.conftest import GIB, Build, seen

from potassium.doctor import capacity
from potassium.doctor.machine import Disk

V1 = "/sys/fs/cgroup"
MEMINFO = {"/proc/meminfo": "MemTotal: 67108864 kB\nMemFree: 1 kB\nMemAvailable: 33554432 kB\n"}


@pytest.mark.parametrize(
    ("files", "facts", "level", "why"),
    [
        ({}, {"cpus": 8, "cpus_allowed": 8}, "ok", "8 of 8 usable"),
        ({}, {"cpus": 8, "cpus_allowed": 2}, "ok", "2 of 8 usable"),
        ({}, {"cpus": 1, "cpus_allowed": 1}, "note", "There is only one"),
        (
            {"/proc/self/cgroup": "0::/\n", f"{V1}/cpu.max": "200000 100000\n"},
            {"cpus": 64, "cpus_allowed": 64},
            "problem",
            "2 of 64 CPUs may be used, but torch and numpy start a thread for each of 64",
        ),
        (  # a limit further up counts, too
            {"/proc/self/cgroup": "0::/a/b\n", f"{V1}/a/cpu.max": "150000 100000\n"},
            {"cpus": 64, "cpus_allowed": 64},
            "problem",
            "2 of 64 CPUs",
        ),
        (
            {f"{V1}/cpu/cpu.cfs_quota_us": "400000", f"{V1}/cpu/cpu.cfs_period_us": "100000"},
            {"cpus": 16, "cpus_allowed": 16},
            "problem",
            "4 of 16 CPUs",
        ),
        (
            {f"{V1}/cpu/cpu.cfs_quota_us": "-1", f"{V1}/cpu.max": "max 100000"},
            {"cpus": 16, "cpus_allowed": 16},
            "ok",
            "16 of 16",
        ),
        (
            {f"{V1}/cpu.max": "200000 100000"},
            {"cpus": 64, "cpus_allowed": 64, "environ": {"OMP_NUM_THREADS": "2"}},
            "ok",
            "2 of 64",
        ),
        (
            {},
            {"cpus": 4, "cpus_allowed": 4, "environ": {"OMP_NUM_THREADS": "64"}},
            "problem",
            "OMP_NUM_THREADS=64, but only 4 of 4 CPUs may be used",
        ),
    ],
)
def test_libraries_must_not_start_more_threads_than_there_are_cpus(
    machine: Build, files: dict[str, str], facts: dict[str, Any], level: str, why: str
) -> None:
    (found,) = capacity.cpus(machine(files=files, **facts))

    assert found.level == level
    assert found.why.startswith(why)
    if level == "problem":
        usable = why.split()[0 if "of" in why.split()[1] else 3]
        assert found.fix == f"export OMP_NUM_THREADS={usable}"


@pytest.mark.parametrize(
    ("files", "level", "why"),
    [
        (MEMINFO, "ok", "32.0 GiB of 64.0 GiB are free"),
        (
            {**MEMINFO, f"{V1}/memory.max": str(8 * GIB), f"{V1}/memory.current": str(GIB)},
            "ok",
            "7.0 GiB of 8.0 GiB are free; the machine has 64.0 GiB",
        ),
        (
            {**MEMINFO, f"{V1}/memory.max": str(8 * GIB), f"{V1}/memory.current": str(8 * GIB)},
            "problem",
            "0.0 GiB of 8.0 GiB are free; the machine has 64.0 GiB.",
        ),
        (
            {
                **MEMINFO,
                f"{V1}/memory/memory.limit_in_bytes": "9223372036854771712",
                f"{V1}/memory/memory.usage_in_bytes": "1",
            },
            "ok",
            "32.0 GiB of 64.0 GiB are free",
        ),
        (
            {
                **MEMINFO,
                f"{V1}/memory/memory.limit_in_bytes": str(4 * GIB),
                f"{V1}/memory/memory.usage_in_bytes": str(GIB),
            },
            "ok",
            "3.0 GiB of 4.0 GiB are free; the machine has 64.0 GiB",
        ),
    ],
)
def test_the_limit_of_the_container_counts(
    machine: Build, files: dict[str, str], level: str, why: str
) -> None:
    assert seen(capacity.memory(machine(files=files))) == [(level, why)]


def test_memory_that_the_system_does_not_show_is_left_out(machine: Build) -> None:
    assert seen(capacity.memory(machine(system="Darwin"))) == []


@pytest.mark.parametrize(("size", "level"), [(64 * 2**20, "note"), (None, "note"), (2 * GIB, "ok")])
def test_little_shared_memory_is_worth_a_word(machine: Build, size: int | None, level: str) -> None:
    disks = {} if size is None else {"/dev/shm": Disk(size, size)}  # noqa: S108 - of a fake

    assert [one[0] for one in seen(capacity.shared_memory(machine(disks=disks)))] == [level]
    assert seen(capacity.shared_memory(machine(disks=disks, system="Darwin"))) == []


@pytest.mark.parametrize(
    ("limits", "level"),
    [
        ((1024, 1024), "problem"),
        ((1024, 20_000), "note"),
        ((1024, 524_288), "ok"),  # the server raises the soft one itself
        ((1024, -1), "ok"),
    ],
)
def test_few_open_files_are_few_connections(
    machine: Build, limits: tuple[int, int], level: str
) -> None:
    (found,) = capacity.open_files(machine(open_files=limits))

    assert found.level == level
    assert (found.fix is None) == (level == "ok")
