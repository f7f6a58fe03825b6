"""The numbers of operations, which the front and its workers agree on."""

from collections.abc import Mapping

from potassium.engine import Operation
from potassium.handlers.handler import Handler

__all__ = ["numbered"]


def numbered(handlers: Mapping[str, Handler]) -> list[tuple[Operation, Handler]]:
    """Return each operation that uses the model, and its handler; its place is its number."""
    return [
        (operation, handler)
        for handler in handlers.values()
        for operation in dict.fromkeys((handler.operation, handler.alone))
        if operation.concurrency is None
    ]
