"""What the code of handlers shows."""

import dis
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator
from types import CodeType
from typing import Any

from potassium.handlers.functions import is_async, name_of, reads
from potassium.handlers.handler import Handler
from potassium.project.finding import Finding, note, problem
from potassium.serving.assembly import Assembly

__all__ = ["findings"]


def findings(parts: Assembly) -> Iterable[Finding]:
    """Yield what is wrong with the handlers' functions and with what they take."""
    for handler in parts.handlers.values():
        yield from _input(handler)
        if is_async(handler.function) and _uses_torch(handler.function):
            yield note(
                handler.path,
                f"{name_of(handler.function)} is async and uses torch: it blocks the event loop "
                "while it computes, and may use the model at the same time as the GPU thread.",
                "Write def, not async def: then it runs on the GPU thread.",
            )
    yield from _empty_cache(parts)


def _empty_cache(parts: Assembly) -> Iterator[Finding]:
    """Yield that handlers use a cache that nobody fills."""
    readers = [one.path for one in parts.handlers.values() if reads(one.function, 0)]
    if readers and parts.init.function is None and not parts.cache.contents:
        uses = "use" if len(readers) > 1 else "uses"
        yield problem(
            "init",
            f"There is no @app.init, but {', '.join(readers)} {uses} the cache, which is empty.",
            "Load the model in a function: @app.init above def init(), which returns a dict.",
        )


def _input(handler: Handler) -> Iterator[Finding]:
    """Yield that the input's type is not complete, although the whole module was imported."""
    adapter = handler.bind.adapter
    if adapter is None:
        return
    try:
        adapter.rebuild(raise_errors=True)
        _ = handler.bind.media_types, handler.bind.decodes_files, handler.bind.cost
    except Exception as error:  # noqa: BLE001 - of the app's own types, whatever they do
        yield problem(
            handler.path,
            f"The input of {name_of(handler.function)} cannot be validated: {_first_line(error)}",
            "Define every type that its annotation names at the top level of the module.",
        )


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__


def _uses_torch(function: Callable[..., Any]) -> bool:
    """Return whether the code of ``function`` names torch, and that is the library."""
    torch = sys.modules.get("torch")
    function = inspect.unwrap(function)
    code, scope = getattr(function, "__code__", None), getattr(function, "__globals__", {})
    if torch is None or code is None:
        return False
    names = {name for name, value in scope.items() if value is torch}
    return not names.isdisjoint(_globals(code))


def _globals(code: CodeType) -> Iterator[str]:
    """Yield the names of the module that ``code`` and the functions in it use."""
    for one in dis.get_instructions(code):
        if one.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            yield one.argval
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _globals(constant)
