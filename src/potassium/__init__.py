"""An asyncio-native ASGI framework that puts an AI model behind HTTP."""

from potassium.app import Potassium
from potassium.config import Limits
from potassium.errors import PotassiumError, UsageError
from potassium.http import Request, Response

__all__ = ["Limits", "Potassium", "PotassiumError", "Request", "Response", "UsageError"]
