"""Context variables that cross from the front to a worker.

The front and its workers have imported the same modules, so that the same name stands for the same
variable. One that has no name, such as that of an instance, stays where it is.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextvars import Context, ContextVar
from functools import cache, reduce
from itertools import compress, repeat
from operator import is_, itemgetter
from pathlib import Path
from types import ModuleType
from typing import Any

import orjson

from potassium.workers.plain_data import packed, unpacked

__all__ = ["FrontVariables", "WorkerVariables", "variables_of_process"]

MAIN = "__main__"
OURS = "potassium."
MOST = 1024  # variables that are remembered; apps have a handful
UNKNOWN: Any = object()

Modules = Mapping[str, ModuleType]
Attributes = Sequence[tuple[str, Any]]
VALUE = itemgetter(1)


class FrontVariables:
    """Returns what the context of a call carries to a worker.

    The names of all variables are found in one search, when it is made. That takes a few tenths
    of a second where torch is imported, so the workers of an app share one. It searches again for
    a variable that it has not seen only after more modules were imported.

    Args:
        modules: those in which variables have their names.

    """

    def __init__(self, modules: Modules = sys.modules) -> None:
        self._modules = modules
        self._names: dict[ContextVar[Any], str | None] = {}
        self._searched = 0  # modules
        self._search()

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
        if len(self._modules) != self._searched or len(self._names) >= MOST:
            self._names.clear()
            self._search()
        return self._names.setdefault(variable, None)

    def _search(self) -> None:
        self._searched = len(self._modules)
        for variable, name in _named(self._modules):
            self._names.setdefault(variable, name)


@cache
def variables_of_process() -> FrontVariables:
    """Return those of this process, for all workers that it starts: the first one searches."""
    return FrontVariables()


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


def _named(modules: Modules) -> Iterator[tuple[ContextVar[Any], str]]:
    """Yield the variables that modules or their classes have as attributes, as ``module:name``.

    The best name of a variable comes first. Nothing in the modules is run.
    """
    main = modules.get(MAIN)
    found = [
        (key, module)
        for key, module in list(modules.items())  # multiprocessing has another name for main
        if isinstance(module, ModuleType) and module is not main and not key.startswith(OURS)
    ]
    if main is not None and (name := _name_of_main(main)) is not None:
        found.append((name, main))  # last: a worker may have imported only what main imports
    spaces = [(key, list(vars(module).items())) for key, module in found]
    for key, attributes in spaces:
        for path, variable in _variables_in(attributes):
            yield variable, f"{key}:{path}"
    searched = set()
    for key, attributes in spaces:
        for path, kind in _classes_in(attributes):
            if kind not in searched:  # most have been imported by several modules
                searched.add(kind)
                for inner, variable in _variables_in(list(vars(kind).items())):
                    yield variable, f"{key}:{path}.{inner}"


# A process may have a million attributes: those that are of no interest are passed over in C.


def _variables_in(attributes: Attributes) -> list[tuple[str, ContextVar[Any]]]:
    kinds = list(map(type, map(VALUE, attributes)))
    return list(compress(attributes, map(is_, kinds, repeat(ContextVar))))


def _classes_in(attributes: Attributes) -> list[tuple[str, type]]:
    kinds = list(map(type, map(VALUE, attributes)))
    metaclasses = {kind for kind in set(kinds) if issubclass(kind, type)}
    return list(compress(attributes, map(metaclasses.__contains__, kinds)))


def _name_of_main(module: ModuleType) -> str | None:
    """Return the name by which a worker imports the module that Python was told to run."""
    spec, file = module.__spec__, getattr(module, "__file__", None)
    if spec is not None:
        return spec.name  # python -m package.app
    return None if file is None else Path(file).stem
