"""Looks up host names so that a slow name server delays nobody else."""

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

__all__ = ["Resolve", "Resolver"]

MOST_AT_ONCE = 64  # lookups; each has a thread for as long as the name server takes

Resolve = Callable[[str], Awaitable[Sequence[str]]]


class Resolver:
    """Looks up names, each in a thread of its own.

    The event loop's threads are not used: they are few, a lookup cannot be cancelled, and whoever
    chooses the names could fill them all with slow ones. Belongs to one event loop. The threads
    are daemons, so that the end of the process does not wait for a name server.
    """

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(MOST_AT_ONCE)

    async def addresses(self, name: str) -> Sequence[str]:
        """Return the addresses of ``name``, at least one, in the order in which to try them.

        If this is cancelled, the lookup ends by itself.

        Raises:
            OSError: the name has no address, or the lookup failed.

        """
        await self._free.acquire()
        loop = asyncio.get_running_loop()
        found = loop.create_future()

        def settle(result: Sequence[str] | OSError) -> None:
            self._free.release()
            if found.done():  # nobody waits for it any more
                return
            if isinstance(result, OSError):
                found.set_exception(result)
            else:
                found.set_result(result)

        def look_up() -> None:
            result = _look_up(name)
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(settle, result)

        try:
            threading.Thread(target=look_up, name="potassium-name", daemon=True).start()
        except RuntimeError:  # the system cannot start another thread
            self._free.release()
            raise OSError("no thread left to look up the name") from None
        addresses: Sequence[str] = await found
        return addresses


def _look_up(name: str) -> Sequence[str] | OSError:
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except OSError as error:
        return error
    except ValueError:  # a label that is empty or too long fails in the codec
        return socket.gaierror(socket.EAI_NONAME, "no such name")
    addresses = dict.fromkeys(str(address[0]) for *_, address in found)
    return list(addresses) or socket.gaierror(socket.EAI_NONAME, "no address")
