"""Looks up host names so that a slow name server delays nobody else."""

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from ipaddress import ip_address

from potassium.webhooks.shares import Shares

__all__ = ["NoPlace", "Resolve", "Resolver"]

MOST_AT_ONCE = 64  # lookups; each has a thread for as long as the name server takes

Resolve = Callable[[str], Awaitable[Sequence[str]]]
Found = Sequence[str] | OSError


class NoPlace(OSError):
    """There is no place for another lookup."""


class Resolver:
    """Looks up names, each in a thread of its own.

    The event loop's threads are not used: they are few, a lookup cannot be cancelled, and whoever
    chooses the names could fill them all with slow ones. For the same reason, names of one domain
    get no more threads than are left for others, and those who ask for the same name at the same
    time share a lookup. Belongs to one event loop. The threads are daemons, so that the end of the
    process does not wait for a name server.

    Args:
        places: how many lookups there may be at a time.
        waits: whether lookups wait for a place.

    """

    def __init__(self, places: int | None = None, *, waits: bool = True) -> None:
        self._places = Shares(places or MOST_AT_ONCE)
        self._waits = waits
        self._freed = asyncio.Event()
        self._under_way: dict[str, asyncio.Future[Found]] = {}

    async def addresses(self, name: str) -> Sequence[str]:
        """Return the addresses of ``name``, at least one, in the order in which to try them.

        If this is cancelled, the lookup ends by itself.

        Raises:
            NoPlace: there is no place for the lookup, and it does not wait for one.
            OSError: the name has no address, or the lookup failed.

        """
        with suppress(ValueError):
            return [str(ip_address(name))]
        while name not in self._under_way and not self._places.has_room(_domain(name)):
            if not self._waits:
                raise NoPlace("too many names are being looked up")
            await self._freed.wait()
        if name not in self._under_way:
            self._begin(name)
        found = await asyncio.shield(self._under_way[name])
        if isinstance(found, OSError):
            raise type(found)(*found.args)
        return found

    def _begin(self, name: str) -> None:
        loop = asyncio.get_running_loop()
        self._under_way[name] = loop.create_future()
        self._places.take(_domain(name))

        def look_up() -> None:
            found = _look_up(name)
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(self._end, name, found)

        try:
            threading.Thread(target=look_up, name="potassium-name", daemon=True).start()
        except RuntimeError:  # the system cannot start another thread
            loop.call_soon(self._end, name, OSError("no thread left to look up the name"))

    def _end(self, name: str, found: Found) -> None:
        self._under_way.pop(name).set_result(found)
        self._places.give_back(_domain(name))
        freed, self._freed = self._freed, asyncio.Event()
        freed.set()


def _domain(name: str) -> str:
    """Return the end of a name that tells who runs its name servers."""
    return ".".join(name.lower().rstrip(".").split(".")[-2:])


def _look_up(name: str) -> Found:
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except OSError as error:
        return error
    except ValueError:  # a label that is empty or too long fails in the codec
        return socket.gaierror(socket.EAI_NONAME, "no such name")
    addresses = dict.fromkeys(str(address[0]) for *_, address in found)
    return list(addresses) or socket.gaierror(socket.EAI_NONAME, "no address")
