"""What tests of large bodies look at, and how they send them."""

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from potassium import Potassium
from potassium.serving.body_room import BodyRoom

__all__ = ["nothing_is_left", "open_bodies", "rooms_of", "sent_in_parts"]


def unnamed_files() -> Sequence[str]:
    """Return the files without a name that this process has open."""
    found = []
    for one in Path("/proc/self/fd").iterdir():
        try:
            target = os.readlink(one)  # noqa: PTH115 - of a file that does not exist
        except FileNotFoundError:
            continue  # the folder itself
        if target.endswith("(deleted)"):
            found.append(target)
    return found


BEFORE = frozenset(unnamed_files())  # such as where pytest keeps output


def open_bodies() -> Sequence[str]:
    """Return the bodies on disk that are open."""
    return [one for one in unnamed_files() if one not in BEFORE]


def rooms_of(app: Potassium) -> tuple[BodyRoom, BodyRoom]:
    """Return what counts the bodies in memory and on disk."""
    bodies = app._parts._plan.bodies
    return bodies.memory, bodies.disk


async def nothing_is_left(app: Potassium) -> None:
    """Wait until no body on disk is open and no room is taken; fail if that lasts."""
    async with asyncio.timeout(10):
        while _is_left(app):  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.005)


def _is_left(app: Potassium) -> bool:
    return bool(open_bodies()) or any(room.held for room in rooms_of(app))


async def sent_in_parts(content: bytes, size: int = 100_000) -> AsyncIterator[bytes]:
    """Send content without its length."""
    for start in range(0, len(content), size):
        yield content[start : start + size]
