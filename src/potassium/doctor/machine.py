"""What can be known of a machine: the one place from which probes take it."""

import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from potassium.config import Jobs

__all__ = ["Disk", "Machine", "Mount", "ProgramError", "this_machine"]

CONTAINERS = ("/.dockerenv", "/run/.containerenv")  # files that Docker and Podman make

DATABASE_TIME = 5  # seconds in which a database must let us in, and in which it must answer


class ProgramError(Exception):
    """A program is missing, has failed, or took too long; its text is what it wrote."""


@dataclass(frozen=True)
class Disk:
    """The size of a file system, in bytes."""

    total: int
    free: int


@dataclass(frozen=True)
class Mount:
    """Where a file system is, and of what kind, such as ``ext4``."""

    point: str
    kind: str


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What probes may know of a machine; tests give them other facts than those of this one.

    Attributes:
        environ: the environment variables.
        root: the folder that stands for ``/``.
        home: the folder of the user.
        here: the working directory.
        user: the user's name.
        system: ``Linux``, ``Darwin`` or ``Windows``.
        python: the version of Python.
        cpus: how many there are.
        cpus_allowed: how many of them this process may use.
        open_files: the soft and the hard limit on open files; -1 for none.
        now: the time of the system's clock, in seconds since 1970.
        installed_at: when Potassium was installed, in the same seconds.
        jobs: the file of background jobs; None if there is none.
        shared_jobs: where background jobs are kept in a database; None if they are not.
        run: runs a program for so many seconds at most, and returns its stdout; raises
            ProgramError.
        disk: returns the size of the file system of a folder; raises OSError.
        query: returns the first row of a query to the PostgreSQL database with a URL, which has a
            few seconds to answer; raises ProgramError.
        version: returns that of an installed distribution, or None.
        requirements: what Potassium requires, as its metadata has it.
        accelerators: returns the names of the accelerators that are visible, and of those that a
            program can use.

    """

    environ: Mapping[str, str]
    root: Path = Path("/")
    home: Path = Path("/root")
    here: Path = Path("/app")
    user: str = "root"
    system: str = "Linux"
    python: tuple[int, int, int] = (3, 12, 0)
    cpus: int = 4
    cpus_allowed: int = 4
    open_files: tuple[int, int] = (65536, 65536)
    now: float = 1.0
    installed_at: float = 0.0
    jobs: Path | None = None
    shared_jobs: Jobs | None = None
    run: Callable[[Sequence[str], float], str]
    disk: Callable[[Path], Disk]
    query: Callable[[str, str, Sequence[str]], Sequence[Any]]
    version: Callable[[str], str | None]
    requirements: Sequence[str] = ()
    accelerators: Callable[[], tuple[Sequence[str], Sequence[str]]] = lambda: ((), ())

    def at(self, path: str | Path) -> Path:
        """Return where an absolute path is."""
        return self.root / str(path).lstrip("/")

    def read(self, path: str | Path) -> str | None:
        """Return the text of a file, stripped; None if it cannot be read."""
        try:
            return self.at(path).read_text("utf-8", "replace").strip()
        except OSError:
            return None

    @property
    def is_container(self) -> bool:
        """Whether the process runs in a container."""
        return (
            any(self.at(one).exists() for one in CONTAINERS)
            or "KUBERNETES_SERVICE_HOST" in self.environ
        )

    def mount_of(self, path: Path) -> Mount | None:
        """Return the file system that a path is on, or would be; None if that is not known."""
        found: Mount | None = None
        # proc(5): 36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw
        for line in (self.read("/proc/self/mountinfo") or "").splitlines():
            fields, _, rest = line.partition(" - ")
            point = fields.split()[4].replace("\\040", " ")
            if path.is_relative_to(point) and (found is None or len(point) >= len(found.point)):
                found = Mount(point, rest.split()[0])
        return found


def this_machine(jobs: Path | None = None, shared_jobs: Jobs | None = None) -> Machine:
    """Return the machine that this runs on, for an app whose jobs are in a file or a database."""
    return Machine(
        environ=os.environ,
        home=Path("~").expanduser(),
        here=Path.cwd(),
        user=os.environ.get("USER") or str(os.getuid() if hasattr(os, "getuid") else ""),
        system=platform.system(),
        python=sys.version_info[:3],
        cpus=os.cpu_count() or 1,
        cpus_allowed=_cpus_allowed(),
        open_files=_open_files(),
        now=time.time(),
        installed_at=Path(__file__).stat().st_mtime,
        jobs=jobs,
        shared_jobs=shared_jobs,
        run=_run,
        disk=_disk,
        query=_query,
        version=_version,
        requirements=metadata.requires("potassium") or (),
        accelerators=_accelerators,
    )


def _accelerators() -> tuple[list[str], list[str]]:
    from potassium.accelerators.visible import usable, visible  # noqa: PLC0415 - where asked

    return [one.device for one in visible()], [one.device for one in usable()]


def _cpus_allowed() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _open_files() -> tuple[int, int]:
    try:
        import resource  # noqa: PLC0415 - not on Windows
    except ImportError:
        return -1, -1
    return resource.getrlimit(resource.RLIMIT_NOFILE)


def _run(command: Sequence[str], timeout: float) -> str:
    if (program := shutil.which(command[0])) is None:
        raise ProgramError(f"{command[0]} is not installed")
    try:
        done = subprocess.run(  # noqa: S603 - commands of ours
            [program, *command[1:]], capture_output=True, text=True, timeout=timeout, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise ProgramError(f"{command[0]} took longer than {timeout:g} s") from error
    except OSError as error:
        raise ProgramError(f"{command[0]} cannot be run: {error.strerror}") from error
    if done.returncode:
        raise ProgramError((done.stderr or done.stdout).strip() or f"status {done.returncode}")
    return done.stdout


def _disk(folder: Path) -> Disk:
    usage = shutil.disk_usage(folder)
    return Disk(usage.total, usage.free)


def _query(url: str, statement: str, values: Sequence[str]) -> Sequence[Any]:
    import psycopg  # noqa: PLC0415 - an extra

    limits = {
        "connect_timeout": DATABASE_TIME,
        "options": f"-c statement_timeout={DATABASE_TIME * 1000}",
    }
    try:
        with psycopg.connect(url, **limits) as connection:  # type: ignore[arg-type]  # any of libpq
            return connection.execute(statement.encode(), values).fetchone() or ()
    except psycopg.Error as error:
        raise ProgramError(str(error).strip()) from error


def _version(name: str) -> str | None:
    with suppress(metadata.PackageNotFoundError):
        return metadata.version(name)
    return None
