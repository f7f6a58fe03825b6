"""An asyncio-native ASGI framework that puts an AI model behind HTTP.

This module and ``potassium.testing`` are the public API. All other modules are private, and may
change in any release.
"""

from typing import TYPE_CHECKING, Any

from starlette.exceptions import HTTPException

from potassium.app import Potassium
from potassium.config import Batch, Jobs, Limits, Webhooks
from potassium.errors import InvalidInput, PotassiumError, UsageError
from potassium.http.request import Request, current_request
from potassium.http.response import Response
from potassium.serving.api_keys import ApiKeys
from potassium.webhooks.send import send_webhook

if TYPE_CHECKING:
    from potassium.media.array import Array as Array
    from potassium.media.audio import Audio as Audio
    from potassium.media.image import Image as Image

__all__ = [
    "ApiKeys",
    "Batch",
    "HTTPException",
    "InvalidInput",
    "Jobs",
    "Limits",
    "Potassium",
    "PotassiumError",
    "Request",
    "Response",
    "UsageError",
    "Webhooks",
    "current_request",
    "send_webhook",
]

# Imported when they are used, as their libraries are large and may not be there: not in __all__, so
# that ``import *`` does without them.
_FILES = {
    "Array": ("potassium.media.array", "Array"),
    "Audio": ("potassium.media.audio", "FromAudioFile"),
    "Image": ("potassium.media.image", "Image"),
}


def __getattr__(name: str) -> Any:
    """Return an annotation for files.

    Raises:
        ModuleNotFoundError: its library is not installed.

    """
    if name not in _FILES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415 - for few names

    module, attribute = _FILES[name]
    globals()[name] = value = getattr(import_module(module), attribute)
    return value
