"""The parameters of an app's functions: the cache, if they take it, and then one more."""

import inspect
from collections.abc import Callable
from typing import Any, get_origin

__all__ = ["UnusableError", "parameters_of"]

CACHE = ("cache", "context")  # what the two generations of the API call it
INPUT = ("request", "json", "input", "item", "body")  # how names of inputs begin

SPECIAL_FORMS = ("inspect", "types", "typing", "typing_extensions")  # modules: Any, a union, none


class UnusableError(Exception):
    """Why a function cannot be used."""


def parameters_of(
    function: Callable[..., Any], *, least: int, evaluate: bool = True
) -> list[inspect.Parameter]:
    """Return the first ``least`` parameters of ``function``, or two if it requires two.

    Args:
        function: called with positional arguments.
        least: 1 if it may leave the cache out, otherwise 2.
        evaluate: whether annotations in quotes are needed too.

    Raises:
        UnusableError: it requires more or fewer, or the cache is not the first of the two.

    """
    try:
        signature = inspect.signature(function, eval_str=evaluate)
    except NameError as error:
        raise UnusableError(
            f"{error}; annotations may only use names that the module defines"
        ) from error
    except (TypeError, ValueError) as error:
        raise UnusableError("it is not a function with a signature") from error
    for count in range(least, 3):
        try:
            bound = signature.bind(*[None] * count).arguments
        except TypeError:
            continue
        if len(bound) == count:  # otherwise they went into *args
            parameters = [signature.parameters[name] for name in bound]
            if count > 1:
                _check_order(*parameters)
            return parameters
    raise UnusableError(f"its signature is {signature}")


def _check_order(first: inspect.Parameter, second: inspect.Parameter) -> None:
    """Refuse a function whose annotations or names say that its parameters are swapped."""
    if not _may_be_dict(first.annotation):
        raise UnusableError(
            f"its first parameter is {first}, but the first one is the cache, which is a dict"
        )
    is_cache = second.name == CACHE[0] or (
        second.name in CACHE and first.name.lower().startswith(INPUT)
    )
    if is_cache and first.name not in CACHE:
        raise UnusableError(f"its second parameter is {second.name}; the cache comes first")


def _may_be_dict(annotation: Any) -> bool:
    """Return whether an annotation can be that of a dict; True if that is not known."""
    kind = get_origin(annotation) or annotation
    if not isinstance(kind, type) or kind.__module__ in SPECIAL_FORMS:
        return True
    try:
        return issubclass(kind, dict) or issubclass(dict, kind)
    except TypeError:  # a protocol
        return True
