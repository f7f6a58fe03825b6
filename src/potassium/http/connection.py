"""Waiting on behalf of a client that may disconnect meanwhile."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.types import Receive

from potassium.errors import ClientLeft

__all__ = ["while_connected"]

T = TypeVar("T")


async def while_connected(receive: Receive, waiting: Coroutine[Any, Any, T]) -> T:
    """Return the result of ``waiting``, or cancel it as soon as the client disconnects.

    The body of the request must have been read: the next event of ``receive`` is the disconnect
    (ASGI HTTP spec, "Disconnect - receive event"). Cancelling this cancels ``waiting``.

    Raises:
        ClientLeft: the client has disconnected.

    """
    task = asyncio.ensure_future(waiting)
    watch = asyncio.ensure_future(_until_disconnect(receive))
    try:
        await asyncio.wait({task, watch}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientLeft
        return task.result()
    finally:
        task.cancel()
        watch.cancel()
        # An exception refers to this frame, and its task to the exception: all that the call had
        # would be kept until the next collection.
        del task, watch


async def _until_disconnect(receive: Receive) -> None:
    if (await receive())["type"] != "http.disconnect":  # one that reports nothing
        await asyncio.Event().wait()
