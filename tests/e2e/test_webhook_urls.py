"""Row 31 of the fault table: client URLs that lead where clients must not reach."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from e2e.jobs import IMPORTS, SERVE, attempts, get, post, submit
from e2e.receiver import Receiver, receive
from e2e.server import Server, Start, error, serve_source, wait_until
from e2e.wire import call, events

SOURCE = (
    IMPORTS
    + """
import socket

resolve = socket.getaddrinfo


def resolve_for_tests(host, port, *args, **kwargs):
    # Names under .test: what they resolve to is written in a file of that name.
    host = host.decode() if isinstance(host, bytes) else host
    if not host or not host.endswith(".test"):
        return resolve(host, port, *args, **kwargs)
    addresses = pathlib.Path(host).read_text().split()
    return [found for one in addresses for found in resolve(one, port, *args, **kwargs)]


socket.getaddrinfo = resolve_for_tests

app = Potassium(
    "server",
    jobs=Jobs(),
    webhooks=Webhooks(client_urls=True, allow=os.environ.get("ALLOW", "").split()),
)


@app.background("/hold")
def held(cache, json_in):
    return hold(json_in)
"""
    + SERVE
)
BASIC_LOOP: dict[str, Any] = {
    "target": "app",
    "arguments": ["--loop", "asyncio"],
}  # resolves with ``socket``
PUBLIC = "93.184.216.34"  # no test sends anything there

PRIVATE = [
    *("127.0.0.1", "127.0.0.1:8000", "127.8.9.10", "0.0.0.0", "localhost", "LOCALHOST"),
    *("10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1", "169.254.169.254"),
    *("192.0.0.1", "192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.1"),
    *("224.0.0.1", "240.0.0.1", "255.255.255.255"),
    *("[::1]", "[::]", "[fe80::1]", "[fc00::1]", "[fd12:3456::1]", "[ff02::1]", "[2001:db8::1]"),
]
CODED = [
    *("2130706433", "0x7f000001", "0x7f.0.0.1", "0177.0.0.1", "017700000001", "127.1", "127.0.1"),
    *("0", "10.1", "0xa9fea9fe", "2852039166", "3232235777", "127.0.0.1.", "localhost."),
    *("%31%32%37.0.0.1", "127.0.0.1%2f", "127%2e0%2e0%2e1"),
]
TUNNELLED = [
    *("[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::ffff:10.0.0.1]", "[::127.0.0.1]"),
    *("[64:ff9b::7f00:1]", "[64:ff9b::10.0.0.1]", "[64:ff9b::a9fe:a9fe]", "[64:ff9b:1::a00:1]"),
    *("[2002:7f00:1::]", "[2002:a00:1::1]", "[2002:c0a8:101::1]", "[2002:a9fe:a9fe::]"),
    *("[2001:0:7f00:1::80ff:fffe]", "[::ffff:0:127.0.0.1]", "[fe80::1%25eth0]", "[::1%25lo]"),
]
NO_URLS = [
    *("ftp://93.184.216.34/", "file:///etc/passwd", "gopher://93.184.216.34/", "data:,hook"),
    *("javascript:alert(1)", "unix:///run/docker.sock", "ws://93.184.216.34/"),
    *("93.184.216.34/hook", "//93.184.216.34/", "/hook", "http", "http:", "http://", "https:///a"),
    *("http:93.184.216.34", "http:/93.184.216.34", "http://:80/", "http://[::1/", "http://[]/"),
    *("http://93.184.216.34:99999/", "http://93.184.216.34:port/", "http://93.184.216.34:-1/"),
    *("http://a b.example/", "http://93.184.216.34\\@127.0.0.1/", "http://.../", "http://a..b/"),
]
USERINFO = [
    *("http://user@93.184.216.34/", "http://user:secret@93.184.216.34/"),
    *("http://:@93.184.216.34/", "http://@93.184.216.34/", "http://93.184.216.34@127.0.0.1/"),
]
REFUSED = [
    *(f"http://{host}/hook" for host in [*PRIVATE, *CODED, *TUNNELLED]),
    *(f"https://{host}/hook" for host in ("127.0.0.1", "localhost", "[::1]", "2130706433")),
    *NO_URLS,
    *USERINFO,
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("urls")


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    with serve_source(SOURCE, folder, **BASIC_LOOP) as server:
        submit(server, "/hold", call("holder", folder / "never"))  # so that no other job begins
        yield server


@pytest.mark.parametrize("url", REFUSED)
def test_a_url_into_private_networks_is_refused(server: Server, folder: Path, url: str) -> None:
    """The URL is answered 422 at submit, however it is written, and no job is made."""
    response = post(server, "/hold", call("a", folder), {"Webhook-Url": url})
    assert error(response) == (422, "webhook_url_refused")
    assert len(get(server, "/jobs").json()["jobs"]) == 1


@pytest.mark.parametrize("host", ["①②⑦.⓪.⓪.①", "127。0。0。1", "ⓛⓞⓒⓐⓛⓗⓞⓢⓣ"])
def test_a_url_of_odd_characters_is_refused(server: Server, folder: Path, host: str) -> None:
    """Characters that only look like digits or letters are refused too."""
    with server.client() as http:
        headers = {b"Webhook-Url": f"http://{host}/".encode()}
        response = http.post("/hold", json=call("a", folder), headers=headers)
    assert error(response) == (422, "webhook_url_refused")


@pytest.mark.parametrize(
    "addresses", ["127.0.0.1", "10.0.0.1", f"{PUBLIC} 10.0.0.1", f"10.0.0.1 {PUBLIC}", "::1"]
)
def test_a_name_of_a_private_address_is_refused(
    server: Server, folder: Path, addresses: str
) -> None:
    """A name is refused even if only one of its addresses is private."""
    (folder / "private.test").write_text(addresses)
    response = post(server, "/hold", call("a", folder), {"Webhook-Url": "http://private.test/"})
    assert error(response) == (422, "webhook_url_refused")


def test_a_refusal_tells_nothing_of_the_network(server: Server, folder: Path) -> None:
    """The client does not learn what a name resolves to inside the network."""
    (folder / "inside.test").write_text("10.11.12.13")
    response = post(server, "/hold", call("a", folder), {"Webhook-Url": "http://inside.test/"})
    assert "10.11.12.13" not in response.text


@pytest.mark.parametrize(
    "url",
    [
        f"http://{PUBLIC}/hook",
        f"https://{PUBLIC}:8443/hook?token=a",
        "https://[2606:2800:220:1::1]/hook",
        "http://public.test/",
        "HTTPS://public.test/",
    ],
)
def test_a_public_url_is_accepted(start: Start, tmp_path: Path, url: str) -> None:
    """The job is accepted; it waits until the server is gone, so that nothing is sent."""
    (tmp_path / "public.test").write_text(PUBLIC)
    server = start(SOURCE, **BASIC_LOOP)
    submit(server, "/hold", call("a", tmp_path / "never"), {"Webhook-Url": url})
    server.process.kill()
    server.process.wait()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receive() as receiver:
        yield receiver


def test_an_allowed_network_is_reached(
    start: Start, tmp_path: Path, gate: Path, receiver: Receiver
) -> None:
    """``allow`` opens the networks that it lists, by address and by name, and nothing else."""
    gate.touch()
    (tmp_path / "here.test").write_text("127.0.0.1")
    server = start(SOURCE, env={"ALLOW": "127.0.0.0/8"}, **BASIC_LOOP)
    for host in ("127.0.0.1", "here.test"):
        url = f"http://{host}:{receiver.port}/"
        submit(server, "/hold", call("a", gate), {"Webhook-Url": url})
        assert receiver.next().headers["host"] == f"{host}:{receiver.port}"
    response = post(server, "/hold", call("a", gate), {"Webhook-Url": "http://10.0.0.1/"})
    assert error(response) == (422, "webhook_url_refused")


def test_a_name_that_changes_in_between_does_not_help(
    start: Start, tmp_path: Path, gate: Path, receiver: Receiver, name: str
) -> None:
    """If a public name resolves to loopback at delivery, the attempt fails and sends nothing."""
    (tmp_path / "rebinds.test").write_text(PUBLIC)
    server = start(SOURCE, **BASIC_LOOP)
    url = f"http://rebinds.test:{receiver.port}/"
    job = submit(server, "/hold", call(name, gate), {"Webhook-Url": url})
    wait_until(lambda: events(server, name), "the job at work")
    (tmp_path / "rebinds.test").write_text("127.0.0.1")
    gate.touch()
    wait_until(lambda: attempts(server, job), "the attempt", seconds=10)
    [attempt] = attempts(server, job)
    assert attempt["status"] is None
    assert attempt["error"]
    assert receiver.all() == []
