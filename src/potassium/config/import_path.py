"""Where an app is imported from."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from potassium.errors import UsageError

__all__ = ["ImportPath", "instead"]

# Where an app is looked for, if nobody says where it is.
USUAL = ("app.py", "main.py", "server.py", "serve.py", "app/__init__.py", "app/main.py")


@dataclass(frozen=True)
class ImportPath:
    """Where an app is imported from.

    Attributes:
        folder: where its module is found; imports begin there.
        module: the full name of the module, such as ``"app"`` or ``"package.app"``.
        name: the app's name in it; None if it has only one.

    """

    folder: Path
    module: str
    name: str | None = None

    @classmethod
    def of(cls, text: str | None, here: Path) -> Self:
        """Return what ``text`` means in the folder ``here``.

        It is a file (``"app.py"``), a file and a name (``"app.py:app"``), a module
        (``"package.app"``), or a module and a name. None looks for a file by the usual names.

        Raises:
            UsageError: there is no such file.

        """
        if text is None:
            return cls.in_file(_usual_file(here))
        where, colon, name = text.partition(":")
        if colon and not all(part.isidentifier() for part in name.split(".")):
            raise UsageError(f"{text!r}: write FILE:NAME or MODULE:NAME, such as app.py:app.")
        path = here / where
        if path.is_dir() or path.suffix == ".py":
            if path.is_dir():
                path = _usual_file(path)
            return cls.in_file(path, name or None)
        if not all(part.isidentifier() for part in where.split(".")):
            raise UsageError(f"There is no file {where}, and no module can have this name.")
        return cls(here.resolve(), where, name or None)

    @classmethod
    def in_file(cls, path: Path, name: str | None = None) -> Self:
        """Return the app in a file; if that is part of a package, it is imported as such.

        Raises:
            UsageError: there is no such file, or no module can have its name.

        """
        path = path.resolve()
        if not path.is_file():
            raise UsageError(f"There is no file {path}.{instead(path.parent)}")
        parts = [] if path.stem == "__init__" else [path.stem]
        folder = path.parent
        while (folder / "__init__.py").is_file():
            parts.insert(0, folder.name)
            folder = folder.parent
        if not all(part.isidentifier() for part in parts):
            raise UsageError(
                f"{path.name} cannot be imported: no module is called {'.'.join(parts)}. "
                "Rename it, for example to app.py."
            )
        return cls(folder, ".".join(parts), name)

    def make_importable(self) -> None:
        """Let imports begin in the folder, as they do for ``python app.py``."""
        if str(self.folder) not in sys.path:
            sys.path.insert(0, str(self.folder))


def _usual_file(folder: Path) -> Path:
    for name in USUAL:
        if (folder / name).is_file():
            return folder / name
    raise UsageError(
        f"There is no app in {folder.resolve()}: looked for {', '.join(USUAL)}.{instead(folder)}"
    )


def instead(folder: Path) -> str:
    """Return a sentence that names the files in ``folder`` which seem to have an app, if any."""
    if not folder.is_dir():
        return ""
    names = [path.name for path in sorted(folder.glob("*.py")) if _mentions_us(path)]
    return f" Did you mean {' or '.join(names)}?" if names else ""


def _mentions_us(path: Path) -> bool:
    try:
        return "Potassium(" in path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
