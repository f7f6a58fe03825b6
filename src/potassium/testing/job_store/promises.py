"""What all tests of a store have in common."""

import functools
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import pytest_asyncio

from potassium.jobs import JobStore

__all__ = ["Promises"]

Test = Callable[..., Awaitable[None]]


class Promises:
    """Tests whose failures say which promise is broken.

    Subclasses override ``new_store``. pytest makes an object of the class for each test.
    """

    pytestmark = pytest.mark.asyncio(loop_scope="function")

    def __init_subclass__(cls, **options: Any) -> None:
        """Let each test say what it is about when it fails."""
        super().__init_subclass__(**options)
        for name, test in list(vars(cls).items()):
            if name.startswith("test_") and inspect.iscoroutinefunction(test):
                setattr(cls, name, _with_its_promise(test))

    def new_store(self) -> JobStore:
        """Return a store that is not open yet, and empty when a test calls this first.

        If the store is durable or shared, all that one test gets keep their jobs in the same place:
        they are what a restart of the server finds, or what several servers have.
        """
        raise NotImplementedError(f"{type(self).__name__} must override new_store().")

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[JobStore]:
        """Open a new store, and close it on exit."""
        store = self.new_store()
        await store.open()
        try:
            yield store
        finally:
            await store.close()

    @pytest_asyncio.fixture(loop_scope="function")
    async def store(self) -> AsyncIterator[JobStore]:
        """Yield an open store."""
        async with self.opened() as store:
            yield store


def _with_its_promise(test: Test) -> Test:
    """Return a test that adds to its failure what it is about."""
    name = test.__name__.removeprefix("test_").replace("_", " ")
    promise = f"Every store promises: {name}. {inspect.getdoc(test) or ''}".strip()

    @functools.wraps(test)
    async def run(*arguments: Any, **fixtures: Any) -> None:
        __tracebackhide__ = True
        try:
            await test(*arguments, **fixtures)
        except (Exception, pytest.fail.Exception) as failure:
            failure.add_note(promise)
            raise

    return run
