"""Notes which files are read."""

import os
import re
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from potassium.building.needed import mapped_files

__all__ = ["FilesRead"]

# What is there belongs to the system, is Python, or goes with a distribution, whose version counts.
SYSTEM = (
    *("/proc/", "/dev/", "/sys/", "/etc/", "/run/", "/lib/", "/lib64/", "/bin/"),
    *("/usr/lib/", "/usr/lib64/", "/usr/bin/", "/usr/share/"),
)
PYTHON = (
    *(f"{path}/bin/" for path in (sys.base_prefix, sys.prefix)),
    *(f"{path}/" for name, path in sysconfig.get_paths().items() if name.endswith(("lib", "libs"))),
)
NOT_COUNTED = ("/site-packages/", "/dist-packages/", "/.potassium/", "/.git/")
CODE = re.compile(r".*\.(pyc?|pyi|lock|so(\.[0-9.]+)?)")

# Libraries that are written in Rust open these, and Python hears nothing of it.
READ_UNHEARD = re.compile(r".*\.safetensors|tokenizer.*\.json|.*\.gguf")


class FilesRead:
    """The files that were opened to be read, by all threads, whether they were there or not.

    An audit hook cannot be removed, so this is for processes that end soon.
    """

    def __init__(self) -> None:
        self._paths: set[str] = set()
        self._is_over = False

    def install(self) -> None:
        """Begin to note files."""
        sys.addaudithook(self._hear)

    def stop(self) -> None:
        """Note nothing more."""
        self._is_over = True

    def paths(self, folders: Iterable[Path]) -> list[Path]:
        """Return the files, with those that are mapped, or lie beside others and may be read.

        Args:
            folders: more folders with files that may be read unheard.

        """
        found = {Path(path) for path in map(os.path.abspath, self._paths) if self._counts(path)}
        found |= {Path(path) for path in mapped_files() if self._counts(path)}
        for folder in {*folders, *(path.parent for path in found)}:
            found |= {path for path in _listed(folder) if READ_UNHEARD.fullmatch(path.name)}
        return sorted(path for path in found if not path.is_dir())

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event != "open" or self._is_over:
            return
        path, _, flags = arguments
        if isinstance(path, str | bytes) and not flags & (os.O_WRONLY | os.O_RDWR):
            self._paths.add(os.path.abspath(os.fsdecode(path)))  # noqa: PTH100 - much faster

    def _counts(self, path: str) -> bool:
        return not bool(
            CODE.fullmatch(path)
            or path.startswith((*SYSTEM, *PYTHON))
            or any(part in path for part in NOT_COUNTED)
            or path in sys.path
        )


def _listed(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []
