"""What is pickled: the cache, and what else ``init`` has left behind."""

from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

__all__ = ["Global", "Root"]


@dataclass(frozen=True)
class Global:
    """A global variable of one of the user's own modules that ``init`` has changed.

    Attributes:
        module: the module.
        name: the variable's name in it.
        value: what it is bound to.
        is_same: whether that is the object that was there before, whose content has changed.

    """

    module: str
    name: str
    value: Any
    is_same: bool

    def put(self, module: ModuleType) -> None:
        """Let the variable be as ``init`` left it; whoever has imported an object shares it."""
        if not self.is_same:
            setattr(module, self.name, self.value)
            return
        there = getattr(module, self.name)
        if isinstance(there, dict | set):
            there.clear()
            there.update(self.value)
        elif isinstance(there, list):
            there[:] = self.value
        else:
            vars(there).clear()
            vars(there).update(vars(self.value))


@dataclass(frozen=True)
class Root:
    """What is pickled.

    Attributes:
        contents: the cache.
        optimized: the modules that were given to ``app.optimize``.
        globals: global variables that have changed.
        random: the states of torch's generators of random numbers, by device.

    """

    contents: dict[str, Any]
    optimized: list[Any]
    globals: list[Global] = field(default_factory=list)
    random: dict[str, Any] = field(default_factory=dict)

    def put(self, module_of: Callable[[str], ModuleType]) -> None:
        """Let all but the cache be as ``init`` left it."""
        for one in self.globals:
            one.put(module_of(one.module))
