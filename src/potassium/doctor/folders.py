"""Folders that should outlive a container: caches of models and of kernels, background jobs."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from potassium.doctor.machine import Machine
from potassium.project.checks.storage import nearest, why_not_writable
from potassium.project.finding import Finding, note, ok, problem

__all__ = ["caches", "jobs"]

GIB = 1024**3

FEW = 5 * GIB  # bytes that a cache of models may soon need
NONE = GIB // 2

LAYERS = ("overlay", "aufs")  # of a container's image, and what it has written itself
MEMORY = ("tmpfs", "ramfs")
REMOTE = ("nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "fuse", "glusterfs", "lustre", "virtiofs")


@dataclass(frozen=True)
class Cache:
    """A folder in which a library keeps what took long to get."""

    what: str
    path: Path
    variable: str
    package: str  # which uses it


def caches(machine: Machine) -> Iterable[Finding]:
    """Look at whether caches can be written, have room, and outlive the container."""
    used = [one for one in _caches(machine) if machine.version(one.package) is not None]
    faults = [fault for one in used for fault in _faults(machine, one)]
    yield from faults
    lost = [one for one in used if _goes(machine, one.path)]
    if lost:
        listed = ", ".join(f"{one.what} ({one.path})" for one in lost)
        moved = " ".join(f"-e {one.variable}=/cache/{one.variable.lower()}" for one in lost)
        yield note(
            "caches",
            f"Lost with the container, so the next one makes or downloads them again: {listed}.",
            f"docker run -v cache:/cache {moved}; in Kubernetes, a volume and the same variables",
        )
    elif used and not faults:
        yield ok("caches", "writable and persistent")


def _faults(machine: Machine, cache: Cache) -> Iterator[Finding]:
    folder = nearest(machine.at(cache.path))
    if error := why_not_writable(folder):
        yield problem(
            "caches",
            f"{cache.what} cannot be written to {cache.path}: {error}.",
            f"export {cache.variable}=/a/folder/that/can/be/written",
        )
    else:
        yield from _room(machine, cache.what, cache.path, folder)


def _caches(machine: Machine) -> Iterator[Cache]:
    """Yield the caches of libraries, where these keep them by default or as they were told."""
    environ, home = machine.environ, machine.home
    cache = Path(environ.get("XDG_CACHE_HOME") or home / ".cache")
    hub = Path(environ.get("HF_HOME") or cache / "huggingface")
    if environ.get("HF_HUB_OFFLINE", "0").lower() not in ("1", "true", "yes", "on"):
        models = Path(environ.get("HF_HUB_CACHE") or hub / "hub")
        yield Cache("models of Hugging Face", models, "HF_HOME", "huggingface_hub")
    torch = Path(environ.get("TORCH_HOME") or cache / "torch")
    yield Cache("models of torch.hub", torch, "TORCH_HOME", "torch")
    inductor = environ.get("TORCHINDUCTOR_CACHE_DIR")
    temporary = Path(environ.get("TMPDIR") or "/tmp")  # noqa: S108 - where torch has it
    compiled = Path(inductor or temporary / f"torchinductor_{machine.user}")
    yield Cache("what torch.compile makes", compiled, "TORCHINDUCTOR_CACHE_DIR", "torch")
    triton = environ.get("TRITON_CACHE_DIR")
    kernels = Path(triton or Path(environ.get("TRITON_HOME") or home) / ".triton" / "cache")
    yield Cache("kernels of Triton", kernels, "TRITON_CACHE_DIR", "triton")


def jobs(machine: Machine) -> Iterable[Finding]:
    """Look at whether background jobs can be written, have room, and outlive the container."""
    if machine.jobs is None:
        return
    path = machine.here / machine.jobs
    fix = "docker run -v jobs:/app/.potassium, or name a folder on a disk: Jobs(path=...)"
    folder = nearest(machine.at(path.parent))
    if error := why_not_writable(folder):
        yield problem("jobs", f"{path} cannot be written: {error}.", fix)
        return
    yield from _room(machine, "background jobs", path.parent, folder)
    mount = machine.mount_of(path)
    kind = mount.kind if mount else ""
    if _goes(machine, path):
        yield problem(
            "jobs", f"{path} is lost with the container, or with the machine's memory.", fix
        )
    elif kind.partition(".")[0] in REMOTE:
        yield note(
            "jobs",
            f"{path} is on a network file system ({kind}), where SQLite's locks may not hold and "
            "each job waits for the network.",
            "Name a folder on a local disk: Jobs(path=...)",
        )
    else:
        yield ok("jobs", f"{path} is writable and persistent")


def _goes(machine: Machine, path: Path) -> bool:
    """Return whether what is at ``path`` goes with the container, or with a restart."""
    mount = machine.mount_of(path)
    if mount is None:
        return False
    return mount.kind in MEMORY or (mount.kind in LAYERS and machine.is_container)


def _room(machine: Machine, what: str, path: Path, folder: Path) -> Iterator[Finding]:
    free = machine.disk(folder).free
    if free < FEW:
        say = problem if free < NONE else note
        yield say(
            "disk",
            f"{free / GIB:.1f} GiB are free for {what} ({path}).",
            f"See what takes the room: du -xh --max-depth=2 {path} | sort -h",
        )
