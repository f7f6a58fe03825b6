"""Deliveries through a proxy, and to receivers whose certificates a private CA has issued."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trustme
from webhooks.fake_store import delivery_to
from webhooks.proxies import Proxy, proxying
from webhooks.receivers import GONE, Receiver, answering, receiving

from potassium.config import Webhooks
from potassium.webhooks.model import Delivery, DeliveryAttempt
from potassium.webhooks.poster import Poster

LOOPBACK = ["127.0.0.0/8"]


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


@pytest.fixture
async def proxy() -> AsyncIterator[Proxy]:
    async with proxying() as proxy:
        yield proxy


@pytest.fixture
def authority() -> trustme.CA:
    """Return a CA that nobody else knows."""
    return trustme.CA()


@pytest.fixture
async def secure(authority: trustme.CA) -> AsyncIterator[Receiver]:
    """Run a receiver with a certificate of that CA."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    # The server's side of a failed handshake is of no interest.
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    async with receiving(context) as receiver:
        yield receiver


@pytest.fixture
def bundle(authority: trustme.CA, tmp_path: Path) -> str:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


def https(receiver: Receiver) -> str:
    return receiver.url.replace("http://", "https://")


async def posted(delivery: Delivery, options: Webhooks) -> DeliveryAttempt:
    post = Poster(options)
    try:
        async with asyncio.timeout(10):
            return await post(delivery)
    finally:
        await post.aclose()


async def test_the_apps_own_urls_go_through_the_proxy(receiver: Receiver, proxy: Proxy) -> None:
    """The proxy gets its credentials and the whole URL, and the receiver gets the delivery."""
    attempt = await posted(delivery_to(receiver.url), Webhooks(proxy=proxy.url))
    assert attempt.error is None
    assert proxy.targets == [f"POST {receiver.url}"]
    assert "proxy-authorization: basic " in proxy.heads[0].lower()
    assert receiver.requests[0].body == b'{"out":1}'


async def test_https_goes_through_a_tunnel(secure: Receiver, proxy: Proxy, bundle: str) -> None:
    """The proxy sees nothing but host and port, and the receiver's certificate is verified."""
    trusting = Webhooks(proxy=proxy.url, verify=bundle)
    assert (await posted(delivery_to(https(secure)), trusting)).error is None
    assert proxy.targets == [f"CONNECT 127.0.0.1:{secure.port}"]
    assert secure.requests[0].line == "POST /done HTTP/1.1"
    attempt = await posted(delivery_to(https(secure)), Webhooks(proxy=proxy.url))
    assert (attempt.status, len(secure.requests)) == (None, 1)


async def test_clients_urls_do_not_go_through_the_proxy(receiver: Receiver, proxy: Proxy) -> None:
    """The proxy would look the name up by itself, and so connect to what nobody has checked."""
    options = Webhooks(proxy=proxy.url, client_urls=True, allow=LOOPBACK)
    attempt = await posted(delivery_to(receiver.url, is_guarded=True), options)
    assert attempt.error is None
    assert proxy.heads == []


async def test_a_proxy_leads_no_client_inside(receiver: Receiver, proxy: Proxy) -> None:
    """With a proxy, too, clients' URLs reach no private network."""
    options = Webhooks(proxy=proxy.url, client_urls=True)
    attempt = await posted(delivery_to(receiver.url, is_guarded=True), options)
    assert attempt.error == "its address is not public"
    assert (proxy.heads, receiver.connections) == ([], 0)


@pytest.mark.parametrize(
    "refusal", [GONE, answering(407), answering(200), b"nonsense\r\n\r\n", b""]
)
async def test_a_proxy_does_not_answer_for_the_receiver(proxy: Proxy, refusal: bytes) -> None:
    """Whatever a proxy says about a tunnel, the delivery has not arrived, and is tried again."""
    proxy.refusal = refusal or b"\0"
    attempt = await posted(delivery_to("https://a.test/"), Webhooks(proxy=proxy.url, timeout=1))
    assert (attempt.status, attempt.next_at is None) == (None, False)
    assert attempt.error
    assert "hunter2" not in repr(attempt)


async def test_a_private_authority_is_trusted_where_asked_for(
    secure: Receiver, bundle: str
) -> None:
    """The file of its certificate is enough, for the app's own URLs and for clients' URLs."""
    for is_guarded in (False, True):
        delivery = delivery_to(https(secure), is_guarded=is_guarded)
        assert (await posted(delivery, Webhooks(verify=bundle, allow=LOOPBACK))).error is None


async def test_a_context_decides_what_is_trusted(secure: Receiver, authority: trustme.CA) -> None:
    """An ``ssl.SSLContext`` is used as it is."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    assert (await posted(delivery_to(https(secure)), Webhooks(verify=context))).error is None


@pytest.mark.parametrize("is_guarded", [False, True])
async def test_the_environment_adds_no_trust(
    secure: Receiver, bundle: str, monkeypatch: pytest.MonkeyPatch, is_guarded: bool
) -> None:
    """Certificates that only variables name are not trusted."""
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.setenv(name, bundle)
    monkeypatch.setenv("SSL_CERT_DIR", str(Path(bundle).parent))
    delivery = delivery_to(https(secure), is_guarded=is_guarded)
    attempt = await posted(delivery, Webhooks(allow=LOOPBACK))
    assert attempt.error is not None
    assert "certificate" in attempt.error
    assert secure.requests == []


async def test_the_environment_takes_no_trust(
    secure: Receiver, bundle: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What the app trusts does not depend on the environment."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "missing.pem"))
    assert (await posted(delivery_to(https(secure)), Webhooks(verify=bundle))).error is None


async def test_the_bundle_is_found_wherever_the_app_works(
    secure: Receiver, bundle: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A relative path counts from where the app was when it named it."""
    monkeypatch.chdir(tmp_path)
    options = Webhooks(verify="ca.pem")
    monkeypatch.chdir("/")
    assert (await posted(delivery_to(https(secure)), options)).error is None
