"""Torch modules, found without importing torch."""

import sys
from typing import Any

__all__ = ["module_of"]


def module_of(model: Any) -> Any:
    """Return the ``torch.nn.Module`` that ``model`` is, or holds as its ``model``.

    Raises:
        TypeError: it is neither.

    """
    torch = sys.modules.get("torch")
    if torch is not None:
        for candidate in (model, getattr(model, "model", None)):
            if isinstance(candidate, torch.nn.Module):
                return candidate
    raise TypeError(f"app.optimize() takes torch.nn.Modules, not {type(model).__name__}.")
