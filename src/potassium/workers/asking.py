"""What a handler in a worker asks of the front: to call another handler, or to submit a job."""

import asyncio
import itertools
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import orjson

from potassium.engine import Failure
from potassium.workers.frames import FromWorker, frame
from potassium.workers.in_process import result_of
from potassium.workers.link import WorkerLink
from potassium.workers.notes import NUMBER
from potassium.workers.outcomes import decode_answer
from potassium.workers.traces import trace_of

__all__ = ["Asking", "Question"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """What is asked.

    Attributes:
        caller: the number of the call that asks; None if none does.
        name: that of the app's method, ``call`` or ``submit``.
        path: the path of the handler.
        options: the arguments that are given by name.
        is_json: whether the item is JSON; otherwise, it is bytes.
        item: the item, encoded.
        trace: the headers that continue the trace of whoever asks.

    """

    caller: int | None
    name: str
    path: str
    options: Mapping[str, Any]
    is_json: bool
    item: bytes
    trace: Mapping[str, str]

    def encoded(self) -> list[bytes]:
        """Return the payload."""
        told = orjson.dumps(
            [self.caller, self.name, self.path, self.options, self.is_json, self.trace]
        )
        return [NUMBER.pack(len(told)), told, self.item]

    @classmethod
    def of(cls, payload: bytes, at: int) -> "Question":
        """Return what ``encoded`` has encoded, from this position on."""
        begin = at + NUMBER.size
        end = begin + NUMBER.unpack_from(payload, at)[0]
        caller, name, path, options, is_json, trace = orjson.loads(payload[begin:end])
        return cls(
            caller=caller,
            name=name,
            path=path,
            options=options,
            is_json=is_json,
            item=payload[end:],
            trace=trace,
        )


class Asking:
    """Asks the front, and waits for its answers. Belongs to the event loop of the worker.

    Args:
        link: the socket to the front.
        loop: that of the worker.

    """

    def __init__(self, link: WorkerLink, loop: asyncio.AbstractEventLoop) -> None:
        self._link = link
        self._loop = loop
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}

    async def ask(  # noqa: PLR0913 - what a question has
        self,
        name: str,
        path: str,
        body: bytes,
        *,
        caller: int | None,
        is_json: bool,
        options: Mapping[str, Any],
    ) -> Any:
        """Return what the method of the app in the front returns.

        Cancelling this cancels that.

        Raises:
            Exception: what it raised there.

        """
        question = Question(
            caller=caller,
            name=name,
            path=path,
            options=options,
            is_json=is_json,
            item=body,
            trace=trace_of(),
        )
        number = next(self._numbers)
        answer = self._waiting[number] = self._loop.create_future()
        told = NUMBER.pack(number)
        self._link.send(frame(FromWorker.ASK, told, *question.encoded()))
        try:
            outcome = await answer
        except asyncio.CancelledError:
            self._link.send(frame(FromWorker.NEVER_MIND, told))
            raise
        finally:
            del self._waiting[number]
        if type(outcome) is Failure:
            raise outcome.error
        return result_of(outcome)

    def answered(self, payload: bytes) -> None:
        """Take an answer; may be called on any thread."""
        answer = decode_answer(payload)
        with suppress(RuntimeError):  # the loop was closed
            self._loop.call_soon_threadsafe(self._take, *answer)

    def _take(self, number: int, outcome: Any) -> None:
        answer = self._waiting.get(number)
        if answer is not None and not answer.done():
            answer.set_result(outcome)
