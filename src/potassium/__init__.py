"""An asyncio-native ASGI framework that puts an AI model behind HTTP.

This module, ``potassium.client``, ``potassium.jobs``, ``potassium.ray``, ``potassium.store`` and
``potassium.testing`` are the public API.
All other modules are private, and may change in any release. Each name is imported when it is first
used, so a program that needs only ``potassium.client`` imports nothing of the server.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.exceptions import HTTPException

    from potassium.app import Potassium
    from potassium.config import Batch, Jobs, Limits, Metrics, Rows, Traces, Webhooks, Workers
    from potassium.errors import InvalidInput, PotassiumError, UsageError
    from potassium.handlers.step import Step, StepError
    from potassium.http.file import File
    from potassium.http.request import Request, current_request
    from potassium.http.response import Response
    from potassium.media.array import Array as Array
    from potassium.media.audio import Audio as Audio
    from potassium.media.from_file import FromFile
    from potassium.media.image import Image as Image
    from potassium.serving.api_keys import ApiKeys
    from potassium.webhooks.send import send_webhook

__all__ = [
    "ApiKeys",
    "Batch",
    "File",
    "FromFile",
    "HTTPException",
    "InvalidInput",
    "Jobs",
    "Limits",
    "Metrics",
    "Potassium",
    "PotassiumError",
    "Request",
    "Response",
    "Rows",
    "Step",
    "StepError",
    "Traces",
    "UsageError",
    "Webhooks",
    "Workers",
    "current_request",
    "send_webhook",
]

MODULES = {
    "ApiKeys": "potassium.serving.api_keys",
    "Batch": "potassium.config",
    "File": "potassium.http.file",
    "FromFile": "potassium.media.from_file",
    "HTTPException": "starlette.exceptions",
    "InvalidInput": "potassium.errors",
    "Jobs": "potassium.config",
    "Limits": "potassium.config",
    "Metrics": "potassium.config",
    "Potassium": "potassium.app",
    "PotassiumError": "potassium.errors",
    "Request": "potassium.http.request",
    "Response": "potassium.http.response",
    "Rows": "potassium.config",
    "Step": "potassium.handlers.step",
    "StepError": "potassium.handlers.step",
    "Traces": "potassium.config",
    "UsageError": "potassium.errors",
    "Webhooks": "potassium.config",
    "Workers": "potassium.config",
    "current_request": "potassium.http.request",
    "send_webhook": "potassium.webhooks.send",
}

# Not in __all__: ``import *`` does without the libraries that they need.
FILES = {
    "Array": ("potassium.media.array", "Array"),
    "Audio": ("potassium.media.audio", "FromAudioFile"),
    "Image": ("potassium.media.image", "Image"),
}

if not TYPE_CHECKING:  # type checkers would take any name to exist

    def __getattr__(name: str) -> object:
        """Import a public name.

        Raises:
            ModuleNotFoundError: it is an annotation for files, and its library is not installed.

        """
        module, attribute = FILES.get(name) or (MODULES.get(name), name)
        if module is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(module), attribute)
        return value

    def __dir__() -> list[str]:
        """List the public names, imported or not."""
        return sorted({*globals(), *__all__})
