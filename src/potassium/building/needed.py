"""Which files a start reads."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

__all__ = ["mapped_files", "needed_files"]


def needed_files(besides: Path) -> list[str]:
    """Return the files of this process's libraries and modules, but those below ``besides``.

    The libraries come first, the largest of them at the head, and then the modules in the order in
    which they were imported.
    """
    libraries = sorted(set(mapped_files()), key=lambda path: (-Path(path).stat().st_size, path))
    modules = filter(None, map(_file_of, list(sys.modules.values())))
    files = dict.fromkeys([*libraries, *modules])
    return [one for one in files if "\n" not in one and not Path(one).is_relative_to(besides)]


def _file_of(module: ModuleType) -> str | None:
    """Return the file that an import of ``module`` reads: its bytecode, if there is any."""
    spec = getattr(module, "__spec__", None)
    for file in (getattr(spec, "cached", None), getattr(spec, "origin", None)):
        if isinstance(file, str) and Path(file).is_file():
            return file
    return None


def mapped_files() -> Iterator[str]:
    """Yield the files that this process has mapped into its memory, some of them repeatedly."""
    try:
        lines = Path("/proc/self/maps").read_text(errors="surrogateescape").splitlines()
    except OSError:  # not Linux
        return
    for line in lines:
        path = line[line.find("/") :] if "/" in line else ""
        if Path(path).is_file():
            yield path
