"""Names of hosts, looked up where a slow name server holds nobody else up."""

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

__all__ = ["Resolve", "Resolver"]

MOST_AT_ONCE = 64  # lookups; each has a thread for as long as the name server takes

Resolve = Callable[[str], Awaitable[Sequence[str]]]


class Resolver:
    """Looks names up, each in a thread of its own.

    Not in the event loop's threads: those are few, a lookup cannot be called off, and whoever
    chooses the names could fill them all with slow ones. Belongs to one event loop. The threads
    are daemons: the end of the process does not wait for a name server.
    """

    def __init__(self) -> None:
        """Have nothing looked up yet."""
        self._free = asyncio.Semaphore(MOST_AT_ONCE)

    async def addresses(self, name: str) -> Sequence[str]:
        """Return the addresses of ``name``, the one to try first before others; at least one.

        Cancellation leaves the lookup to end by itself.

        Raises:
            OSError: there are none, or nobody can tell.

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
        except RuntimeError:  # the system gives no more threads
            self._free.release()
            raise OSError("no thread left to look the name up") from None
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
