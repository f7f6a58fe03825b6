"""What can be told of an app's function without calling it."""

import inspect
from collections.abc import Callable
from typing import Any

__all__ = ["is_async", "name_of", "yields"]


def is_async(function: Callable[..., Any]) -> bool:
    """Return whether calls of ``function`` run on the event loop."""
    call = getattr(function, "__call__", None)  # noqa: B004 - its kind is asked for
    return any(
        inspect.iscoroutinefunction(one) or inspect.isasyncgenfunction(one)
        for one in (function, call)
    )


def name_of(function: Callable[..., Any]) -> str:
    """Return what messages call a function; partials and instances have no name of their own."""
    return str(getattr(function, "__qualname__", type(function).__qualname__))


def yields(function: Callable[..., Any]) -> bool:
    """Return whether ``function`` is a generator, so that every answer of it is a stream."""
    return inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)
