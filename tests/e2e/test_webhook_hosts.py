"""Receivers that never answer: whom they hold up."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from e2e.jobs import IMPORTS, SERVE, post, submit
from e2e.receiver import receive
from e2e.server import serve_source

SOURCE = (
    IMPORTS
    + """
app = Potassium(
    "server", jobs=Jobs(), webhooks=Webhooks(client_urls=True, allow=["127.0.0.0/8"], timeout=60)
)


@app.background("/job")
def job(cache, json_in):
    return {}


@app.handler("/own")
@app.result_webhook(url=os.environ["RECEIVER"] + "/own")
def own(cache, json_in):
    return {}


@app.handler("/sends")
def sends(cache, json_in):
    send_webhook(json_in["url"], {})
"""
    + SERVE
)


@contextmanager
def silent(*addresses: str) -> Iterator[list[str]]:
    """Take connections at these addresses, and never answer; return the URLs."""
    with ExitStack() as rest:
        listening = [rest.enter_context(socket.create_server((one, 0))) for one in addresses]
        yield ["http://{}:{}/".format(*one.getsockname()) for one in listening]


@pytest.mark.parametrize(
    "addresses",
    [["127.0.0.1"] * 9, [f"127.0.1.{number}" for number in range(1, 100)]],
    ids=["ports", "addresses"],
)
def test_slow_receivers_of_clients_delay_nobody_else(tmp_path: Path, addresses: list[str]) -> None:
    """However many clients' receivers do not answer, the app's own gets its webhook at once."""
    with (
        silent(*addresses) as urls,
        receive() as receiver,
        serve_source(SOURCE, tmp_path, env={"RECEIVER": receiver.url}) as server,
    ):
        for number in range(200):
            submit(server, "/job", {}, {"Webhook-Url": urls[number % len(urls)]})
        post(server, "/own", {})
        assert receiver.next(seconds=5).path == "/own"


def test_slow_receivers_of_the_app_delay_nobody_else(tmp_path: Path) -> None:
    """However much waits for a few slow ones, the others get their webhooks at once."""
    with (
        silent(*["127.0.0.1"] * 12) as urls,
        receive() as receiver,
        serve_source(SOURCE, tmp_path, env={"RECEIVER": receiver.url}) as server,
    ):
        for number in range(200):
            post(server, "/sends", {"url": urls[number % len(urls)]})
        post(server, "/own", {})
        assert receiver.next(seconds=5).path == "/own"
        submit(server, "/job", {}, {"Webhook-Url": f"{receiver.url}/client"})
        assert receiver.next(seconds=5).path == "/client"
