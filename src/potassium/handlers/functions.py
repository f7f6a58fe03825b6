"""Inspects an app's functions without calling them."""

import dis
import inspect
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

__all__ = ["file_of", "is_async", "name_of", "reads", "yields"]


def is_async(function: Callable[..., Any]) -> bool:
    """Return whether calls of ``function`` run on the event loop."""
    call = getattr(function, "__call__", None)  # noqa: B004 - its kind is asked for
    return any(
        inspect.iscoroutinefunction(one) or inspect.isasyncgenfunction(one)
        for one in (function, call)
    )


def name_of(function: Callable[..., Any]) -> str:
    """Return a function's name for messages; for partials and instances, that of their class."""
    return str(getattr(function, "__qualname__", type(function).__qualname__))


def reads(function: Callable[..., Any], index: int) -> bool:
    """Return whether the code of ``function`` uses its positional argument ``index``.

    False for what has no Python code of its own, such as an instance or a builtin.
    """
    function = inspect.unwrap(function)
    index += inspect.ismethod(function)
    code = getattr(function, "__code__", None)
    if code is None or index >= code.co_argcount:
        return False
    name = code.co_varnames[index]
    if name in code.co_cellvars:  # a function inside uses it
        return True
    for one in dis.get_instructions(code):
        names = one.argval if isinstance(one.argval, tuple) else (one.argval,)
        if one.opname.startswith("LOAD_FAST") and name in names:
            return True
    return False


def yields(function: Callable[..., Any]) -> bool:
    """Return whether ``function`` is a generator function, so that all its responses stream."""
    return inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)


def file_of(function: Callable[..., Any]) -> str | None:
    """Return the file in which ``function``, or what it wraps, is defined; None if there is none.

    For an instance, it is that of its class.
    """
    while isinstance(function, partial):
        function = function.func
    function = inspect.unwrap(function)
    code = getattr(function, "__code__", None)
    if code is not None:
        return str(code.co_filename)
    module = sys.modules.get(getattr(function, "__module__", None) or "")
    return getattr(module, "__file__", None)
