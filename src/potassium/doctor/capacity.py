"""What the process may use of the machine: CPUs, memory, shared memory, open files."""

from collections.abc import Iterable, Iterator
from math import ceil
from pathlib import Path, PurePosixPath

from potassium.doctor.machine import Machine
from potassium.project.finding import Finding, note, ok, problem

__all__ = ["cpus", "memory", "open_files", "shared_memory"]

GIB = 1024**3
CGROUPS = "/sys/fs/cgroup"

ENOUGH_FILES = 65_536
FEW_FILES = 4096

SHARED = GIB  # bytes that workers of torch's DataLoader or NCCL may need
LITTLE = GIB // 2


def cpus(machine: Machine) -> Iterable[Finding]:
    """Compare the CPUs that libraries see with those that the process may use."""
    quota = _quota(machine)
    usable = machine.cpus_allowed if quota is None else min(ceil(quota), machine.cpus_allowed)
    set_to = machine.environ.get("OMP_NUM_THREADS", "")
    threads = int(set_to) if set_to.isdecimal() else machine.cpus_allowed
    if threads > usable:
        why = (
            f"OMP_NUM_THREADS={set_to}, but only {usable} of {machine.cpus} CPUs may be used"
            if set_to.isdecimal()
            else f"{usable} of {machine.cpus} CPUs may be used, but torch and numpy start a thread "
            f"for each of {threads}"
        )
        yield problem(
            "CPUs",
            f"{why}: they get in each other's way, and everything on the CPU is slower.",
            f"export OMP_NUM_THREADS={usable}",
        )
    elif usable == 1:
        yield note("CPUs", "There is only one, for the model and everything around it.")
    else:
        yield ok("CPUs", f"{usable} of {machine.cpus} usable")


def _quota(machine: Machine) -> float | None:
    """Return how many CPUs the cgroup may use; None if there is no limit."""
    found = []
    for folder in _cgroups(machine):
        quota, _, period = (machine.read(folder / "cpu.max") or "max").partition(" ")
        if quota.isdecimal():
            found.append(int(quota) / int(period or 100_000))
    quota_v1 = machine.read(f"{CGROUPS}/cpu/cpu.cfs_quota_us")
    if quota_v1 is not None and quota_v1.isdecimal():  # -1 for none
        period_v1 = machine.read(f"{CGROUPS}/cpu/cpu.cfs_period_us") or "100000"
        found.append(int(quota_v1) / int(period_v1))
    return min(found, default=None)


def _cgroups(machine: Machine) -> Iterator[Path]:
    """Yield the folder of the process's cgroup and those above it (version 2)."""
    lines = (machine.read("/proc/self/cgroup") or "").splitlines()
    own = next((line.removeprefix("0::") for line in lines if line.startswith("0::")), "/")
    path = PurePosixPath(own)
    for one in (path, *path.parents):
        yield Path(f"{CGROUPS}/{one.as_posix().lstrip('/')}")


def memory(machine: Machine) -> Iterable[Finding]:
    """Look at how much memory there is, and how much the container may use of it."""
    lines = [line.split() for line in (machine.read("/proc/meminfo") or "").splitlines()]
    known = {line[0].rstrip(":"): int(line[1]) * 1024 for line in lines if len(line) > 1}
    if "MemTotal" not in known:  # not Linux
        return
    total, free = known["MemTotal"], known.get("MemAvailable", known["MemTotal"])
    limit, used = _memory_limit(machine)
    if limit is not None and limit < total:
        free = min(free, limit - used)
        shown = f"{_gib(free)} of {_gib(limit)} are free; the machine has {_gib(total)}"
    else:
        shown = f"{_gib(free)} of {_gib(total)} are free"
    if free < LITTLE:
        yield problem(
            "memory",
            f"{shown}.",
            "Stop what should not run, or raise the limit: docker run --memory=8g, or "
            "resources.limits.memory in the pod",
        )
    else:
        yield ok("memory", shown)


def _memory_limit(machine: Machine) -> tuple[int | None, int]:
    """Return the smallest limit on memory, if there is one, and what is used of it, in bytes."""
    places = [(one / "memory.max", one / "memory.current") for one in _cgroups(machine)]
    v1 = Path(CGROUPS) / "memory"
    places.append((v1 / "memory.limit_in_bytes", v1 / "memory.usage_in_bytes"))
    limits = []
    for most, now in places:
        text, used = machine.read(most) or "max", machine.read(now) or "0"
        if text.isdecimal():
            limits.append((int(text), int(used)))
    return min(limits, default=(None, 0))


def shared_memory(machine: Machine) -> Iterable[Finding]:
    """Look at /dev/shm, which Docker makes small."""
    if machine.system != "Linux":
        return
    try:
        total = machine.disk(machine.at("/dev/shm")).total  # noqa: S108 - to look at its size
    except OSError:
        yield note("shared memory", "There is no /dev/shm; DataLoader workers and NCCL need it.")
        return
    if total < SHARED:
        yield note(
            "shared memory",
            f"{total // 2**20} MiB in /dev/shm: DataLoader workers and NCCL end with a bus error "
            "if it is full. An app that uses neither needs none.",
            "docker run --shm-size=2g; in Kubernetes, an emptyDir with medium: Memory at /dev/shm",
        )
    else:
        yield ok("shared memory", f"{_gib(total)} in /dev/shm")


def open_files(machine: Machine) -> Iterable[Finding]:
    """Look at the limit on open files, which is one on connections too."""
    _, hard = machine.open_files
    most = float("inf") if hard < 0 else hard
    if most >= ENOUGH_FILES:
        yield ok("open files", "the limit is high enough")  # the server raises the soft one
        return
    say = problem if most < FEW_FILES else note
    yield say(
        "open files",
        f"The hard limit is {hard}, so the server accepts fewer than {hard} connections.",
        f"ulimit -Hn {ENOUGH_FILES}, as root; docker run --ulimit nofile={ENOUGH_FILES}; "
        f"LimitNOFILE={ENOUGH_FILES} in a systemd unit",
    )


def _gib(size: int) -> str:
    return f"{size / GIB:.1f} GiB"
