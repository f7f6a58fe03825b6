"""Which of the loaded modules are the user's own."""

import sys
import sysconfig
from functools import cache
from pathlib import Path
from types import ModuleType

__all__ = ["is_own", "own_modules"]

OURS = Path(__file__).parents[1]

# Where others' modules are: the standard library and what is installed.
OTHERS = tuple(
    Path(path).resolve()
    for name, path in sysconfig.get_paths().items()
    if name in ("stdlib", "platstdlib", "purelib", "platlib")
)
INSTALLED = ("site-packages", "dist-packages")


def own_modules() -> dict[str, tuple[ModuleType, Path]]:
    """Return the loaded modules that the user has written, and their files, by name.

    Those are all that are neither installed nor part of Python, of Potassium, or of the command
    that runs.
    """
    found = {}
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__dict__", {}).get("__file__")  # a lazy module stays lazy
        if name != "__main__" and isinstance(file, str) and is_own(file):
            found[name] = (module, Path(file).resolve())
    return found


@cache
def is_own(file: str) -> bool:
    """Return whether a file is the user's own: neither installed nor part of Python or of us."""
    path = Path(file)
    if path.suffix != ".py" or any(part in INSTALLED for part in path.parts):
        return False
    path = path.resolve()
    return not any(path.is_relative_to(folder) for folder in (OURS, *OTHERS))
