"""Sends requests to URLs that clients choose, only to addresses that were checked."""

import httpx

from potassium.webhooks.addresses import PermittedAddresses
from potassium.webhooks.resolver import Resolve

__all__ = ["GuardedTransport"]

MOST_TRIED = 4  # addresses of one name


class GuardedTransport(httpx.AsyncBaseTransport):
    """Looks up each request's host, and connects to the very address that it has checked.

    The name is not looked up a second time, so a name server that then answers something else has
    no effect. The receiver still sees the name: in ``Host``, and in TLS, where its certificate must
    be for the name. Connections are not kept, so that one made for a name is not used for another
    name with the same address.

    Args:
        transport: sends the requests; it must not keep connections. By default one is created.

    """

    def __init__(
        self,
        permitted: PermittedAddresses,
        resolve: Resolve,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._permitted = permitted
        self._resolve = resolve
        self._transport = transport or httpx.AsyncHTTPTransport(
            trust_env=False, limits=httpx.Limits(max_keepalive_connections=0)
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request to the first address of its host that can be reached.

        Raises:
            httpx.ConnectError: the name does not resolve, one of its addresses is not permitted,
                or none can be reached.
            httpx.TransportError: the request failed in another way.

        """
        name = request.url.raw_host.decode("ascii")
        addresses = await self._addresses(name, request)
        for number, address in enumerate(addresses, 1):
            try:
                return await self._transport.handle_async_request(
                    _sent_to(address, name, request, len(addresses))
                )
            except (httpx.ConnectError, httpx.ConnectTimeout):
                if number == len(addresses):
                    raise
        raise AssertionError  # pragma: no cover - there is at least one address

    async def aclose(self) -> None:
        """Close the underlying transport."""
        await self._transport.aclose()

    async def _addresses(self, name: str, request: httpx.Request) -> list[str]:
        try:
            addresses = await self._resolve(name)
        except OSError:
            raise httpx.ConnectError("its name does not resolve", request=request) from None
        if not addresses or not all(self._permitted.permits(address) for address in addresses):
            # Do not say which one: the client may read this.
            raise httpx.ConnectError("its address is not public", request=request)
        return list(addresses[:MOST_TRIED])


def _sent_to(address: str, name: str, request: httpx.Request, addresses: int) -> httpx.Request:
    """Return ``request`` with ``address`` as its host, and a share of the connect timeout."""
    extensions = dict(request.extensions)
    if address != name:
        extensions["sni_hostname"] = name.removesuffix(".")
    timeouts = dict(extensions.get("timeout", {}))
    if timeouts.get("connect") is not None:
        timeouts["connect"] /= addresses
        extensions["timeout"] = timeouts
    return httpx.Request(
        request.method,
        request.url.copy_with(host=address),
        headers=request.headers,  # they include Host, with the name
        stream=request.stream,
        extensions=extensions,
    )
