"""Results that are probably not what their handler means to return."""

import inspect
import logging
from collections.abc import Callable
from http import HTTPStatus
from types import CoroutineType, NoneType, UnionType
from typing import Any, Union, get_args, get_origin

from potassium.engine import Job
from potassium.errors import UsageError

__all__ = ["SUSPECTS", "Mistakes", "check_awaited"]

SUSPECTS = frozenset((NoneType, tuple, CoroutineType))  # types that ``Mistakes.check`` looks at

STATUSES = frozenset(map(int, HTTPStatus))

logger = logging.getLogger("potassium")


def check_awaited(what: str, result: Any) -> None:
    """Check that ``result``, which ``what`` returned, is not a coroutine.

    Raises:
        UsageError: it is one.

    """
    if type(result) is CoroutineType:
        name = result.__qualname__
        result.close()
        raise UsageError(
            f"{what} returned a coroutine, which nobody awaits: it calls {name} without await. "
            "An async def handler can await it; other code calls "
            f"anyio.from_thread.run({name}, ...) instead."
        )


class Mistakes:
    """Says once of a handler that it returns nothing, or what looks like a body and a status.

    Args:
        name: the handler's path.
        function: what returns the results: the handler, or its ``finish`` step. Its return
            annotation says that such results are meant.
        batched: whether it returns a list of results.

    """

    def __init__(self, name: str, function: Callable[..., Any], *, batched: bool = False) -> None:
        self._name = name
        self._function = function
        self._batched = batched
        self._told: set[type] = set()

    def check(self, job: Job, result: Any) -> None:
        """Look at a result that is sent to the client of ``job``.

        Raises:
            UsageError: it is a coroutine.

        """
        check_awaited(self._name, result)
        kind = type(result)
        if kind in self._told or job.stream is not None or job.origin.background is not None:
            return  # a stream has sent its result already; a job may only have an effect
        if kind is tuple and not _is_answer(result):
            return
        self._told.add(kind)
        if kind in self._declared():
            return
        if result is None:
            logger.warning(
                "%s returned nothing, so its clients get null: return a result, or annotate the "
                "function with -> None if null is meant",
                self._name,
                extra={"handler": self._name},
            )
        elif kind is tuple:
            logger.warning(
                "%s returned a tuple, so its clients get a JSON list and status 200: return "
                "Response(json=..., status=%d) to set the status, or a list if a list is meant",
                self._name,
                result[1],
                extra={"handler": self._name},
            )

    def _declared(self) -> set[Any]:
        """Return the types that the return annotation names."""
        try:
            declared = inspect.signature(self._function, eval_str=True).return_annotation
        except Exception:  # noqa: BLE001 - an annotation may be any code, and is not needed
            return set()
        if self._batched and get_args(declared):
            declared = get_args(declared)[0]
        kinds = get_args(declared) if get_origin(declared) in (Union, UnionType) else [declared]
        return {NoneType if kind is None else get_origin(kind) or kind for kind in kinds}


def _is_answer(result: tuple[Any, ...]) -> bool:
    """Return whether a tuple looks like Flask's: a body, a status, and perhaps headers."""
    return (
        1 < len(result) < 4  # noqa: PLR2004
        and type(result[1]) is int
        and result[1] in STATUSES
        and isinstance(result[0], dict | list | str | bytes | None)
        and (len(result) == 2 or isinstance(result[2], dict))  # noqa: PLR2004
    )
