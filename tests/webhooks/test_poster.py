"""One delivery attempt, to receivers that may do anything."""

import asyncio
import base64
import gzip
import time
import tracemalloc
from collections.abc import AsyncIterator

import httpx
import pytest
from standardwebhooks import Webhook
from webhooks.fake_store import delivery_to
from webhooks.receivers import GONE, Receiver, answering, receiving

import potassium.webhooks.resolver
from potassium.config import Webhooks
from potassium.webhooks.model import Delivery, DeliveryAttempt
from potassium.webhooks.poster import Poster

OLD, NEW = ("whsec_" + base64.b64encode(bytes([letter]) * 32).decode() for letter in b"on")
NOW = 1_800_000_000.0


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


async def posted(delivery: Delivery, **options: object) -> DeliveryAttempt:
    """Make one attempt, at ``NOW`` and without jitter."""
    post = Poster(
        Webhooks(**options),  # type: ignore[arg-type]
        clock=lambda: NOW,
        wall=lambda: NOW,
        random=lambda: 0.5,
    )
    try:
        async with asyncio.timeout(10):
            return await post(delivery)
    finally:
        await post.aclose()


async def test_the_document_is_posted(receiver: Receiver) -> None:
    """The receiver gets the JSON, and headers that name its type, its sender and the request."""
    await posted(delivery_to(receiver.url + "?token=1"))
    received = await receiver.next()
    assert (received.line, received.body) == ("POST /done?token=1 HTTP/1.1", b'{"out":1}')
    assert received.headers["content-type"] == "application/json"
    assert received.headers["user-agent"].startswith("potassium/")
    assert received.headers["x-request-id"] == "r-1"
    assert received.headers["webhook-id"] == "d-1"
    assert received.headers["webhook-timestamp"] == str(int(NOW))
    assert "webhook-signature" not in received.headers


@pytest.mark.parametrize("job_id", [None, "j-1"])
async def test_the_webhook_of_a_job_names_it(receiver: Receiver, job_id: str | None) -> None:
    """Its body may be no more than what the handler returned."""
    await posted(delivery_to(receiver.url, job_id=job_id))
    received = await receiver.next()
    assert received.headers.get("x-job-id") == job_id


@pytest.mark.parametrize("secret", [OLD, NEW])
async def test_the_receiver_can_verify_it(receiver: Receiver, secret: str) -> None:
    """What arrives passes the reference check of Standard Webhooks with either secret."""
    post = Poster(Webhooks(secret=[NEW, OLD]))
    await post(delivery_to(receiver.url))
    await post.aclose()
    received = await receiver.next()
    assert Webhook(secret).verify(received.body, received.headers) == {"out": 1}


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
async def test_2xx_is_arrived(receiver: Receiver, status: int) -> None:
    """Any 2xx ends the delivery."""
    receiver.answer = answering(status)
    attempt = await posted(delivery_to(receiver.url))
    assert attempt.duration > 0
    assert attempt == DeliveryAttempt(
        delivery_id="d-1",
        url=receiver.url.removesuffix("/done"),
        number=1,
        at=NOW,
        duration=attempt.duration,
        status=status,
        error=None,
        next_at=None,
    )


@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308, 304, 400, 404, 429, 500, 503])
async def test_anything_else_is_tried_again(receiver: Receiver, status: int) -> None:
    """After any other answer, the next attempt is on the schedule."""
    receiver.answer = answering(status)
    attempt = await posted(delivery_to(receiver.url))
    assert (attempt.status, attempt.error) == (status, f"the receiver answered {status}")
    assert attempt.next_at == NOW + 5


async def test_redirects_are_not_followed(receiver: Receiver) -> None:
    """The target of a redirect is not contacted."""
    async with receiving() as elsewhere:
        receiver.answer = answering(307, f"Location: {elsewhere.url}")
        await posted(delivery_to(receiver.url))
        assert (len(receiver.requests), elsewhere.connections) == (1, 0)


async def test_gone_is_not_tried_again(receiver: Receiver) -> None:
    """After a 410, the delivery is given up."""
    receiver.answer = GONE
    attempt = await posted(delivery_to(receiver.url))
    assert (attempt.status, attempt.next_at) == (410, None)
    assert attempt.error is not None


@pytest.mark.parametrize("status", [429, 503])
async def test_the_receiver_may_ask_for_more_time(receiver: Receiver, status: int) -> None:
    """Retry-After makes the next attempt later."""
    receiver.answer = answering(status, "Retry-After: 60")
    attempt = await posted(delivery_to(receiver.url))
    assert attempt.next_at == NOW + 60


async def test_attempts_are_counted(receiver: Receiver) -> None:
    """The eighth attempt is the last."""
    receiver.answer = answering(500)
    attempt = await posted(delivery_to(receiver.url, attempts=6))
    assert (attempt.number, attempt.next_at) == (7, NOW + 36_000)
    attempt = await posted(delivery_to(receiver.url, attempts=7))
    assert (attempt.number, attempt.next_at) == (8, None)


@pytest.mark.parametrize("answer", [b"", b"garbage\r\n\r\n", b"HTTP/1.1 999999 No\r\n\r\n", b"\0"])
async def test_what_is_no_http_is_tried_again(receiver: Receiver, answer: bytes) -> None:
    """A receiver that hangs up, or whose answer is not HTTP, has failed."""
    receiver.answer = answer
    attempt = await posted(delivery_to(receiver.url), timeout=0.2)
    assert (attempt.status, attempt.next_at) == (None, NOW + 5)
    assert attempt.error


async def test_a_receiver_that_is_not_there_is_tried_again() -> None:
    """A refused connection is a failure like any other."""
    attempt = await posted(delivery_to("http://127.0.0.1:1/"))
    assert (attempt.status, attempt.next_at) == (None, NOW + 5)
    assert attempt.error == "All connection attempts failed"


@pytest.mark.parametrize(
    "url", ["", "nonsense", "http://", "http://:0/", "http://a:b/", "http://\u2100/", "ftp://a/"]
)
async def test_nothing_that_a_url_can_be_is_raised(url: str) -> None:
    """An unusable URL fails like a receiver that is not there."""
    for is_guarded in (False, True):
        attempt = await posted(delivery_to(url, is_guarded=is_guarded))
        assert attempt.error


async def test_a_silent_receiver_is_left_in_time(receiver: Receiver) -> None:
    """A receiver that never answers is given the timeout, and no more."""
    receiver.go.clear()
    attempt = await posted(delivery_to(receiver.url), timeout=0.05)
    assert attempt.error == "the receiver did not answer within 0.05 s"
    assert 0.05 <= attempt.duration < 2


async def test_a_trickling_status_line_is_left_in_time(receiver: Receiver) -> None:
    """The timeout applies to the attempt as a whole, not to each byte of an answer."""
    receiver.answer, receiver.endless, receiver.pause = b"HTTP/1.1 200 ", b"x", 0.01
    attempt = await posted(delivery_to(receiver.url), timeout=0.1)
    assert attempt.error == "the receiver did not answer within 0.1 s"
    assert 0.1 <= attempt.duration < 2


async def test_a_trickling_head_is_left_in_time(receiver: Receiver) -> None:
    """A 2xx counts as delivered, and a head that trickles in is abandoned after the timeout."""
    post = Poster(Webhooks(timeout=0.1))
    await post(delivery_to(receiver.url))  # to have a connection
    receiver.answer, receiver.endless, receiver.pause = b"HTTP/1.1 200 OK\r\nX: ", b"x", 0.01
    attempt = await post(delivery_to(receiver.url))
    await post.aclose()
    assert (attempt.status, attempt.error) == (200, None)
    assert 0.1 <= attempt.duration < 2


async def test_a_trickling_body_is_left_in_time(receiver: Receiver) -> None:
    """A 2xx counts as delivered, and a body that trickles in is abandoned after the timeout."""
    receiver.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n"
    receiver.endless, receiver.pause = b"x", 0.01
    attempt = await posted(delivery_to(receiver.url), timeout=1)
    assert (attempt.status, attempt.error) == (200, None)
    assert 1 <= attempt.duration < 5


@pytest.mark.parametrize("status", [200, 500])
@pytest.mark.parametrize("coding", ["identity", "gzip"])
async def test_gigabytes_are_not_read(receiver: Receiver, status: int, coding: str) -> None:
    """A long answer is abandoned after some kilobytes; its status counts all the same."""
    head = ["", "Content-Length: 9999999999", f"Content-Encoding: {coding}", "", ""]
    receiver.answer = f"HTTP/1.1 {status} Some".encode() + "\r\n".join(head).encode()
    receiver.endless = b"x" * 1000
    attempt = await posted(delivery_to(receiver.url), timeout=5)
    assert (attempt.status, attempt.error is None) == (status, status == 200)
    async with asyncio.timeout(5):
        await receiver.left.wait()
    assert attempt.duration < 2
    assert receiver.sent < 10_000_000  # what fits into the buffers of both sides' sockets


async def test_what_is_packed_is_not_unpacked(receiver: Receiver) -> None:
    """An answer that is small on the wire but huge when unpacked takes little memory."""
    bomb = gzip.compress(bytes(50_000_000))
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(bomb)}\r\n\r\n"
    receiver.answer = head.encode() + bomb
    post = Poster(Webhooks())
    await post(delivery_to(receiver.url))
    tracemalloc.start()
    try:
        assert (await post(delivery_to(receiver.url))).error is None
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()
    await post.aclose()


@pytest.mark.parametrize(("status", "next_at"), [(200, None), (500, NOW + 5), (410, None)])
async def test_an_endless_head_is_not_kept(
    receiver: Receiver, status: int, next_at: float | None
) -> None:
    """Endless headers are abandoned before they fill the memory; the status line decides."""
    receiver.answer = f"HTTP/1.1 {status} Some\r\n".encode()
    receiver.endless = b"X: " + b"x" * 1000 + b"\r\n"
    attempt = await posted(delivery_to(receiver.url), timeout=5)
    assert (attempt.status, attempt.next_at) == (status, next_at)
    assert attempt.duration < 2


LONG = b"X: " + b"x" * 150_000  # more than is read of a head


@pytest.mark.parametrize("status", [204, 503])
@pytest.mark.parametrize("rest", [LONG, b"no header", b"Content-Length: 0", b"\0"])
async def test_the_status_line_decides(receiver: Receiver, status: int, rest: bytes) -> None:
    """A receiver that has sent it has answered, even if its headers cannot be read."""
    receiver.answer = f"HTTP/1.1 {status} Some\r\n".encode() + rest + b"\r\n\r\n"
    attempt = await posted(delivery_to(receiver.url), timeout=5)
    assert (attempt.status, attempt.error is None) == (status, status == 204)


async def test_each_answer_has_its_own_status_line(receiver: Receiver) -> None:
    """On a connection that is kept, an answer that is no HTTP does not count as the one before."""
    post = Poster(Webhooks())
    assert (await post(delivery_to(receiver.url))).error is None
    receiver.answer = b"garbage\r\n\r\n"
    assert (await post(delivery_to(receiver.url))).status is None
    await post.aclose()
    assert {request.connection for request in receiver.requests} == {1}


@pytest.mark.parametrize(
    "answer", [answering(500), b"garbage\r\n\r\n", b"", answering(302, "Location: /?hunter2")]
)
async def test_nothing_tells_secrets(receiver: Receiver, answer: bytes) -> None:
    """The record of an attempt has neither the URL's user nor its path nor its query."""
    receiver.answer = answer
    url = receiver.url.replace("//", "//user:hunter2@") + "?token=hunter2#hunter2"
    attempt = await posted(delivery_to(url))
    assert attempt.url == receiver.url.removesuffix("/done")
    assert "hunter2" not in repr(attempt)
    assert receiver.requests[0].line == "POST /done?token=hunter2 HTTP/1.1"


@pytest.mark.parametrize(
    "url", ["http://user:hunter2@:x/?hunter2", "ftp://user:hunter2@a/", "http://a/\n?hunter2"]
)
async def test_broken_urls_tell_no_secrets(url: str) -> None:
    """An error about a URL does not repeat it."""
    assert "hunter2" not in repr(await posted(delivery_to(url)))


async def test_the_environment_has_no_say(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a proxy nor credentials are taken from the environment."""
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for is_guarded in (False, True):
        delivery = delivery_to(receiver.url, is_guarded=is_guarded)
        assert (await posted(delivery, allow=["127.0.0.0/8"])).error is None


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "[::ffff:127.0.0.1]"])
async def test_urls_of_clients_are_guarded(receiver: Receiver, host: str) -> None:
    """A URL that a client chose does not reach loopback under any name."""
    url = receiver.url.replace("127.0.0.1", host)
    attempt = await posted(delivery_to(url, is_guarded=True))
    assert attempt.error is not None
    assert attempt.next_at == NOW + 5
    assert receiver.connections == 0


async def test_redirects_lead_no_client_inside(receiver: Receiver) -> None:
    """A receiver that a client chose cannot redirect us into the private network."""
    async with receiving() as inside:
        receiver.answer = answering(307, f"Location: {inside.url}")
        delivery = delivery_to(receiver.url, is_guarded=True)
        await posted(delivery, allow=["127.0.0.0/8"])
        assert (len(receiver.requests), inside.connections) == (1, 0)


async def test_urls_of_the_app_are_not_guarded(receiver: Receiver) -> None:
    """A URL that the app's author chose may lead anywhere."""
    assert (await posted(delivery_to(receiver.url))).error is None


async def test_a_slow_name_server_is_left_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The timeout includes the time for the lookup of the name."""

    async def never(self: object, name: str) -> list[str]:
        await asyncio.Event().wait()
        return []

    monkeypatch.setattr(potassium.webhooks.resolver.Resolver, "addresses", never)
    attempt = await posted(delivery_to("http://a.example/", is_guarded=True), timeout=0.05)
    assert attempt.error == "the receiver did not answer within 0.05 s"


async def test_the_apps_own_receiver_keeps_its_connection(receiver: Receiver) -> None:
    """One HTTP client posts everything to the app's own URLs."""
    post = Poster(Webhooks())
    for _ in range(3):
        await post(delivery_to(receiver.url))
    await post.aclose()
    assert {request.connection for request in receiver.requests} == {1}


async def test_each_attempt_for_a_client_has_a_connection_of_its_own(receiver: Receiver) -> None:
    """So each attempt goes to an address that was checked for it."""
    post = Poster(Webhooks(allow=["127.0.0.0/8"]))
    for _ in range(3):
        await post(delivery_to(receiver.url, is_guarded=True))
    await post.aclose()
    assert [request.connection for request in receiver.requests] == [1, 2, 3]


async def test_receivers_are_sent_no_cookies_back(receiver: Receiver) -> None:
    """A cookie that one answer sets is not sent with the next request."""
    receiver.answer = answering(200, "Set-Cookie: a=1; Path=/")
    post = Poster(Webhooks())
    for _ in range(2):
        await post(delivery_to(receiver.url))
    await post.aclose()
    assert "cookie" not in receiver.requests[-1].headers


async def test_cancellation_is_not_swallowed(receiver: Receiver) -> None:
    """A cancelled attempt ends at once, and closes its connection."""
    receiver.go.clear()
    post = Poster(Webhooks())
    task = asyncio.create_task(post(delivery_to(receiver.url)))
    await receiver.next()
    start = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - start < 1
    await post.aclose()


async def test_clients_are_opened_when_they_are_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """An app that posts nothing opens no HTTP client."""
    monkeypatch.setattr(httpx, "AsyncClient", None)
    await Poster(Webhooks()).aclose()
