"""Checks of options, with messages that say what is wrong."""

from collections.abc import Iterable
from difflib import get_close_matches
from math import isfinite

from potassium.errors import UsageError

__all__ = ["check_count", "check_options", "check_seconds"]


def check_count(name: str, value: object) -> None:
    """Raise UsageError, naming ``name``, unless ``value`` is a whole number above zero."""
    if type(value) is not int or value < 1:
        raise UsageError(f"{name}={value!r} must be a whole number above zero.")


def check_seconds(name: str, value: object, what: str = "a number of seconds") -> None:
    """Raise UsageError, naming ``name``, unless ``value`` is a finite number above zero."""
    if type(value) not in (int, float) or not isfinite(value) or value <= 0:  # type: ignore[arg-type,operator]
        raise UsageError(f"{name}={value!r} must be {what} above zero.")


def check_options(call: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Check that all options ``given`` to ``call`` are ``known``.

    Raises:
        UsageError: an option is unknown; the message suggests the most similar known one.

    """
    known = list(known)
    for name in given:
        if name not in known:
            nearest = get_close_matches(name, known, n=1)
            hint = f"did you mean {nearest[0]}?" if nearest else f"there are {', '.join(known)}."
            raise UsageError(f"{call}({name}=...): no such option; {hint}")
