"""Finds out where a worker imports an app from."""

import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from potassium.config.import_path import ImportPath
from potassium.errors import UsageError

__all__ = ["location_of"]

MAIN = "__main__"
NAME_IT = 'Workers(app="module:app") or Workers(app="app.py:app")'


def location_of(
    app: object,
    given: str | None = None,
    functions: Collection[Callable[..., Any]] = (),
    modules: Mapping[str, ModuleType] | None = None,
) -> ImportPath:
    """Return where a new process imports ``app`` from.

    If several modules have the app at their top level, it is the one in which all its functions
    are; if none is, the one whose import began first, because it has imported the others.

    Args:
        app: the app itself; it is recognised by its identity.
        given: what ``Workers(app=...)`` says; it outweighs what is found.
        functions: those of the app: its handlers and ``init``.
        modules: what is imported, by name; defaults to ``sys.modules``.

    Raises:
        UsageError: no module has the app at its top level, or what is given is something else.

    """
    modules = sys.modules if modules is None else modules
    if given is not None:
        return _checked(ImportPath.of(given, Path.cwd()), given, app, modules)
    found: dict[str, ImportPath] = {}
    for look in (_names, _names_in_objects):
        found = dict(_importable(app, modules, look))
        if found:
            break
    homes = {getattr(one, "__module__", None) for one in functions}
    if len(homes) == 1 and (home := homes.pop()) in found:
        return found[home]
    for one in found.values():
        return one
    raise UsageError(_why_not(app, modules))


def _importable(
    app: object,
    modules: Mapping[str, ModuleType],
    look: Callable[[object, ModuleType], Iterator[str]],
) -> Iterator[tuple[str, ImportPath]]:
    """Yield the modules that have the app and can be imported, with where from."""
    for key, module in list(modules.items()):
        if not isinstance(module, ModuleType):
            continue
        name = min(look(app, module), key=len, default=None)
        place = None if name is None else _place(key, module)
        if place is not None:
            yield key, ImportPath(*place, name)


def _names(app: object, module: ModuleType) -> Iterator[str]:
    """Yield the names that the app has in a module."""
    for name, value in list(vars(module).items()):
        if value is app and name.isidentifier():
            yield name


def _names_in_objects(app: object, module: ModuleType) -> Iterator[str]:
    """Yield the names that the app has as an attribute of something in a module."""
    for name, value in list(vars(module).items()):
        if isinstance(value, ModuleType | type) or not name.isidentifier():
            continue
        try:  # not vars(), which would ask an object that stands for another one
            attributes = object.__getattribute__(value, "__dict__")
        except AttributeError:
            continue
        for attribute, inner in list(attributes.items()):
            if inner is app and attribute.isidentifier():
                yield f"{name}.{attribute}"


def _place(key: str, module: ModuleType) -> tuple[Path, str] | None:
    """Return the folder and the name by which a module is imported; None if it cannot be."""
    if (file := getattr(module, "__file__", None)) is None:
        return None
    path = Path(file).absolute()
    if key == MAIN:
        path = path.resolve()  # as Python does for what it runs
        spec = module.__spec__
        if spec is None or spec.name == MAIN:  # python app.py: its own folder is on the path
            can_be = path.suffix == ".py" and "." not in path.stem and path.stem != MAIN
            return (path.parent, path.stem) if can_be else None
        key = spec.name  # python -m package.app
    parts = key.split(".")
    place = path.parent if path.stem == "__init__" else path.with_suffix("")
    if place.parts[-len(parts) :] != tuple(parts):
        return None  # it was imported by another name, or by other means
    return place.parents[len(parts) - 1], key


def _checked(
    place: ImportPath, given: str, app: object, modules: Mapping[str, ModuleType]
) -> ImportPath:
    """Return ``place`` unless what is imported from there already is not the app."""
    module, main = modules.get(place.module), modules.get(MAIN)
    if module is None or place.name is None or _file(module) == _file(main):
        return place  # nothing of it is known yet, or it was imported once more than it was run
    value: object = module
    for part in place.name.split("."):
        value = getattr(value, part, None)
    if value is not app:
        what = "nothing" if value is None else "not this app"
        raise UsageError(f"Workers(app={given!r}): there is {what} by this name.")
    return place


def _file(module: ModuleType | None) -> object:
    file = getattr(module, "__file__", None)
    return module if file is None else Path(file).resolve()


def _why_not(app: object, modules: Mapping[str, ModuleType]) -> str:
    main = modules.get(MAIN)
    if main is not None and any(True for _ in _names(app, main)):
        return (
            "Workers import the app from a file that ends in .py. A notebook, python -c and stdin "
            f"have none: write the app into one, and name it: {NAME_IT}."
        )
    return (
        "Workers import the app by its name, and no module has this one at its top level. Write "
        f'app = Potassium("name") there, not in a function; or name it: {NAME_IT}.'
    )
