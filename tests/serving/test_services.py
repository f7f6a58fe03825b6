"""The services that live from the start of an app to its stop."""

import asyncio
import hashlib
import hmac
import subprocess
import sys
import threading
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from support.job_bench import ended, submit
from support.threads import gpu_threads
from webhooks.receivers import Received, Receiver, answering, receiving

from potassium import Batch, Jobs, Potassium, Request, UsageError, Webhooks, send_webhook
from potassium.errors import StoreFailed
from potassium.jobs.memory_store import MemoryStore
from potassium.testing import client

SECRET = "whsec_" + b64encode(bytes(range(32))).decode()  # used only in these tests


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


class Order:
    """Records what a store is asked for, and anything else that is noted, in order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.noted: list[str] = []
        for name in ("open", "left_behind", "close"):
            monkeypatch.setattr(MemoryStore, name, self._noting(name, getattr(MemoryStore, name)))

    def _noting(self, name: str, call: Any) -> Any:
        async def noted(store: MemoryStore) -> Any:
            self.noted.append(name)
            return await call(store)

        return noted


def new_app(**options: Any) -> Potassium:
    app = Potassium("test", **options)
    app.handler(lambda cache, json_in: json_in)
    return app


async def test_the_store_is_opened_first_and_closed_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """It opens before the model loads, which may take minutes, and closes after all is stored."""
    order = Order(monkeypatch)
    app = new_app(jobs=Jobs(path=None))
    app.init(lambda: order.noted.append("init"))

    @app.background("/job")
    def job(cache: dict[str, Any], json_in: Any) -> None:
        order.noted.append("job")

    async with client(app) as http:
        await submit(http, "/job", {})
    assert order.noted[:3] == ["open", "init", "left_behind"]
    assert order.noted[-1] == "close"
    assert order.noted.count("close") == 1


async def test_an_init_that_fails_closes_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """If init fails, the store is closed and no job is requeued."""
    order = Order(monkeypatch)
    app = new_app(jobs=Jobs(path=None))

    @app.init
    def init() -> None:
        raise ValueError("no weights")

    with pytest.raises(ValueError, match="no weights"):
        async with app.lifespan():
            pass
    assert order.noted == ["open", "close"]


async def test_a_store_that_cannot_be_read_stops_what_was_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The model, the thread and the store are released."""
    order = Order(monkeypatch)

    async def fails(store: MemoryStore) -> None:
        raise StoreFailed("The disk is gone.")

    monkeypatch.setattr(MemoryStore, "left_behind", fails)
    app = new_app(jobs=Jobs(path=None))
    with pytest.raises(StoreFailed):
        async with app.lifespan():
            pass
    assert order.noted == ["open", "close"]
    assert not gpu_threads()


async def test_a_file_serves_one_server_at_a_time(tmp_path: Path) -> None:
    """The second server gets an error; no model is loaded and no thread is left."""
    jobs = Jobs(path=str(tmp_path / "jobs.db"))
    loaded = []
    first, second = new_app(jobs=jobs), new_app(jobs=jobs)
    second.init(lambda: loaded.append(True))
    async with first.lifespan():
        before = set(threading.enumerate())
        with pytest.raises(UsageError, match="in this process both keep background jobs"):
            async with second.lifespan():
                pass
        for thread in set(threading.enumerate()) - before:
            thread.join(5)  # the store's own thread is about to end
        assert set(threading.enumerate()) <= before
    assert not loaded
    async with second.lifespan():
        assert loaded


async def test_jobs_go_on_where_an_app_starts_again(tmp_path: Path) -> None:
    """Jobs that were queued at the stop are run, in the same process too."""
    app = Potassium("test", jobs=Jobs(path=str(tmp_path / "jobs.db")))
    begun, go = threading.Event(), threading.Event()

    @app.background("/job")
    def handler(cache: dict[str, Any], json_in: Any) -> Any:
        begun.set()
        assert go.wait(10)
        return json_in

    async with client(app) as http:
        first, second = [await submit(http, "/job", {"n": n}) for n in range(2)]
        assert await asyncio.to_thread(begun.wait, 10)
        app._runtime.drain()
        go.set()
    async with client(app) as http:
        assert (await ended(http, first))["output"] == {"n": 0}
        assert (await ended(http, second))["output"] == {"n": 1}


def test_an_app_without_jobs_imports_nothing_for_them() -> None:
    """An app without jobs imports neither the stores nor an HTTP client, even once called."""
    code = """
import asyncio, sys
from potassium import Potassium

app = Potassium("test")
app.handler(lambda cache, json_in: json_in)

async def main():
    async with app.lifespan():
        sent = []
        async def receive():
            return {"type": "http.request", "body": b"{}"}
        async def send(message):
            sent.append(message)
        headers = [(b"content-type", b"application/json"), (b"prefer", b"respond-async")]
        scope = {"type": "http", "method": "POST", "path": "/", "headers": headers}
        await app(scope, receive, send)
        assert sent[0]["status"] == 200, sent

asyncio.run(main())
print(*(name for name in sys.modules if name.startswith(("potassium.job", "httpx", "aiosqlite"))))
"""
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert output.stdout.split() == []


def is_signed(received: Received, secret: str = SECRET) -> bool:
    """Return whether ``received`` is signed as Standard Webhooks specifies."""
    sent = received.headers
    signed = f"{sent['webhook-id']}.{sent['webhook-timestamp']}.".encode() + received.body
    digest = hmac.digest(b64decode(secret.removeprefix("whsec_")), signed, hashlib.sha256)
    return sent.get("webhook-signature") == "v1," + b64encode(digest).decode()


async def test_the_result_of_a_direct_call_is_posted_and_signed(receiver: Receiver) -> None:
    """The delivery carries the request's id, and the id and time that a receiver verifies."""
    app = Potassium("test", webhooks=Webhooks(secret=SECRET))
    app.result_webhook(receiver.url)(app.handler(lambda cache, json_in: {"out": json_in}))
    async with client(app) as http:
        await http.post("/", json={}, headers={"X-Request-Id": "mine"})
        received = await receiver.next()
    assert received.body == b'{"out":{}}'
    assert received.headers["x-request-id"] == "mine"
    assert is_signed(received)


@pytest.mark.parametrize("jobs", [None, Jobs(path=None)])
@pytest.mark.parametrize("store", ["jobs", None])
async def test_a_result_is_posted_until_it_has_arrived(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, jobs: Jobs | None, store: Any
) -> None:
    """Wherever deliveries are stored, each attempt has the same id."""
    monkeypatch.setattr("potassium.webhooks.schedule.DELAYS", [0.0] * 8)
    receiver.answer = answering(500)
    app = Potassium("test", jobs=jobs, webhooks=Webhooks(store=store))
    app.result_webhook(receiver.url)(app.handler(lambda cache, json_in: json_in))
    async with client(app) as http:
        await http.post("/", json={})
        await receiver.next()
        receiver.answer = answering(204)
        await receiver.next()
    first, *rest = receiver.requests
    assert {one.headers["webhook-id"] for one in rest} == {first.headers["webhook-id"]}
    assert "webhook-signature" not in first.headers


@pytest.mark.parametrize("store", ["jobs", None])
async def test_the_webhooks_of_jobs_are_posted_wherever_they_are_kept(
    receiver: Receiver, store: Any
) -> None:
    """That is: with the jobs, or apart from them in memory."""
    options = Webhooks(store=store, client_urls=True, allow=["127.0.0.0/8"])
    app = Potassium("test", jobs=Jobs(path=None), webhooks=options)
    app.result_webhook(receiver.url)(app.background("/job")(lambda cache, json_in: json_in))
    async with client(app) as http:
        job = (await http.post("/job", json={}, headers={"Webhook-Url": receiver.url})).json()
        for _ in range(2):
            await receiver.next()
    bodies = [orjson.loads(one.body) for one in receiver.requests]
    assert {} in bodies
    assert [body["id"] for body in bodies if body] == [job["id"]]


async def test_a_stop_waits_for_what_was_posted(receiver: Receiver) -> None:
    """What a call posts right before the stop arrives."""
    app = Potassium("test")

    @app.handler
    def handler(cache: dict[str, Any], json_in: Any) -> None:
        send_webhook(receiver.url, json_in)

    async with client(app) as http:
        await http.post("/", json={"n": 1})
    assert [one.body for one in receiver.requests] == [b'{"n":1}']


def in_handler(app: Potassium, url: str) -> None:
    @app.handler
    def handler(cache: dict[str, Any], json_in: Any) -> None:
        send_webhook(url, "here")


def in_async_handler(app: Potassium, url: str) -> None:
    @app.handler
    async def handler(cache: dict[str, Any], json_in: Any) -> None:
        await asyncio.sleep(0)
        send_webhook(url, "here")


def in_generator(app: Potassium, url: str) -> None:
    @app.handler
    def handler(cache: dict[str, Any], json_in: Any) -> Any:
        yield 1
        send_webhook(url, "here")
        yield 2


def in_prepare(app: Potassium, url: str) -> None:
    def prepare(json_in: Any) -> Any:
        send_webhook(url, "here")

    app.handler(prepare=prepare)(lambda cache, prepared: None)


def in_finish(app: Potassium, url: str) -> None:
    def finish(result: Any) -> None:
        send_webhook(url, "here")

    app.handler(finish=finish)(lambda cache, json_in: None)


@pytest.mark.parametrize(
    "decorate", [in_handler, in_async_handler, in_generator, in_prepare, in_finish]
)
async def test_a_webhook_is_sent_from_wherever_a_call_is(receiver: Receiver, decorate: Any) -> None:
    """Each webhook is signed for the app of its call, and carries the id of its request."""
    app = Potassium("test", webhooks=Webhooks(secret=SECRET))
    decorate(app, receiver.url)
    async with client(app) as http:
        answer = await http.post("/", json={}, headers={"X-Request-Id": "mine"})
        assert answer.status_code == 200, answer.text
        received = await receiver.next()
    assert received.body == b'"here"'
    assert received.headers["x-request-id"] == "mine"
    assert is_signed(received)


async def test_a_webhook_of_no_single_call_is_of_no_request(receiver: Receiver) -> None:
    """Webhooks from ``init`` and from a batch carry no request id."""
    app = Potassium("test")
    app.init(lambda: send_webhook(receiver.url, "loaded"))

    @app.handler(batch=Batch(max_size=2))
    def handler(cache: dict[str, Any], items: list[Any]) -> list[Any]:
        send_webhook(receiver.url, len(items))
        return items

    async with client(app) as http:
        assert (await receiver.next()).body == b'"loaded"'
        await http.post("/", json={})
        assert (await receiver.next()).body == b"1"
    assert [one.headers["x-request-id"] for one in receiver.requests] == ["", ""]


async def test_a_background_job_sends_webhooks_too(receiver: Receiver) -> None:
    """Its webhooks carry the id of the request that submitted the job."""
    app = Potassium("test", jobs=Jobs(path=None))

    @app.background("/job")
    def handler(cache: dict[str, Any], request: Request) -> None:
        send_webhook(receiver.url, request.json)

    async with client(app) as http:
        await submit(http, "/job", 7, **{"X-Request-Id": "mine"})
        received = await receiver.next()
    assert (received.body, received.headers["x-request-id"]) == (b"7", "mine")


@pytest.mark.parametrize("url", ["", "localhost:1", "ftp://a.test/", "http://", None, 5])
def test_a_url_that_cannot_be_posted_to_is_a_mistake(url: Any) -> None:
    """The message names the URL and says what to write instead."""
    with pytest.raises(UsageError, match="write an http or https URL"):
        send_webhook(url, {})


async def test_a_thread_of_the_handlers_own_has_no_app(app: Potassium) -> None:
    """The thread gets an error, because its webhook would be lost otherwise."""
    raised: list[BaseException] = []

    def send() -> None:
        try:
            send_webhook("http://127.0.0.1:9/", {})
        except UsageError as error:
            raised.append(error)

    @app.handler
    def handler(cache: dict[str, Any], json_in: Any) -> None:
        thread = threading.Thread(target=send)
        thread.start()
        thread.join()

    async with client(app) as http:
        await http.post("/", json={})
    assert "works only in the handlers of a running app" in str(raised[0])


async def test_each_app_of_a_process_has_an_outbox_of_its_own() -> None:
    """What each app posts is signed with its own secret, on threads and on the loop."""
    other_secret = "whsec_" + b64encode(bytes(range(100, 132))).decode()
    secrets = {"a": SECRET, "b": other_secret}
    async with receiving() as receiver:
        apps = {name: Potassium(name, webhooks=Webhooks(secret=s)) for name, s in secrets.items()}
        for name, app in apps.items():
            decorate_both(app, name, receiver.url)
        async with client(apps["a"]) as a, client(apps["b"]) as b:
            for http in (a, b, a):
                await http.post("/sync", json={})
                await http.post("/async", json={})
        assert len(receiver.requests) == 6
        for received in receiver.requests:
            assert is_signed(received, secrets[received.body.decode().strip('"')])


def decorate_both(app: Potassium, name: str, url: str) -> None:
    @app.handler("/sync")
    def sync(cache: dict[str, Any], json_in: Any) -> None:
        send_webhook(url, name)

    @app.handler("/async")
    async def asynchronous(cache: dict[str, Any], json_in: Any) -> None:
        send_webhook(url, name)


async def test_clients_may_name_webhooks_where_the_app_says_so(receiver: Receiver) -> None:
    """A client's URL must be in a network that the app allows, or public."""
    app = Potassium(
        "test",
        jobs=Jobs(path=None),
        webhooks=Webhooks(client_urls=True, allow=["127.0.0.1/32"], secret=SECRET),
    )
    app.background("/job")(lambda cache, json_in: {"a": 1})
    async with client(app) as http:
        job = await submit(http, "/job", {}, **{"Webhook-Url": receiver.url})
        received = await receiver.next()
        headers = {"Webhook-Url": "http://127.0.0.2/"}
        refused = await http.post("/job", json={}, headers=headers)
        assert (refused.status_code, refused.json()["code"]) == (422, "webhook_url_refused")
        assert len((await http.get("/jobs")).json()["jobs"]) == 1
    assert job["id"].encode() in received.body
    assert is_signed(received)
