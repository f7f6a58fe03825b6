"""Context variables that cross from the front to a worker.

The front and its workers have imported the same modules, so that the same name stands for the same
variable. One that has no name, such as that of an instance, stays where it is.
"""

import sys
from collections.abc import Iterator, Mapping
from contextvars import Context, ContextVar
from functools import reduce
from pathlib import Path
from types import ModuleType
from typing import Any

import orjson

from potassium.workers.plain_data import packed, unpacked

__all__ = ["FrontVariables", "WorkerVariables"]

MAIN = "__main__"
OURS = "potassium."
MOST = 1024  # variables that are remembered; apps have a handful
UNKNOWN: Any = object()

Modules = Mapping[str, ModuleType]


class FrontVariables:
    """Returns what the context of a call carries to a worker.

    Args:
        modules: those in which variables have their names.

    """

    def __init__(self, modules: Modules = sys.modules) -> None:
        self._modules = modules
        self._names: dict[ContextVar[Any], str | None] = {}

    def of(self, context: Context) -> dict[str, orjson.Fragment]:
        """Return the values of the variables that have a name and hold plain data, by that name."""
        known = self._names
        named = {}
        for variable in context:  # not items(), which takes twice as long
            name = known.get(variable, UNKNOWN)
            if name is UNKNOWN:
                name = self._learn(variable)
            if name is not None:
                named[name] = context[variable]
        return packed(named) if named else named

    def _learn(self, variable: ContextVar[Any]) -> str | None:
        if len(self._names) >= MOST:
            self._names.clear()
        name = self._names[variable] = next(_names_of(variable, self._modules), None)
        return name


class WorkerVariables:
    """Makes the contexts of calls that have arrived.

    Args:
        base: what all of them have in common.
        modules: those in which variables have their names.

    """

    def __init__(self, base: Context, modules: Modules = sys.modules) -> None:
        self._base = base
        self._modules = modules
        self._known: dict[str, ContextVar[Any]] = {}

    def context(self, values: Mapping[str, Any]) -> Context:
        """Return a new context, with the values that the front has sent."""
        context = self._base.copy()
        for name, value in values.items():
            variable = self._known.get(name) or self._find(name)
            if variable is not None:
                context.run(variable.set, unpacked(value))
        return context

    def _find(self, name: str) -> ContextVar[Any] | None:
        module, _, path = name.partition(":")
        try:
            found = reduce(getattr, path.split("."), self._modules[module])
        except (KeyError, AttributeError):  # the worker has not imported it
            return None
        if not isinstance(found, ContextVar):
            return None
        self._known[name] = found
        return found


def _names_of(variable: ContextVar[Any], modules: Modules) -> Iterator[str]:
    """Yield ``module:name`` for each module or class that has ``variable`` as an attribute."""
    main = modules.get(MAIN)
    found = [
        (key, module)
        for key, module in list(modules.items())  # multiprocessing has another name for main
        if isinstance(module, ModuleType) and module is not main and not key.startswith(OURS)
    ]
    if main is not None and (name := _name_of_main(main)) is not None:
        found.append((name, main))  # last: a worker may have imported only what main imports
    for classes in (False, True):
        for key, module in found:
            for path, value in _attributes(module, classes=classes):
                if value is variable:
                    yield f"{key}:{path}"


def _attributes(module: ModuleType, *, classes: bool) -> Iterator[tuple[str, Any]]:
    """Yield the names and values in a module, or in its classes. Nothing of them is run."""
    for name, value in list(vars(module).items()):
        if not classes:
            yield name, value
        elif issubclass(type(value), type):
            for inner, attribute in list(vars(value).items()):
                yield f"{name}.{inner}", attribute


def _name_of_main(module: ModuleType) -> str | None:
    """Return the name by which a worker imports the module that Python was told to run."""
    spec, file = module.__spec__, getattr(module, "__file__", None)
    if spec is not None:
        return spec.name  # python -m package.app
    return None if file is None else Path(file).stem
