"""The results of a function that is given a list: one for each of its items."""

import sys
from collections.abc import Sequence
from types import CoroutineType
from typing import Any

__all__ = ["WrongCountError", "results_in"]


class WrongCountError(Exception):
    """A function returned more or fewer results than it was given items."""


def results_in(results: Any, count: int) -> Any:
    """Return the results that a function has returned or yielded for ``count`` items.

    Raises:
        WrongCountError: it is not one result for each item.

    """
    if type(results) is CoroutineType:
        results.close()
        raise WrongCountError(
            f"expected a list of {count} results, got a coroutine, which nobody awaits"
        )
    if hasattr(type(results), "__next__"):
        results = list(results)
    if not _is_list(results):
        raise WrongCountError(f"expected a list of {count} results, got {type(results).__name__}")
    if len(results) != count:
        raise WrongCountError(f"expected {count} results, got {len(results)}")
    return results


def _is_list(results: Any) -> bool:
    """Return whether ``results`` has one result for each item: a list, a tuple, an array, a tensor.

    What else has a length, has it for another reason: the pair that ``torch.topk`` returns, the
    columns of a table, the keys of a mapping. Of the right length by chance, it would answer
    callers with each other's data.
    """
    if isinstance(results, tuple):
        return type(results) is tuple
    if isinstance(results, Sequence):
        return not isinstance(results, str | bytes | bytearray | memoryview)
    numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
    is_array = numpy is not None and isinstance(results, numpy.ndarray)
    is_tensor = torch is not None and isinstance(results, torch.Tensor)
    return (is_array or is_tensor) and results.ndim > 0
