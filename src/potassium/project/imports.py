"""Imports the user's modules anew, all of them or none."""

import importlib
import importlib.util
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from potassium.project.files import own_modules
from potassium.project.module_source import ModuleSource
from potassium.project.target import Target

if TYPE_CHECKING:
    from potassium.app import Potassium

__all__ = ["affected_by", "import_anew", "sources_of"]

# The sources that were read last. Parsing takes far longer than reading.
SEEN: dict[tuple[str, Path], ModuleSource] = {}


def sources_of(modules: Mapping[str, tuple[ModuleType, Path]]) -> dict[str, ModuleSource]:
    """Read the sources of modules as they are on disk now; those that are gone are left out."""
    found = {}
    for name, (_, path) in modules.items():
        with suppress(FileNotFoundError, NotADirectoryError, IsADirectoryError):
            source, text = SEEN.get((name, path)), path.read_bytes()
            if source is None or source.text != text:
                source = SEEN[name, path] = ModuleSource(name, path, text)
            found[name] = source
    return found


def affected_by(changed: Collection[str], sources: Mapping[str, ModuleSource]) -> set[str]:
    """Return the modules that have to be imported anew if some of them have changed.

    Those are the changed ones, those that import them, and so on; and of a package, all modules,
    because they are attributes of it.

    Raises:
        SyntaxError: one of them is not Python.

    """
    affected: set[str] = set()
    rest = set(changed)
    while rest:
        affected |= rest
        rest = {
            name
            for name, source in sources.items()
            if source.imports & affected or any(name.startswith(f"{one}.") for one in affected)
        } - affected
    return affected


def import_anew(
    target: Target, names: Collection[str], *, check: "Callable[[Potassium], object]"
) -> "tuple[Potassium, dict[str, ModuleType]]":
    """Import the modules with these names anew, and the app; return it and the old modules.

    If any of it fails, or ``check`` raises, the old modules are those that are imported.

    Raises:
        BaseException: whatever a module or ``check`` raised.

    """
    with _removed(names) as old:
        for module in old.values():
            _forget(module)
        importlib.invalidate_caches()
        app = target.load()
        for name in _missing(old):
            importlib.import_module(name)
        check(app)
        return app, old


def _missing(old: Mapping[str, ModuleType]) -> list[str]:
    """Return the modules that were not imported again, and are imported in a function only.

    What only ``init`` has imported must be there although it does not run.
    """
    sources = sources_of(own_modules()).values()
    return [
        name
        for name, module in old.items()
        if name not in sys.modules
        and Path(module.__file__ or "").is_file()
        and any(name in source.imports for source in sources)
    ]


@contextmanager
def _removed(names: Collection[str]) -> Iterator[dict[str, ModuleType]]:
    """Remove modules while the context is open; put them back if it ends with an error."""
    before = own_modules()
    old = {name: sys.modules.pop(name) for name in names if name in sys.modules}
    for name, module in old.items():  # "from package import module" would still find it
        parent, _, last = name.rpartition(".")
        if getattr(sys.modules.get(parent), last, None) is module:
            delattr(sys.modules[parent], last)
    try:
        yield old
    except BaseException:
        for name in own_modules().keys() - before.keys():
            del sys.modules[name]
        for name, module in old.items():
            sys.modules[name] = module
            parent, _, last = name.rpartition(".")
            if parent in sys.modules:
                setattr(sys.modules[parent], last, module)
        raise


def _forget(module: ModuleType) -> None:
    """Delete the bytecode: Python takes it for new if a file was changed within a second."""
    if module.__file__ is not None:
        with suppress(OSError, NotImplementedError):
            Path(importlib.util.cache_from_source(module.__file__)).unlink()
