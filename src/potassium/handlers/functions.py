"""Inspects an app's functions without calling them."""

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
    """Return a function's name for messages; for partials and instances, that of their class."""
    return str(getattr(function, "__qualname__", type(function).__qualname__))


def yields(function: Callable[..., Any]) -> bool:
    """Return whether ``function`` is a generator function, so that all its responses stream."""
    return inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)
