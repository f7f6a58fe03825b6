"""Ids of parametrized tests."""

import re

__all__ = ["shown"]


def shown(value: object) -> str:
    """Return the representation of ``value`` without addresses: all processes need the same ids."""
    return re.sub(r" at 0x[0-9A-Fa-f]+", "", repr(value))
