"""Finds the global variables of the user's own modules that ``init`` changes."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from types import ModuleType, SimpleNamespace
from typing import Any

from potassium.app import Potassium
from potassium.errors import UsageError
from potassium.fastboot.root import Global
from potassium.project.files import own_modules

__all__ = ["OwnGlobals"]

PLAIN = (str, bytes, int, float, complex, bool, type(None))
MOST = 10_000  # objects that are looked into below one variable


class OwnGlobals:
    """The global variables of the user's own modules, as they are when this is made."""

    def __init__(self) -> None:
        modules = {name: module for name, (module, _) in own_modules().items()}
        self._classes = set(modules)
        self._values = {name: _variables(module) for name, module in modules.items()}
        self._forms = {
            (module, name): self._form(value)
            for module, values in self._values.items()
            for name, value in values.items()
        }

    def changed(self) -> list[Global]:
        """Return those that have changed since.

        Raises:
            UsageError: one has changed in a way that cannot be kept.

        """
        return [
            one
            for module, (loaded, _) in own_modules().items()
            if module in self._values
            for one in self._changed_in(module, _variables(loaded))
        ]

    def _changed_in(self, module: str, now: Mapping[str, Any]) -> Iterator[Global]:
        before = self._values[module]
        if removed := before.keys() - now.keys():
            raise UsageError(
                f"init deletes {module}.{min(removed)}, which a snapshot cannot do. Leave it."
            )
        for name, value in now.items():
            is_same = name in before and before[name] is value
            if is_same and self._form(value) == self._forms[module, name]:
                continue
            if not is_same and name in before and _is_equal(before[name], value):
                continue
            if is_same and not _can_be_filled(value):
                raise UsageError(
                    f"init changes {module}.{name}, a {type(value).__name__}, which a snapshot "
                    "cannot do: put that into the cache, or do it in @app.restored."
                )
            yield Global(module, name, value, is_same)

    def _form(self, value: Any) -> Any:
        """Return something that is equal as long as nothing below ``value`` changes."""
        return _Form(self._classes).of(value)


class _Form:
    """What a value looks like: the identities of what is in it, down to a depth of any size."""

    def __init__(self, modules: set[str]) -> None:
        self._modules = modules
        self._seen: set[int] = set()

    def of(self, value: Any) -> Any:
        if isinstance(value, PLAIN):
            return type(value), value
        if id(value) in self._seen or len(self._seen) > MOST:
            return id(value)
        self._seen.add(id(value))
        return id(value), [self.of(one) for one in self._inside(value)]

    def _inside(self, value: Any) -> Iterable[Any]:
        """Return what is in a value, if that is looked into."""
        if isinstance(value, list | tuple):
            return value
        if isinstance(value, set | frozenset):
            return sorted(value, key=id)
        inside = value if isinstance(value, dict) else vars(value) if self._is_own(value) else {}
        return list(chain.from_iterable(inside.items()))

    def _is_own(self, value: Any) -> bool:
        """Return whether to look into an object: one of the user's own classes, or such a class."""
        owner = value if isinstance(value, type) else type(value)
        if owner.__module__ not in self._modules and owner is not SimpleNamespace:
            return False
        return not isinstance(value, Potassium | ModuleType) and _has_attributes(value)


def _variables(module: ModuleType) -> dict[str, Any]:
    return {
        name: value
        for name, value in vars(module).items()
        if not (name.startswith("__") and name.endswith("__"))
    }


def _is_equal(one: Any, other: Any) -> bool:
    return isinstance(one, PLAIN) and type(one) is type(other) and bool(one == other)


def _can_be_filled(value: Any) -> bool:
    """Return whether the object that is there can be given another content."""
    if isinstance(value, dict | list | set):
        return True
    return _has_attributes(value) and not isinstance(value, type)


def _has_attributes(value: Any) -> bool:
    """Return whether an object has attributes of its own; some raise when they are asked."""
    try:
        return hasattr(value, "__dict__")
    except Exception:  # noqa: BLE001 - of the app's own class
        return False
