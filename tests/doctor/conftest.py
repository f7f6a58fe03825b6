"""Machines that do not exist."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from potassium.doctor.machine import Disk, Machine, ProgramError
from potassium.project.finding import Finding

GIB = 2**30
MOUNT = "36 35 98:0 / {} rw,noatime shared:1 - {} /dev/sda1 rw\n"

Build = Callable[..., Machine]


@pytest.fixture
def machine(tmp_path: Path) -> Build:
    """Return a function that makes a machine.

    ``files`` are what its files say, ``programs`` what its programs print, by their beginning;
    a ProgramError is raised. ``disks`` are the free bytes of folders. ``packages`` are installed.
    ``mounts`` are the kinds of file systems by folder.
    ``answer`` is the row that a database answers with, or why it does not.
    """

    def build(  # noqa: PLR0913 - what a machine has
        *,
        files: Mapping[str, str] | None = None,
        programs: Mapping[str, str | ProgramError] | None = None,
        disks: Mapping[str, Disk] | None = None,
        packages: Mapping[str, str] | None = None,
        mounts: Mapping[str, str] | None = None,
        environ: Mapping[str, str] | None = None,
        answer: Sequence[Any] | ProgramError | None = None,
        **facts: Any,
    ) -> Machine:
        files = dict(files or {})
        if mounts is not None:
            files["/proc/self/mountinfo"] = "".join(
                MOUNT.format(point, kind) for point, kind in mounts.items()
            )
        for name, text in files.items():
            path = tmp_path / name.lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

        def run(command: Sequence[str], timeout: float) -> str:
            assert timeout > 0
            for start, output in (programs or {}).items():
                if " ".join(command).startswith(start):
                    if isinstance(output, ProgramError):
                        raise output
                    return output
            raise ProgramError(f"{command[0]} is not installed")

        def disk(folder: Path) -> Disk:
            inside = f"/{folder.relative_to(tmp_path)}"
            if inside == "/dev/shm" and not (disks or {}).get(inside):  # noqa: S108 - of a fake
                raise FileNotFoundError(inside)
            return (disks or {}).get(inside, Disk(100 * GIB, 50 * GIB))

        return Machine(
            environ=environ or {},
            root=tmp_path,
            run=run,
            disk=disk,
            query=partial(_answer, answer),
            version=(packages or {}).get,
            **facts,
        )

    return build


def _answer(answer: Sequence[Any] | ProgramError | None, *asked: object) -> Sequence[Any]:
    if isinstance(answer, ProgramError):
        raise answer
    return answer or ()


def seen(findings: Iterable[Finding]) -> list[tuple[str, str]]:
    """Return the level and the reason of each finding."""
    return [(str(one.level), one.why) for one in findings]
