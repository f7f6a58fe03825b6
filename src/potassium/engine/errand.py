"""A function that is run once wherever the model is, between calls."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["Errand"]


@dataclass(frozen=True, kw_only=True)
class Errand:
    """A function that is run once wherever the model is, between calls.

    Attributes:
        name: the function's name; of errands with the same name, the latest one counts.
        run: runs it in this process.
        told: returns what other processes need to know to run it. Raises UsageError if they cannot.

    """

    name: str
    run: Callable[[], Any]
    told: Callable[[], bytes]
