"""Runs a handler's generator step by step."""

import asyncio
import contextvars
import traceback
from collections.abc import AsyncIterator, Iterator
from typing import Any

from potassium.engine import AsyncSteps, Steps
from potassium.errors import OutOfMemory, UsageError
from potassium.handlers.accelerator import Modes, free_memory, is_out_of_memory, out_of_memory
from potassium.handlers.step import Step
from potassium.http.results import takes_a_while
from potassium.http.stream_formats import StreamFormat

__all__ = ["AsyncGeneratorSteps", "GeneratorSteps"]

NO_STEP = (
    "yield Step(...) needs step=: write @app.handler(..., streams=16, step=forward), with the "
    "function that is called with the rows of all streams that wait."
)


class GeneratorSteps(Steps):
    """The steps of a plain generator, each in the context and torch modes that the last one left.

    The chunks are encoded by ``form``, on the GPU thread.
    """

    def __init__(self, iterator: Iterator[Any], form: StreamFormat) -> None:
        self._iterator = iterator
        self._form = form
        self._context = contextvars.copy_context()
        self._modes = Modes()

    def __next__(self) -> bytes | None:
        """Return the next chunk, encoded."""
        try:
            return self._context.run(self._advance)
        except BaseException:
            # It has ended already, unless its chunk could not be encoded or it is a file.
            self.close()
            raise

    def close(self) -> None:
        """Close the generator: ``GeneratorExit`` is raised where it is suspended."""
        close = getattr(self._iterator, "close", None)
        if close is not None:
            with self._modes:
                self._context.run(close)

    def _advance(self) -> bytes | None:
        try:
            with self._modes:
                return self._encoded(next(self._iterator))
        except Exception as error:
            refusal = refusal_after(error)
            if refusal is None:
                raise
            raise refusal from error

    def _encoded(self, chunk: Any) -> bytes:
        if type(chunk) is Step:
            raise UsageError(NO_STEP)
        return self._form.encode(chunk)


class AsyncGeneratorSteps(AsyncSteps):
    """The steps of an async generator; the chunks are encoded by ``form``."""

    def __init__(self, iterator: AsyncIterator[Any], form: StreamFormat) -> None:
        self._iterator = iterator
        self._form = form

    async def next(self) -> bytes:
        """Return the next chunk, encoded."""
        chunk = await anext(self._iterator)
        if takes_a_while(chunk):
            return await asyncio.to_thread(self._form.encode, chunk)
        return self._form.encode(chunk)

    async def close(self) -> None:
        """Close the generator."""
        close = getattr(self._iterator, "aclose", None)
        if close is not None:
            await close()


def refusal_after(error: Exception) -> OutOfMemory | None:
    """Return what the caller is told if memory ran out in a step, which is freed; else None."""
    traceback.clear_frames(error.__traceback__)  # they hold on to tensors
    if not is_out_of_memory(error):
        return None
    free_memory()
    return out_of_memory()
