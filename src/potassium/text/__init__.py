"""Generating text with models of transformers; needs the extra ``text``."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from potassium.text.chunks import Finish, ToolCall
    from potassium.text.decoder import Decoder
    from potassium.text.row import Row
    from potassium.text.sampling import Sampling

__all__ = ["Decoder", "Finish", "Row", "Sampling", "ToolCall"]

MODULES = {
    "Decoder": "decoder",
    "Finish": "chunks",
    "Row": "row",
    "Sampling": "sampling",
    "ToolCall": "chunks",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for: only the decoder needs torch."""
    if name not in MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{MODULES[name]}"), name)
