"""Names and texts of functions, as a schema shows them."""

import inspect
import re
from collections.abc import Callable
from functools import partial
from typing import Any

__all__ = ["OperationIds", "description_of", "name_of"]

WORD = re.compile(r"[A-Za-z0-9]+")


class OperationIds:
    """Gives each operation its own id, the first of equal names without a suffix."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def of(self, name: str, path: str) -> str:
        """Return ``name`` or, if it is taken, ``name`` and the words of ``path``."""
        operation_id = name
        if operation_id in self._taken:
            operation_id = "_".join([name, *WORD.findall(path)])
        number, free = 2, operation_id
        while free in self._taken:
            free, number = f"{operation_id}_{number}", number + 1
        self._taken.add(free)
        return free


def name_of(function: Callable[..., Any]) -> str:
    """Return a function's own name, as a word; for instances, that of their class."""
    function = _innermost(function)
    name = str(getattr(function, "__name__", type(function).__name__))
    return "_".join(WORD.findall(name)) if not name.isidentifier() else name


def description_of(function: Callable[..., Any]) -> dict[str, str]:
    """Return the first line of a docstring as ``summary``, the rest as ``description``."""
    text = inspect.cleandoc(getattr(_innermost(function), "__doc__", None) or "")
    summary, _, rest = text.partition("\n")
    shown = {"summary": summary.strip(), "description": rest.strip()}
    return {name: part for name, part in shown.items() if part}


def _innermost(function: Callable[..., Any]) -> Callable[..., Any]:
    while isinstance(function, partial):
        function = function.func
    return function
