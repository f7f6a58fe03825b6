"""Posting results to webhooks."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest

import potassium.runtime
import potassium.webhooks.sender
from potassium import Limits, Potassium, Response
from potassium.testing import client
from potassium.webhooks.sender import WebhookSender

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
ERROR = b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"
REDIRECT = b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n"


class Receiver:
    """A webhook receiver on a socket of its own."""

    def __init__(self) -> None:
        self.answer = OK
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.go = asyncio.Event()
        self.go.set()
        self.arrived = asyncio.Semaphore(0)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                line, *lines = head.decode().strip().split("\r\n")
                headers = dict(line.lower().split(": ", 1) for line in lines)
                body = await reader.readexactly(int(headers["content-length"]))
                self.requests.append((line, headers, body))
                self.arrived.release()
                await self.go.wait()
                writer.write(self.answer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def next(self) -> tuple[str, dict[str, str], bytes]:
        async with asyncio.timeout(5):
            await self.arrived.acquire()
        return self.requests[-1]


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    receiver.url = f"http://127.0.0.1:{port}/done"  # type: ignore[attr-defined]
    yield receiver
    server.close()


def url_of(receiver: Receiver) -> str:
    url: str = receiver.url  # type: ignore[attr-defined]
    return url


def app_with_webhook(
    url: str, result: Any, *, above: bool = True, grace_period: float = 30.0
) -> Potassium:
    app = Potassium("test", limits=Limits(grace_period=grace_period))

    def handler(cache: dict[str, Any], json_in: dict[str, Any]) -> Any:
        return result

    if above:
        app.result_webhook(url=url)(app.handler(handler))
    else:
        app.handler(app.result_webhook(url=url)(handler))
    return app


@pytest.mark.parametrize("above", [True, False])
async def test_the_returned_json_is_posted_onward(receiver: Receiver, above: bool) -> None:
    """The decorator works above and below @app.handler, and posts what was returned."""
    app = app_with_webhook(url_of(receiver), {"out": [1, 2]}, above=above)
    async with client(app) as http:
        await http.post("/", json={}, headers={"X-Request-Id": "r-1"})
        line, headers, body = await receiver.next()
    assert (line, body) == ("POST /done HTTP/1.1", b'{"out":[1,2]}')
    assert headers["content-type"] == "application/json"
    assert headers["x-request-id"] == "r-1"


async def test_the_caller_does_not_wait_for_the_receiver(receiver: Receiver) -> None:
    """The response is complete while the receiver has not answered."""
    receiver.go.clear()
    app = app_with_webhook(url_of(receiver), {"out": 1})
    async with client(app) as http:
        async with asyncio.timeout(5):
            assert (await http.post("/", json={})).json() == {"out": 1}
        await receiver.next()
        receiver.go.set()


@pytest.mark.parametrize("answer", [ERROR, REDIRECT, b"garbage\r\n\r\n"])
async def test_a_delivery_that_fails_is_logged(
    receiver: Receiver, answer: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Anything but 2xx is logged with the request's id, and changes nothing for the caller."""
    receiver.answer = answer
    app = app_with_webhook(url_of(receiver), {"out": 1})
    async with client(app) as http:
        response = await http.post("/", json={}, headers={"X-Request-Id": "r-1"})
    assert response.json() == {"out": 1}
    (record,) = [record for record in caplog.records if record.name == "potassium.webhooks"]
    assert record.levelno == logging.ERROR
    assert record.__dict__["request_id"] == "r-1"
    assert len(receiver.requests) == 1


async def test_a_receiver_that_is_not_there_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """A refused connection changes nothing for the caller."""
    app = app_with_webhook("http://127.0.0.1:1/", {"out": 1})
    async with client(app) as http:
        assert (await http.post("/", json={})).status_code == 200
    assert ["failed" in record.getMessage() for record in caplog.records] == [True]


@pytest.mark.parametrize("answer", [ERROR, REDIRECT, b"garbage\r\n\r\n"])
async def test_a_failure_is_logged_without_secrets(
    receiver: Receiver, answer: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """The log names scheme, host and path of the URL, but neither its query nor its user."""
    receiver.answer = answer
    url = url_of(receiver)
    sender = WebhookSender()
    sender.post(url.replace("//", "//user:hunter2@") + "?token=hunter2#hunter2", b"{}", "r-1")
    await sender.aclose()
    (record,) = [record for record in caplog.records if record.name == "potassium.webhooks"]
    assert f"webhook to {url} failed" in record.getMessage()
    assert "hunter2" not in record.getMessage()
    assert receiver.requests[0][0] == "POST /done?token=hunter2 HTTP/1.1"


async def test_a_failure_names_the_status_that_was_answered(
    receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says what the receiver answered instead of 2xx."""
    receiver.answer = ERROR
    sender = WebhookSender()
    sender.post(url_of(receiver), b"{}", "r-1")
    await sender.aclose()
    assert ["answered 500" in record.getMessage() for record in caplog.records] == [True]


async def test_a_receiver_that_never_answers_is_given_up(
    receiver: Receiver, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A delivery ends after the time limit."""
    monkeypatch.setattr(potassium.webhooks.sender, "TIME_LIMIT", 0.05)
    receiver.go.clear()
    sender = WebhookSender()
    sender.post(url_of(receiver), b"{}", "r-1")
    async with asyncio.timeout(5):
        await sender.aclose()
    assert ["failed" in record.getMessage() for record in caplog.records] == [True]
    receiver.go.set()


async def test_a_receiver_that_answers_byte_by_byte_is_given_up(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time limit is for a delivery as a whole, not for each piece of its answer."""
    monkeypatch.setattr(potassium.webhooks.sender, "TIME_LIMIT", 0.1)
    left = asyncio.Event()

    async def drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while True:
                writer.write(b"H")
                await writer.drain()
                await asyncio.sleep(0.02)
        writer.close()
        left.set()

    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    sender = WebhookSender()
    sender.post(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", b"{}", "r-1")
    async with asyncio.timeout(5):
        await sender.aclose()
        await left.wait()
    assert ["failed" in record.getMessage() for record in caplog.records] == [True]
    server.close()


async def test_a_long_answer_is_not_read_to_its_end(
    receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    """An answer that goes on and on is left after some kilobytes; the delivery is done."""
    receiver.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n" + b" " * 100_000
    sender = WebhookSender()
    sender.post(url_of(receiver), b"{}", "r-1")
    async with asyncio.timeout(5):
        await sender.aclose()
    assert (len(receiver.requests), caplog.records) == (1, [])


async def test_deliveries_under_way_are_bounded(
    receiver: Receiver, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A receiver that hangs cannot fill the memory: what is too much is dropped and logged."""
    monkeypatch.setattr(potassium.webhooks.sender, "MOST_PENDING", 3)
    receiver.go.clear()
    sender = WebhookSender()
    for _ in range(5):
        sender.post(url_of(receiver), b"{}", "r-1")
    receiver.go.set()
    await sender.aclose()
    assert len(receiver.requests) == 3
    assert ["dropped" in record.getMessage() for record in caplog.records] == [True, True]


async def test_the_stop_waits_for_deliveries_under_way(receiver: Receiver) -> None:
    """A result is posted although the app stops right after its response."""
    app = app_with_webhook(url_of(receiver), {"out": 1})
    async with client(app) as http:
        await http.post("/", json={})
    assert len(receiver.requests) == 1


async def test_the_stop_has_time_for_deliveries_beyond_the_grace(receiver: Receiver) -> None:
    """The grace period is for calls: a delivery may take longer than what is left of it."""
    app = app_with_webhook(url_of(receiver), {"out": 1}, grace_period=0.01)
    receiver.go.clear()
    async with client(app) as http:
        await http.post("/", json={})
        asyncio.get_running_loop().call_later(0.04, receiver.go.set)
    assert receiver.go.is_set()


async def test_the_stop_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a stop hangs in, it is over soon after the grace period."""

    async def hang(_: WebhookSender) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(potassium.runtime, "STOP_TIME", 0.03)
    monkeypatch.setattr(WebhookSender, "aclose", hang)
    app = app_with_webhook("http://127.0.0.1:1/", None, grace_period=0.01)
    async with asyncio.timeout(5), app.lifespan():
        pass


@pytest.mark.parametrize("result", [b"raw", Response(body="text")])
async def test_what_is_no_json_is_not_posted(
    receiver: Receiver, result: object, caplog: pytest.LogCaptureFixture
) -> None:
    """A result that is no JSON goes to the caller alone, and the log says so."""
    app = app_with_webhook(url_of(receiver), result)
    async with client(app) as http:
        assert (await http.post("/", json={})).status_code == 200
    assert receiver.requests == []
    assert ["no JSON" in record.getMessage() for record in caplog.records] == [True]


async def test_a_failed_call_posts_nothing(receiver: Receiver) -> None:
    """Only results are posted."""
    app = app_with_webhook(url_of(receiver), object())
    async with client(app) as http:
        assert (await http.post("/", json={})).status_code == 500
    assert receiver.requests == []
