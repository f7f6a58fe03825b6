"""Which webhook URLs of clients are accepted."""

import asyncio
import socket
import threading
from collections.abc import Sequence
from contextlib import suppress
from ipaddress import ip_address

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

import potassium.webhooks.client_urls
from potassium.errors import WebhookUrlRefused
from potassium.webhooks.addresses import PermittedAddresses
from potassium.webhooks.client_urls import checked_url
from potassium.webhooks.resolver import Resolver

SECRET = "hunter2"  # noqa: S105 - nobody's


class NameServer:
    """Knows some names, and records what it is asked for; an address resolves to itself."""

    def __init__(self, **names: Sequence[str]) -> None:
        self.names = {name.replace("_", "."): addresses for name, addresses in names.items()}
        self.asked: list[str] = []

    async def __call__(self, name: str) -> Sequence[str]:
        self.asked.append(name)
        with suppress(ValueError):
            return [str(ip_address(name))]
        if name not in self.names:
            raise OSError("no such name")
        return self.names[name]


async def check(url: str, *allow: str, server: NameServer | None = None) -> str:
    server = server or NameServer(example_com=["8.8.8.8", "2606:4700::1111"])
    return await checked_url(url, PermittedAddresses(allow), server)


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com",
        "https://example.com/done?job=1",
        "HTTPS://EXAMPLE.com:8443/done",
        "http://8.8.8.8/done",
        "http://[2606:4700::1111]:80/done",
        "http://[2A00:1450::ABCD]/done",
        "https://example.com/a@b/http://c",
    ],
)
async def test_public_urls_are_taken(url: str) -> None:
    """An http or https URL that leads to a public address is accepted as it is."""
    assert httpx.URL(await check(url)) == httpx.URL(url)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com/done",
        "//example.com/done",
        "ftp://example.com/",
        "file:///etc/passwd",
        "gopher://example.com/",
        "http:example.com",
        "http:/example.com",
        "http://",
        "http:///done",
        "http://:80/done",
        "http://?host",
        " http://example.com/",
        "http://example.com/ done",
        "http://example.com/\r\nX-Evil: 1",
        "http://exa\tmple.com/",
        "http://example.com/\0",
        "http://example.com/\u2028",
        "http://example.com/\u00a0",
        "http://example.com:0/",
        "http://example.com:65536/",
        "http://example.com:-1/",
        "http://example.com:http/",
        "http://user@example.com/",
        "http://user:hunter2@example.com/",
        "http://@example.com/",
        "http://127.0.0.1\\@example.com/",
        "http://example.com\\.evil/",
        "http://exa%6dple.com/",
        "http://exam ple.com/",
        "http://[::1/",
        "http://::1/",
        "http://[example.com]/",
        "http://[v1.a]/",
        "http://example.com]/",
        "http://" + "a" * 3000 + "/",
        "http://example.com/" + "a" * 2048,
        "http://\u2100.com/",
    ],
)
async def test_what_is_no_url_to_post_to_is_refused(url: str) -> None:
    """Other schemes, users, empty hosts, invalid ports, blanks and overlong URLs are refused."""
    server = NameServer(example_com=["8.8.8.8"])
    with pytest.raises(WebhookUrlRefused):
        await check(url, "0.0.0.0/0", "::/0", server=server)
    assert server.asked == []


@pytest.mark.parametrize(
    "host",
    [
        "2130706433",
        "0x7f000001",
        "0X7F000001",
        "0x7f.0.0.1",
        "0x",
        "0177.0.0.1",
        "127.1",
        "127.0.1",
        "127.0.0.0x1",
        "127.0.0.1.",
        "134744072",
        "8.8.2056",
        "08.8.8.8",
        "8.8.8.8.8",
        "256.8.8.8",
        "1.example.0x7f",
        "\uff11\uff12\uff17.0.0.1",
    ],
)
async def test_numbers_that_may_be_addresses_are_refused(host: str) -> None:
    """A host that some resolver reads as an address is refused if it is not a dotted quad."""
    server = NameServer()
    with pytest.raises(WebhookUrlRefused):
        await check(f"http://{host}/", "0.0.0.0/0", server=server)
    assert server.asked == []


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127\u30020\u30020\u30021",
        "169.254.169.254",
        "10.0.0.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "[fe80::1]",
        "[fe80::1%25eth0]",
        "[fe80::1%eth0]",
        "[2606:4700::1111%251]",
    ],
)
async def test_addresses_that_are_not_public_are_refused(host: str) -> None:
    """An address in the URL is checked like one that a name leads to."""
    with pytest.raises(WebhookUrlRefused):
        await check(f"http://{host}/")


@pytest.mark.parametrize("url", ["http://127.0.0.1:8000/", "http://[::ffff:127.0.0.1]/"])
async def test_networks_can_be_allowed(url: str) -> None:
    """A URL that leads to an allowed network is accepted."""
    assert await check(url, "127.0.0.0/8")


@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["8.8.8.8", "10.0.0.1"], ["8.8.8.8", "::1"]])
async def test_names_that_lead_inside_are_refused(addresses: Sequence[str]) -> None:
    """One address that is not public is enough to refuse a name."""
    server = NameServer(example_com=addresses)
    with pytest.raises(WebhookUrlRefused, match="public"):
        await check("http://example.com/", server=server)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "localhost."])
async def test_localhost_is_refused(host: str) -> None:
    """With the real resolver, localhost leads to loopback."""
    with pytest.raises(WebhookUrlRefused):
        await checked_url(f"http://{host}/", PermittedAddresses(), Resolver().addresses)


async def test_slow_names_of_others_refuse_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """If no name can be looked up, a URL is accepted until its delivery, unless it is an address.

    Each attempt checks the addresses that it connects to.
    """
    go = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: go.wait(10) and [])
    names = Resolver(4, waits=False)
    slow = [asyncio.create_task(names.addresses(f"{one}.test")) for one in range(4)]
    await asyncio.sleep(0)
    try:
        resolve = names.addresses
        url = await checked_url("http://Example.com/", PermittedAddresses(), resolve)
        assert url == "http://example.com/"
        with pytest.raises(WebhookUrlRefused, match="not lead to a public address"):
            await checked_url("http://127.0.0.1/", PermittedAddresses(), resolve)
    finally:
        go.set()
    await asyncio.gather(*slow, return_exceptions=True)


async def test_a_name_that_does_not_resolve_is_refused() -> None:
    """The client learns that its name does not resolve."""
    with pytest.raises(WebhookUrlRefused, match="does not resolve"):
        await check("http://no.such.example/")


async def test_a_slow_name_server_does_not_hold_the_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A name that cannot be looked up in time is refused."""
    monkeypatch.setattr(potassium.webhooks.client_urls, "LOOKUP_TIME", 0.01)

    async def never(name: str) -> Sequence[str]:
        await asyncio.Event().wait()
        return []

    with pytest.raises(WebhookUrlRefused, match="in time"):
        await checked_url("http://example.com/", PermittedAddresses(), never)


@pytest.mark.parametrize("host", ["B\u00fccher.example", "b\u00fccher\u3002example"])
async def test_names_are_sent_as_they_were_checked(host: str) -> None:
    """An internationalized name is looked up, and kept for sending, in its ASCII form."""
    ascii_name = "xn--bcher-kva.example"
    server = NameServer()
    server.names[ascii_name] = ["8.8.8.8"]
    url = await check(f"https://{host}/done", server=server)
    assert (url, server.asked) == (f"https://{ascii_name}/done", [ascii_name])
    assert httpx.URL(url).raw_host.decode() == ascii_name


@pytest.mark.parametrize(
    "url",
    [
        f"ftp://{SECRET}/",
        f"http://user:{SECRET}@example.com/?{SECRET}",
        f"http://no.such.example/{SECRET}?{SECRET}",
        f"http://127.0.0.1/{SECRET}",
        f"http://127.1/{SECRET}",
        f"http://example.com:{SECRET}/",
        f"http://{SECRET}%00/",
        f"http://example.com/{SECRET}\n",
    ],
)
async def test_a_refusal_repeats_nothing(url: str) -> None:
    """The error that a client gets contains no part of its URL."""
    with pytest.raises(WebhookUrlRefused) as refused:
        await check(url)
    assert SECRET not in refused.value.detail
    assert refused.value.detail


@given(st.text() | st.from_regex(r"https?://[^\n]{0,40}", fullmatch=True))
def test_any_text_is_taken_or_refused(url: str) -> None:
    """Nothing but a refusal is raised, and the host of an accepted URL has been checked."""
    server = NameServer()
    try:
        taken = asyncio.run(check(url, server=server))
    except WebhookUrlRefused:
        return
    assert httpx.URL(taken).raw_host.decode().lower() == server.asked[-1]
    assert httpx.URL(taken).scheme in ("http", "https")
