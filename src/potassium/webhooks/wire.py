"""Sends requests over the network, directly or through a proxy."""

import ssl
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import contextmanager

import httpcore
import httpx

from potassium.webhooks.resolver import Resolve
from potassium.webhooks.status_line import Heard

__all__ = ["Wire"]

MOST_TRIED = 4  # addresses of one name
MOST_IDLE = 20  # connections kept for the next request
LONGEST_IDLE = 5.0  # seconds

ERRORS = (
    httpcore.TimeoutException,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.ProxyError,
    httpcore.UnsupportedProtocol,
)


class Wire(httpx.AsyncBaseTransport):
    """The connections of one HTTP client.

    ``httpx.AsyncHTTPTransport`` neither shows the beginning of an answer that it refuses, nor lets
    names be looked up by anything but the event loop's few threads. Here a connection goes to the
    address that ``resolve`` has returned, and the receiver still sees the name: in ``Host``, and
    in TLS, where its certificate must be for the name.

    Args:
        trust: decides which certificates of receivers and proxies are trusted.
        proxy: the URL of the HTTP proxy that all requests go through; None for none.
        resolve: looks up names; a proxy's alone, if there is one.
        keeps: whether connections are kept for the next request to the same receiver.

    """

    def __init__(
        self, trust: ssl.SSLContext, resolve: Resolve, *, proxy: str | None = None, keeps: bool
    ) -> None:
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=trust,
            proxy=None if proxy is None else _proxy(proxy, trust),
            max_connections=None,
            max_keepalive_connections=MOST_IDLE if keeps else 0,
            keepalive_expiry=LONGEST_IDLE,
            network_backend=_Network(resolve),
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and return the answer, as ``httpx.AsyncHTTPTransport`` does.

        Raises:
            httpx.TransportError: the request failed.

        """
        url = httpcore.URL(
            scheme=request.url.raw_scheme,
            host=request.url.raw_host,
            port=request.url.port,
            target=request.url.raw_path,
        )
        with _errors_of_httpx():
            answer = await self._pool.handle_async_request(
                httpcore.Request(
                    request.method,
                    url,
                    headers=request.headers.raw,
                    content=request.stream,
                    extensions=_without_dot(url) | request.extensions,
                )
            )
        return httpx.Response(
            answer.status,
            headers=answer.headers,
            stream=_Body(answer),
            extensions=answer.extensions,
        )

    async def aclose(self) -> None:
        """Close all connections."""
        await self._pool.aclose()


class _Body(httpx.AsyncByteStream):
    """The body of an answer."""

    def __init__(self, answer: httpcore.Response) -> None:
        self._answer = answer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _errors_of_httpx():
            async for part in self._answer.aiter_stream():
                yield part

    async def aclose(self) -> None:
        await self._answer.aclose()


class _Network(httpcore.AnyIOBackend):
    """Looks up names with ``resolve``, and listens to what is received."""

    def __init__(self, resolve: Resolve) -> None:
        self._resolve = resolve

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - as inherited
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        try:
            addresses = (await self._resolve(host))[:MOST_TRIED]
        except PermissionError as error:
            raise httpcore.ConnectError(str(error)) from None
        except OSError:
            raise httpcore.ConnectError("its name does not resolve") from None
        share = None if timeout is None else timeout / len(addresses)
        for number, address in enumerate(addresses, 1):
            try:
                return Heard(
                    await super().connect_tcp(address, port, share, local_address, socket_options)
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if number == len(addresses):
                    raise
        raise AssertionError  # pragma: no cover - there is at least one address


def _proxy(url: str, trust: ssl.SSLContext) -> httpcore.Proxy:
    proxy = httpx.Proxy(url)
    return httpcore.Proxy(
        str(proxy.url),
        auth=proxy.raw_auth,
        ssl_context=trust if proxy.url.scheme == "https" else None,
    )


def _without_dot(url: httpcore.URL) -> dict[str, str]:
    """Return the extension that asks for a certificate for a name without the dot at its end."""
    name = url.host.decode("ascii")
    return {"sni_hostname": name.removesuffix(".")} if name.endswith(".") else {}


@contextmanager
def _errors_of_httpx() -> Iterator[None]:
    try:
        yield
    except ERRORS as error:
        raise getattr(httpx, type(error).__name__)(str(error)) from error
