"""Looks up the hosts of URLs that clients choose, and refuses addresses that are not permitted."""

from collections.abc import Sequence

from potassium.webhooks.addresses import PermittedAddresses
from potassium.webhooks.resolver import Resolve

__all__ = ["Guard"]


class Guard:
    """A ``Resolve`` that raises unless all addresses of a name are permitted.

    Connections go to the very addresses that it returns, so a name server that answers something
    else a moment later has no effect.
    """

    def __init__(self, permitted: PermittedAddresses, resolve: Resolve) -> None:
        self._permitted = permitted
        self._resolve = resolve

    async def __call__(self, name: str) -> Sequence[str]:
        """Return the addresses of ``name``, at least one, in the order in which to try them.

        Raises:
            OSError: the name has no address, or one of them is not permitted.

        """
        addresses = await self._resolve(name)
        if not addresses or not all(self._permitted.permits(address) for address in addresses):
            # Do not say which one: the client may read this.
            raise PermissionError("its address is not public")
        return addresses
