"""An asyncio-native ASGI framework that puts an AI model behind HTTP.

This module and ``potassium.testing`` are the public API. All other modules are private, and may
change in any release.
"""

from starlette.exceptions import HTTPException

from potassium.app import Potassium
from potassium.config import Batch, Jobs, Limits, Webhooks
from potassium.errors import InvalidInput, PotassiumError, UsageError
from potassium.http.file import File
from potassium.http.request import Request, current_request
from potassium.http.response import Response
from potassium.media.from_file import FromFile
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
    "Potassium",
    "PotassiumError",
    "Request",
    "Response",
    "UsageError",
    "Webhooks",
    "current_request",
    "send_webhook",
]
