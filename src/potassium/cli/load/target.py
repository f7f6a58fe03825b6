"""The request that a load consists of."""

from contextlib import closing
from dataclasses import dataclass

import httpx

from potassium.cli.remote.inputs import Input
from potassium.cli.remote.server import Server
from potassium.client import calls
from potassium.client.options import ClientSettings, Options
from potassium.client.steps import Send

__all__ = ["Target", "target_of"]

OURS = ("transfer-encoding", "content-length", "accept-encoding")  # headers that are set here


@dataclass(frozen=True, kw_only=True)
class Target:
    """What is called.

    Attributes:
        url: of the handler.
        request: the bytes of a request.
        host: where to connect to.
        port: where to connect to.
        is_tls: whether the connection is encrypted.

    """

    url: str
    request: bytes
    host: str
    port: int
    is_tls: bool


def target_of(server: Server, path: str, given: Input) -> Target:
    """Return what the client would send for a call, as bytes; nothing is sent.

    Answers are not compressed unless ``given`` asks for that.
    """
    options = ClientSettings(**server.options)
    with httpx.Client(**options.arguments(server.url)) as http:
        settings = options.settings(http.build_request)
        flow = calls.stream(settings, path, given.item, bytes, Options(**given.options))
        with closing(flow):
            step = next(flow)
            assert isinstance(step, Send)  # noqa: S101 - the first step of every call
            request = step.request
            body = request.read()  # while its files are open
    wanted = httpx.Headers(given.headers)
    head = [b"%b %b HTTP/1.1" % (request.method.encode(), request.url.raw_path)]
    head += [
        b"%b: %b" % (name, value)
        for name, value in request.headers.raw
        if (key := name.decode().lower()) not in OURS or (key in wanted and key == OURS[-1])
    ]
    head.append(b"Content-Length: %d" % len(body))
    is_tls = request.url.scheme == "https"
    return Target(
        url=str(request.url.copy_with(userinfo=b"")),
        request=b"\r\n".join([*head, b"", body]),
        host=request.url.host,
        port=request.url.port or (443 if is_tls else 80),
        is_tls=is_tls,
    )
