"""Bounds the time that the operations of a backend take their callers."""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

from potassium.errors import StoreUnavailable
from potassium.store.backend import Backend

__all__ = ["Bounded"]

T = TypeVar("T")

LONGEST = 300  # characters of an error in the log

logger = logging.getLogger("potassium")


class _Fault(Generic[T]):
    """The outcome of an operation that failed."""

    def __init__(self, error: Exception) -> None:
        self.error = error


class Bounded:
    """Runs operations on threads of its own; callers wait for them for a limited time.

    The time limits of clients do not bound everything: not the lookup of a name, nor a server that
    sends a byte now and then. An operation that its caller has given up goes on until the client's
    own limits end it, and those behind it wait or are never begun.

    Args:
        backend: what is operated on.
        timeout: seconds.

    """

    def __init__(self, backend: Backend, timeout: float) -> None:
        self._backend = backend
        self._timeout = timeout
        self._pool = ThreadPoolExecutor(backend.threads, thread_name_prefix="potassium-store")
        self._is_failing = False

    def run(self, operation: Callable[[Backend], T]) -> T:
        """Run ``operation`` and return its result; blocks.

        Raises:
            StoreUnavailable: it failed, or took too long, or this was closed.
            Exception: anything that it raises besides the backend's faults.

        """
        future = self._submit(operation)
        try:
            outcome = future.result(self._timeout)
        except TimeoutError:
            future.cancel()
            raise self._late() from None
        return self._result(outcome)

    async def run_async(self, operation: Callable[[Backend], T]) -> T:
        """Do the same without blocking the event loop. If cancelled, it may have been done."""
        try:
            async with asyncio.timeout(self._timeout):
                outcome = await asyncio.wrap_future(self._submit(operation))
        except TimeoutError:
            raise self._late() from None
        return self._result(outcome)

    def close(self) -> None:
        """Disconnect once what was begun has ended; does not wait for that."""
        self._pool.submit(self._backend.close)
        self._pool.shutdown(wait=False)

    def _submit(self, operation: Callable[[Backend], T]) -> "Future[T | _Fault[T]]":
        try:
            return self._pool.submit(self._attempt, operation)
        except RuntimeError as error:  # it was closed at this moment, or the process ends
            raise StoreUnavailable from error

    def _attempt(self, operation: Callable[[Backend], T]) -> T | _Fault[T]:
        try:
            return operation(self._backend)
        except self._backend.faults as error:
            return _Fault(error)

    def _result(self, outcome: T | _Fault[T]) -> T:
        if isinstance(outcome, _Fault):
            error = outcome.error
            text = str(error).partition("\n")[0][:LONGEST]
            self._note_failure(f"{type(error).__name__}: {text}")
            raise StoreUnavailable from error
        if self._is_failing:
            self._is_failing = False
            logger.warning("the store in %s answers again", self._backend.place)
        return outcome

    def _late(self) -> StoreUnavailable:
        self._note_failure(f"no answer within timeout={self._timeout:g} seconds")
        return StoreUnavailable()

    def _note_failure(self, reason: str) -> None:
        """Log why operations fail; once, until one succeeds."""
        if not self._is_failing:
            self._is_failing = True
            logger.warning(
                "the store in %s fails: %s. Handlers that use it are answered with 503 "
                "store_unavailable. This is said once, until it answers again",
                self._backend.place,
                reason,
            )
