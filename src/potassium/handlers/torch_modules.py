"""Finds torch modules without importing torch."""

import sys
from typing import Any

__all__ = ["module_of"]


def module_of(model: Any) -> Any:
    """Return ``model`` or its ``model`` attribute, whichever is a ``torch.nn.Module``.

    Raises:
        TypeError: neither is one.

    """
    torch = sys.modules.get("torch")
    if torch is not None:
        for candidate in (model, getattr(model, "model", None)):
            if isinstance(candidate, torch.nn.Module):
                return candidate
    raise TypeError(f"app.optimize() takes torch.nn.Modules, not {type(model).__name__}.")
