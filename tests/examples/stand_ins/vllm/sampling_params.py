"""How a text is sampled."""

from enum import Enum
from typing import Any

__all__ = ["RequestOutputKind", "StructuredOutputsParams"]


class RequestOutputKind(Enum):
    CUMULATIVE = 0
    DELTA = 1


class StructuredOutputsParams:
    def __init__(self, json: Any) -> None:
        self.json = json
