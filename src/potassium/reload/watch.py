"""Notices that the user's files change."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from pathlib import Path

from potassium.project.files import own_modules

__all__ = ["changes", "watched_folders"]

STEP = 20  # milliseconds without a change, after which a save is over
LONGEST = 200  # milliseconds that changes are collected, at most


def watched_folders() -> set[Path]:
    """Return the folders of the user's modules that are loaded."""
    return {path.parent for _, path in own_modules().values()}


async def changes(folders: Callable[[], set[Path]] = watched_folders) -> AsyncGenerator[None, None]:
    """Yield whenever a Python file in one of ``folders`` may have changed.

    The folders are asked for anew after each change. It yields as soon as they are watched, too:
    what has happened before is not noticed otherwise.

    Raises:
        ModuleNotFoundError: watchfiles is not installed.

    """
    from watchfiles import awatch  # noqa: PLC0415 - an extra

    while True:
        watched = folders()
        async with aclosing(
            awatch(
                *watched,
                watch_filter=lambda _, path: path.endswith(".py"),
                recursive=False,
                step=STEP,
                debounce=LONGEST,
                yield_on_timeout=False,
            )
        ) as batches:
            coming = asyncio.ensure_future(anext(batches))
            try:
                await asyncio.sleep(0)  # it begins to watch
                yield
                while folders() == watched:
                    await coming
                    coming = asyncio.ensure_future(anext(batches))
                    yield
            finally:
                coming.cancel()
                await asyncio.wait({coming})
