"""An asyncio-native ASGI framework that puts an AI model behind HTTP."""

from starlette.exceptions import HTTPException

from potassium.app import Potassium
from potassium.config import Batch, Jobs, Limits, Webhooks
from potassium.errors import InvalidInput, PotassiumError, UsageError
from potassium.http import Request, Response, current_request
from potassium.webhook import send_webhook

__all__ = [
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
