"""Requests to URLs that clients choose, over real sockets."""

import asyncio
import ssl
from collections.abc import Sequence

import httpx
import pytest
import trustme
from webhooks.receivers import Receiver, receiving

from potassium.webhooks.addresses import PermittedAddresses
from potassium.webhooks.transport import GuardedTransport

LOOPBACK = ["127.0.0.0/8"]


class Answers:
    """A name server that gives one answer after the other, and then repeats the last."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, name: str) -> Sequence[str]:
        self.asked.append(name)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


class Wire(httpx.AsyncBaseTransport):
    """A transport that sends nothing, and records what it would have sent, and where."""

    def __init__(self, *refusing: str) -> None:
        self.refusing = refusing
        self.requests: list[httpx.Request] = []

    @property
    def addresses(self) -> list[str]:
        return [request.url.host for request in self.requests]

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if request.url.host in self.refusing:
            raise httpx.ConnectError("refused")
        return httpx.Response(200)


def client(
    resolve: Answers, *allow: str, wire: httpx.AsyncBaseTransport | None = None
) -> httpx.AsyncClient:
    transport = GuardedTransport(PermittedAddresses(allow), resolve, transport=wire)
    return httpx.AsyncClient(transport=transport, trust_env=False)


@pytest.mark.parametrize(
    "addresses", [["127.0.0.1"], ["8.8.8.8", "127.0.0.1"], ["8.8.8.8"] * 9 + ["::1"], []]
)
async def test_nothing_is_sent_where_one_address_is_not_public(addresses: list[str]) -> None:
    """All addresses of a name are checked before any is used."""
    wire = Wire()
    async with client(Answers(addresses), wire=wire) as http:
        with pytest.raises(httpx.ConnectError, match="not public"):
            await http.post("http://example.com/")
    assert wire.requests == []


async def test_a_name_that_moves_inside_later_is_refused_then() -> None:
    """A name that led outside at the first check is checked again with each request."""
    wire = Wire()
    async with client(Answers(["8.8.8.8"], ["127.0.0.1"]), wire=wire) as http:
        await http.post("http://example.com/")
        with pytest.raises(httpx.ConnectError, match="not public"):
            await http.post("http://example.com/")
    assert wire.addresses == ["8.8.8.8"]


async def test_nobody_looks_the_name_up_between_check_and_connection() -> None:
    """The connection goes to the address that was checked: there is no second lookup."""
    wire, resolve = Wire(), Answers(["8.8.8.8"], ["127.0.0.1"])
    async with client(resolve, wire=wire) as http:
        await http.post("http://example.com:8080/done")
    assert wire.addresses == ["8.8.8.8"]
    assert resolve.asked == ["example.com"]
    (request,) = wire.requests
    assert (request.url.port, request.headers["Host"]) == (8080, "example.com:8080")


async def test_addresses_in_urls_are_checked() -> None:
    """A URL whose host is an address goes through the same check."""
    async with client(Answers(["::1"]), wire=Wire()) as http:
        with pytest.raises(httpx.ConnectError, match="not public"):
            await http.post("http://[::1]/")


async def test_the_next_address_is_tried() -> None:
    """If one address cannot be reached, the next one is tried."""
    wire = Wire("8.8.8.8", "2606:4700::1111")
    resolve = Answers(["8.8.8.8", "2606:4700::1111", "1.1.1.1", "9.9.9.9"])
    async with client(resolve, wire=wire) as http:
        assert (await http.post("http://example.com/", content=b"{}")).status_code == 200
    assert wire.addresses == ["8.8.8.8", "2606:4700::1111", "1.1.1.1"]
    assert [await request.aread() for request in wire.requests] == [b"{}"] * 3


async def test_addresses_share_the_time_to_connect() -> None:
    """An address that never answers leaves time for the others."""
    wire = Wire()
    async with client(Answers(["8.8.8.8", "1.1.1.1"]), wire=wire) as http:
        await http.post("http://example.com/", timeout=10)
    assert wire.requests[0].extensions["timeout"] == {
        "connect": 5, "read": 10, "write": 10, "pool": 10,
    }  # fmt: skip


async def test_few_addresses_are_tried() -> None:
    """Of the many addresses that a name may have, only a few are tried."""
    many = [f"8.8.8.{number}" for number in range(50)]
    wire = Wire(*many)
    async with client(Answers(many), wire=wire) as http:
        with pytest.raises(httpx.ConnectError, match="refused"):
            await http.post("http://example.com/")
    assert len(wire.requests) == 4


async def test_a_name_that_does_not_resolve_is_a_connect_error() -> None:
    """A name that no longer resolves fails like a receiver that is down."""

    async def nothing(name: str) -> Sequence[str]:
        raise OSError("no such name")

    transport = GuardedTransport(PermittedAddresses(), nothing, transport=Wire())
    async with httpx.AsyncClient(transport=transport) as http:
        with pytest.raises(httpx.ConnectError, match="does not resolve"):
            await http.post("http://example.com/")


async def test_real_receivers_are_reached_by_name() -> None:
    """Over a real socket, a receiver in an allowed network gets the name from the URL."""
    async with receiving() as receiver, client(Answers(["127.0.0.1"]), *LOOPBACK) as http:
        answer = await http.post(f"http://example.com:{receiver.port}/done?a=1", content=b"{}")
        received = await receiver.next()
    assert answer.status_code == 200
    assert received.line == "POST /done?a=1 HTTP/1.1"
    assert received.headers["host"] == f"example.com:{receiver.port}"


async def test_real_receivers_inside_are_not_reached() -> None:
    """Over a real socket, a receiver that is not allowed sees no connection."""
    async with receiving() as receiver, client(Answers(["127.0.0.1"])) as http:
        with pytest.raises(httpx.ConnectError):
            await http.post(f"http://example.com:{receiver.port}/done")
    assert receiver.connections == 0


async def test_a_real_address_that_refuses_gives_way_to_the_next() -> None:
    """Over real sockets, a refused connection is followed by one to the next address."""
    async with receiving() as receiver:
        resolve = Answers(["127.0.0.9", "127.0.0.1"])
        async with client(resolve, *LOOPBACK) as http:
            await http.post(f"http://example.com:{receiver.port}/done", content=b"{}")
        assert (await receiver.next()).body == b"{}"


async def test_connections_are_not_shared_between_names() -> None:
    """Two names for one address have a connection each."""
    async with receiving() as receiver, client(Answers(["127.0.0.1"]), *LOOPBACK) as http:
        for name in ("one.example", "two.example"):
            await http.post(f"http://{name}:{receiver.port}/")
    assert [request.connection for request in receiver.requests] == [1, 2]


@pytest.mark.parametrize(
    ("certified", "called"),
    [
        ("example.com", "example.com"),
        ("example.com", "example.com."),
        ("xn--bcher-kva.example", "b\u00fccher.example"),
        ("127.0.0.1", "127.0.0.1"),
    ],
)
async def test_certificates_are_verified_for_the_name(certified: str, called: str) -> None:
    """TLS checks the name in the URL, although the connection goes to an address."""
    receiver = await posted_over_tls(certified, called)
    assert len(receiver.requests) == 1


@pytest.mark.parametrize("certified", ["other.example", "127.0.0.1"])
async def test_a_certificate_for_something_else_is_refused(certified: str) -> None:
    """A certificate for another name, or for the address that we connect to, is not enough."""
    with pytest.raises(httpx.ConnectError, match="certificate"):
        await posted_over_tls(certified, "example.com")


async def posted_over_tls(certified: str, called: str) -> Receiver:
    """Post to the name ``called``, at a receiver certified for ``certified``, and return it."""
    authority = trustme.CA()
    served = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(certified).configure_cert(served)
    trusted = ssl.create_default_context()
    authority.configure_trust(trusted)
    wire = httpx.AsyncHTTPTransport(
        verify=trusted, limits=httpx.Limits(max_keepalive_connections=0)
    )
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda *_: None)  # ignore the server's side of a failed handshake
    async with receiving(served) as receiver:
        async with client(Answers(["127.0.0.1"]), *LOOPBACK, wire=wire) as http:
            await http.post(f"https://{called}:{receiver.port}/done", content=b"{}")
        return receiver
