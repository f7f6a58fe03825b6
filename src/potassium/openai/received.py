"""What requests about files and batches bring, and how lists are answered."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from itertools import islice
from typing import Protocol, TypeVar

from starlette.requests import Request

from potassium.errors import ClientLeft
from potassium.http.message import Message
from potassium.http.request_id import request_id_of
from potassium.http.spooled import IN_MEMORY
from potassium.openai.errors import Refused
from potassium.serving.assembly import Assembly
from potassium.serving.bodies import BodyRule

__all__ = ["limit_of", "page", "read_body"]


class HasId(Protocol):
    """What is in a list."""

    @property
    def id(self) -> str:
        """Its id; later ones have greater ids."""


Item = TypeVar("Item", bound=HasId)


@asynccontextmanager
async def read_body(parts: Assembly, request: Request, most: int) -> AsyncIterator[Message]:
    """Read the body of a request, which may have ``most`` bytes; a large one is on disk.

    Raises:
        ClientLeft: the client has left before the body was complete.
        PotassiumError: it is too large, or arrives too slowly, or there is no room for it.

    """
    bodies, scope = parts.plan.bodies, request.scope
    taken = await bodies.read(scope, request.receive, BodyRule(most, min(most, IN_MEMORY)))
    if taken is None:
        raise ClientLeft
    headers, content, held = taken
    values = parts.limits.json_values
    try:
        yield Message(request_id_of(scope), headers, content, scope, json_values=values)
    finally:
        bodies.let_go(held, content)


def limit_of(request: Request, *, most: int, default: int) -> int:
    """Return how many items a request for a list wants.

    Raises:
        Refused: it is no such number.

    """
    given = request.query_params.get("limit", str(default))
    if not (given.isascii() and given.isdigit() and 1 <= int(given[:9]) <= most):
        raise Refused(f"limit must be a number from 1 to {most}.", param="limit")
    return int(given[:9])


def page(items: Iterable[Item], after: str | None, limit: int) -> tuple[list[Item], bool]:
    """Return the items of one page, and whether there are more.

    Args:
        items: all of them, newest first.
        after: the id of the last item of the page before, which may be gone.
        limit: how many there are on a page.

    """
    left = (item for item in items if after is None or item.id < after)
    some = list(islice(left, limit + 1))
    return some[:limit], len(some) > limit
