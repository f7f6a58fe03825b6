"""The model that stays loaded, and the code that has loaded it."""

import ast
import functools
import inspect
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

from potassium.project.module_source import ModuleSource
from potassium.project.reached import Reached, reached_from
from potassium.serving.composition import parts_of

if TYPE_CHECKING:
    from potassium.app import Potassium

__all__ = ["LoadedModel", "init_of"]


@dataclass(frozen=True)
class LoadedModel:
    """What ``init`` has loaded.

    Attributes:
        reached: the source of ``init``, and of what it runs in the user's own files.
        contents: the cache.
        optimized: the modules that were given to ``app.optimize``.

    """

    reached: Reached
    contents: dict[str, Any]
    optimized: list[Any]

    @classmethod
    def of(cls, app: "Potassium", reached: Reached) -> "LoadedModel":
        """Return what an app that is ready has loaded."""
        return cls(reached, app.get_cache(), list(app.optimized))

    def give(self, app: "Potassium", old: Mapping[str, ModuleType]) -> None:
        """Let ``app`` start with this instead of running its ``init``.

        Global variables that ``init`` has set in one of the ``old`` modules get the same values in
        the module that has taken its place.
        """
        parts_of(app).init.keep(self.contents)
        parts_of(app).plan.is_warm = True
        app.optimized[:] = self.optimized
        for module, name in self.reached.globals:
            if module in old and hasattr(old[module], name):
                setattr(sys.modules[module], name, getattr(old[module], name))


def init_of(app: "Potassium", sources: Mapping[str, ModuleSource]) -> Reached:
    """Return what the ``init`` of ``app`` reaches within the user's own files.

    What completes the cache after it, with ``@app.restored``, counts as well.
    """
    init = parts_of(app).init
    function: Any = init.function or init.restored
    if function is None:
        return Reached()
    while isinstance(function, functools.partial):
        function = function.func
    function = inspect.unwrap(function)
    module = getattr(function, "__module__", None) or ""
    name = getattr(function, "__qualname__", type(function).__qualname__).partition(".")[0]
    if module not in sources:
        return Reached({(module, name): ""})
    given = _given(app, sources)
    return reached_from(module, name, sources, is_left_out=_is_app, statements=given)


def _given(app: "Potassium", sources: Mapping[str, ModuleSource]) -> Iterator[tuple[str, ast.stmt]]:
    """Yield the statements that give ``app`` what loads the model, with their modules.

    The function alone says nothing of its decorators, or of the arguments that it was bound to.
    """
    for module, source in sources.items():
        loaded = sys.modules.get(module)
        names = getattr(loaded, "__dict__", {}).items()
        ours = [name for name, value in names if value is app]
        giving = {f"{name}.{decorator}" for name in ours for decorator in ("init", "restored")}
        for statement in source.tree.body if giving else ():
            calls: list[ast.expr] = []
            if isinstance(statement, ast.FunctionDef):
                calls = statement.decorator_list
            elif isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
                calls = [statement.value.func]
            if any(ast.unparse(one).partition("(")[0] in giving for one in calls):
                yield module, statement


def _is_app(module: str, name: str) -> bool:
    """Return whether a name is that of an app: its options are not what loads the model."""
    from potassium.app import Potassium  # noqa: PLC0415 - for type checkers only otherwise

    return isinstance(getattr(sys.modules.get(module), name, None), Potassium)
