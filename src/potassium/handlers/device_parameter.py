"""Which parameter of ``init`` is for its device."""

import inspect
from collections.abc import Callable
from typing import Any

from potassium.errors import UsageError

__all__ = ["device_parameter"]

NAME = "device"

VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)

# What a parameter of init is for where this is something else: handlers, and Potassium 0.5.
OF_OTHERS = ("cache", "context", "worker_num")
NOT_TEXT = (int, dict, "int", "dict")

FORM = "write def init(device: str) or def init(), and return the cache as a dict."


def device_parameter(function: Callable[..., Any]) -> inspect.Parameter | None:
    """Return the parameter of ``function`` that is for its device; None if it has none.

    It is the one called ``device``, even if it has a default; otherwise, the only one that is
    required, whatever its name.

    Raises:
        UsageError: it is no function, more arguments are required, or the parameter is meant for
            something else.

    """
    if not callable(function):
        raise UsageError(f"init is a function, not {function!r}; {FORM}")
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:  # a builtin that says nothing of itself
        return None
    single = [one for one in parameters if one.kind not in VARIADIC]
    required = [one for one in single if one.default is one.empty]
    named = [one for one in single if one.name == NAME and one.kind is not one.POSITIONAL_ONLY]
    ours = named or required
    if len(required) > 1 or (required and required != ours):
        names = ", ".join(one.name for one in required)
        raise UsageError(f"init({names}): init takes no arguments, or only its device; {FORM}")
    if not ours:
        return None
    (parameter,) = ours
    if parameter.name in OF_OTHERS or parameter.annotation in NOT_TEXT:
        raise UsageError(
            f'init({parameter.name}): what init gets is its device, such as "cuda:0"; {FORM}'
        )
    return parameter
