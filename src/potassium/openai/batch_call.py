"""One request of a batch: the handler is called, and its answer is that of a direct call."""

import asyncio
import logging
from http import HTTPStatus
from typing import Any, NamedTuple

from starlette.exceptions import HTTPException

from potassium.engine import State
from potassium.errors import (
    DeadlineExceeded,
    Overloaded,
    PotassiumError,
    QueueFull,
    Unavailable,
)
from potassium.http.codec import decode, encode
from potassium.http.problem import internal, problem_reply
from potassium.openai.errors import Refused, with_error
from potassium.openai.front import Front
from potassium.openai.requests import Asked
from potassium.serving.assembly import Assembly

__all__ = ["Answered", "Caller"]

TRIES = 3  # of a request that fails as the server cannot serve it now, or in time
PAUSE = 1.0  # seconds until such a request is tried again, if nothing says when

logger = logging.getLogger("potassium.jobs")


class Answered(NamedTuple):
    """What a request is answered with.

    Attributes:
        status: the HTTP status that a direct call would have had.
        body: JSON.

    """

    status: int
    body: bytes


class Caller:
    """Calls the handlers of the models that requests name, behind all direct calls.

    Args:
        parts: those of the app.
        front: that of the endpoint of the batch.
        request_id: that of the batch.

    """

    def __init__(self, parts: Assembly, front: Front[Any], request_id: str) -> None:
        self._parts = parts
        self._front = front
        self._request_id = request_id

    @property
    def is_stopping(self) -> bool:
        """Whether the server takes no more requests."""
        return self._parts.runtime.lifecycle.state is not State.READY

    async def answer(self, body: Any) -> Answered | None:
        """Return what a request is answered with; None if the server stops before.

        If there is no place for it, wait for one.
        """
        try:
            asked, path, item = await self._front.taken(body)
        except PotassiumError as error:
            return self._failed(error)
        if getattr(asked, "stream", False):
            return self._failed(Refused("Requests of batches do not stream.", param="stream"))
        return await self._tried(asked, path, item)

    async def _tried(self, asked: Asked, path: str, item: Any) -> Answered | None:
        """Call the handler until it answers, or it is pointless to go on."""
        tries = 1
        while True:
            try:
                return Answered(HTTPStatus.OK, await self._called(asked, path, item))
            except (Unavailable, DeadlineExceeded) as error:
                if self.is_stopping:
                    return None
                tries += not isinstance(error, QueueFull | Overloaded)
                if tries > TRIES:
                    return self._failed(error)
                pause = getattr(error, "retry_after", None) or PAUSE
            except (PotassiumError, HTTPException) as error:
                return self._failed(error)
            except Exception as error:
                logger.exception("a request of a batch has failed (request %s)", self._request_id)
                return self._failed(internal(error))
            await asyncio.sleep(pause)

    async def _called(self, asked: Asked, path: str, item: Any) -> bytes:
        answer = self._front.answer(asked)
        async with self._parts.calls.behind_others(path, item) as chunks:
            async for chunk in chunks:
                answer.add(chunk if isinstance(chunk, str) else decode(encode(chunk)))
        return answer.end()

    def _failed(self, error: Exception) -> Answered:
        reply = problem_reply(error, self._request_id)
        return Answered(reply.status, with_error(reply.body) if reply.body else b"null")
