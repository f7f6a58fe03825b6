"""Connections to receivers, over a network of the test's own, and over real sockets."""

import asyncio
import ssl
from collections.abc import Sequence

import httpcore
import httpx
import pytest
import trustme
from webhooks.receivers import Receiver, receiving

from potassium.webhooks.addresses import PermittedAddresses
from potassium.webhooks.guard import Guard
from potassium.webhooks.wire import Wire

LOOPBACK = ["127.0.0.0/8"]
ANSWER = [b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"]


class Answers:
    """A name server that gives one answer after the other, and then repeats the last."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, name: str) -> Sequence[str]:
        self.asked.append(name)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


class Network:
    """Stands for all connections, and records where they go; some addresses refuse."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.refusing: Sequence[str] = ()
        self.tried: list[tuple[str, int, float | None]] = []
        self.streams: list[Recorded] = []
        patch.setattr(httpcore.AnyIOBackend, "connect_tcp", self.connect)

    async def connect(
        self,
        host: str,
        port: int,
        timeout: float | None,  # noqa: ASYNC109
        *_: object,
    ) -> httpcore.AsyncNetworkStream:
        self.tried.append((host, port, timeout))
        if host in self.refusing:
            raise httpcore.ConnectError("refused")
        self.streams.append(Recorded(list(ANSWER)))
        return self.streams[-1]

    @property
    def addresses(self) -> list[str]:
        return [address for address, _, _ in self.tried]


class Recorded(httpcore.AsyncMockStream):
    """A connection that answers, and keeps what was sent."""

    def __init__(self, answer: list[bytes]) -> None:
        super().__init__(answer)
        self.sent = b""

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        self.sent += buffer


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    return Network(monkeypatch)


def client(resolve: Answers, *allow: str, trust: ssl.SSLContext | None = None) -> httpx.AsyncClient:
    guard = Guard(PermittedAddresses(allow), resolve)
    wire = Wire(trust or ssl.create_default_context(), guard, keeps=False)
    return httpx.AsyncClient(transport=wire, trust_env=False)


@pytest.mark.parametrize(
    "addresses", [["127.0.0.1"], ["8.8.8.8", "127.0.0.1"], ["8.8.8.8"] * 9 + ["::1"], []]
)
async def test_nothing_is_sent_where_one_address_is_not_public(
    network: Network, addresses: list[str]
) -> None:
    """All addresses of a name are checked before any is used."""
    async with client(Answers(addresses)) as http:
        with pytest.raises(httpx.ConnectError, match="not public"):
            await http.post("http://example.com/")
    assert network.tried == []


async def test_a_name_that_moves_inside_later_is_refused_then(network: Network) -> None:
    """A name that led outside at the first check is checked again with each request."""
    async with client(Answers(["8.8.8.8"], ["127.0.0.1"])) as http:
        await http.post("http://example.com/")
        with pytest.raises(httpx.ConnectError, match="not public"):
            await http.post("http://example.com/")
    assert network.addresses == ["8.8.8.8"]


async def test_nobody_looks_the_name_up_between_check_and_connection(network: Network) -> None:
    """The connection goes to the address that was checked: there is no second lookup."""
    resolve = Answers(["8.8.8.8"], ["127.0.0.1"])
    async with client(resolve) as http:
        await http.post("http://example.com:8080/done")
    assert resolve.asked == ["example.com"]
    ((address, port, _),) = network.tried
    assert (address, port) == ("8.8.8.8", 8080)
    assert b"\r\nHost: example.com:8080\r\n" in network.streams[0].sent


async def test_addresses_in_urls_are_checked(network: Network) -> None:
    """A URL whose host is an address goes through the same check."""
    async with client(Answers(["::1"])) as http:
        with pytest.raises(httpx.ConnectError, match="not public"):
            await http.post("http://[::1]/")
    assert network.tried == []


async def test_the_next_address_is_tried(network: Network) -> None:
    """If one address cannot be reached, the next one is tried."""
    network.refusing = ["8.8.8.8", "2606:4700::1111"]
    resolve = Answers(["8.8.8.8", "2606:4700::1111", "1.1.1.1", "9.9.9.9"])
    async with client(resolve) as http:
        assert (await http.post("http://example.com/", content=b"{}")).status_code == 200
    assert network.addresses == ["8.8.8.8", "2606:4700::1111", "1.1.1.1"]
    assert network.streams[0].sent.endswith(b"\r\n\r\n{}")


async def test_addresses_share_the_time_to_connect(network: Network) -> None:
    """An address that never answers leaves time for the others."""
    async with client(Answers(["8.8.8.8", "1.1.1.1"])) as http:
        await http.post("http://example.com/", timeout=10)
    assert network.tried == [("8.8.8.8", 80, 5.0)]


async def test_few_addresses_are_tried(network: Network) -> None:
    """Of the many addresses that a name may have, only a few are tried."""
    network.refusing = [f"8.8.8.{number}" for number in range(50)]
    async with client(Answers(network.refusing)) as http:
        with pytest.raises(httpx.ConnectError, match="refused"):
            await http.post("http://example.com/")
    assert len(network.tried) == 4


async def test_a_name_that_does_not_resolve_is_a_connect_error(network: Network) -> None:
    """A name that no longer resolves fails like a receiver that is down."""

    async def nothing(name: str) -> Sequence[str]:
        raise OSError("no such name")

    wire = Wire(ssl.create_default_context(), nothing, keeps=True)
    async with httpx.AsyncClient(transport=wire) as http:
        with pytest.raises(httpx.ConnectError, match="does not resolve"):
            await http.post("http://example.com/")
    assert network.tried == []


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
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda *_: None)  # ignore the server's side of a failed handshake
    async with receiving(served) as receiver:
        async with client(Answers(["127.0.0.1"]), *LOOPBACK, trust=trusted) as http:
            await http.post(f"https://{called}:{receiver.port}/done", content=b"{}")
        return receiver
