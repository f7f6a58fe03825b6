"""An asyncio-native ASGI framework that puts an AI model behind HTTP."""

from starlette.exceptions import HTTPException

from potassium.app import Potassium
from potassium.config import Batch, Limits
from potassium.errors import InvalidInput, PotassiumError, UsageError
from potassium.http import Request, Response, current_request

__all__ = [
    "Batch",
    "HTTPException",
    "InvalidInput",
    "Limits",
    "Potassium",
    "PotassiumError",
    "Request",
    "Response",
    "UsageError",
    "current_request",
]
