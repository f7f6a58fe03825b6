"""All probes together, and the machine that this runs on."""

import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
from doctor.conftest import Build, seen

from potassium.doctor.examination import PROBES, examine
from potassium.doctor.machine import Disk, Machine, ProgramError, this_machine
from potassium.project.finding import Finding, ok


def test_a_probe_that_fails_is_a_finding(machine: Build) -> None:
    def odd_probe(_: Machine) -> Iterable[Finding]:
        yield ok("odd", "so far")
        raise ValueError("a strange machine")

    found = examine(machine(), [odd_probe, lambda _: [ok("last", "it")]])

    assert seen(found) == [
        ("ok", "so far"),
        ("note", "It could not be looked at: ValueError: a strange machine"),
        ("ok", "it"),
    ]


def test_a_machine_of_which_nothing_is_known_has_no_accident(machine: Build) -> None:
    findings = list(examine(machine()))

    assert not [one for one in findings if "could not be looked at" in one.why]


def test_a_machine_that_says_nonsense_has_only_findings(machine: Build) -> None:
    """Each file and each program says something that no probe expects."""
    nonsense = "\x00 nonsense"
    files = dict.fromkeys(
        (
            "/proc/self/mountinfo",
            "/proc/self/cgroup",
            "/proc/meminfo",
            "/sys/fs/cgroup/cpu.max",
            "/sys/fs/cgroup/memory.max",
            "/sys/bus/pci",
        ),
        nonsense,
    )
    programs = {"nvidia-smi": nonsense, sys.executable: nonsense, "timedatectl": nonsense}
    packages = {"torch": nonsense, "huggingface_hub": nonsense, "numpy": nonsense}

    one = machine(files=files, programs=programs, packages=packages, requirements=[nonsense])

    assert len(list(examine(one))) >= len(PROBES) // 2


def test_this_machine_is_known() -> None:
    one = this_machine(Path("jobs.db"))

    assert one.python == sys.version_info[:3]
    assert 1 <= one.cpus_allowed <= one.cpus
    assert one.version("pytest") is not None
    assert one.version("no-such-distribution") is None
    assert any(line.startswith("uvicorn") for line in one.requirements)
    assert isinstance(one.disk(Path.cwd()), Disk)
    assert one.now > one.installed_at
    assert one.read("/no/such/file") is None


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_file_system_of_a_path_is_the_innermost_one() -> None:
    mount = this_machine().mount_of(Path("/proc/self"))

    assert mount is not None
    assert (mount.point, mount.kind) == ("/proc", "proc")


def test_a_program_is_run_for_a_limited_time() -> None:
    run = this_machine().run

    assert run((sys.executable, "-c", "print(1)"), 30) == "1\n"
    with pytest.raises(ProgramError, match=r"took longer than 0\.05 s"):
        run((sys.executable, "-c", "import time; time.sleep(60)"), 0.05)
    with pytest.raises(ProgramError, match=r"^oh$"):
        run((sys.executable, "-c", "import sys; sys.exit('oh')"), 30)
    with pytest.raises(ProgramError, match="no-such-program is not installed"):
        run(("no-such-program",), 1)
