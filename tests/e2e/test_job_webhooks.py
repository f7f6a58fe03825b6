"""Webhooks with results, with job documents and with what handlers send; and their signatures."""

import queue
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e.jobs import (
    IMPORTS,
    SERVE,
    Document,
    attempts,
    cancel,
    document,
    end_of,
    get,
    post,
    submit,
)
from e2e.receiver import OLD_SECRET, SECRET, Received, Receiver, receive
from e2e.server import Server, Start, error, serve_source, wait_until
from e2e.wire import call, events
from standardwebhooks import WebhookVerificationError

SOURCE = (
    IMPORTS
    + """
url = os.environ["RECEIVER"]
expire_after = os.environ.get("EXPIRE_AFTER")
secrets = os.environ["SECRETS"].split()
app = Potassium(
    "server",
    jobs=Jobs(expire_after=expire_after and float(expire_after)),
    webhooks=Webhooks(secret=secrets or None, client_urls=True, allow=["127.0.0.0/8"]),
)


@app.handler("/direct")
@app.result_webhook(url=url + "/direct?token=hush")
def direct(cache, json_in):
    return {"outputs": json_in}


@app.background("/job")
@app.result_webhook(url=url + "/job")
def job(cache, json_in):
    return {"outputs": json_in}


@app.background("/fails", attempts=2, backoff=0.05)
@app.result_webhook(url=url + "/fails")
def fails(cache, json_in):
    raise ValueError


@app.background("/hold")
def held(cache, json_in):
    return hold(json_in)


@app.background("/echo")
def echo(cache, json_in):
    return json_in


@app.handler("/sends")
def sends(cache, json_in):
    send_webhook(url + "/sent", json_in)
    return "sent"


@app.handler("/sends-async")
async def sends_async(cache, json_in):
    send_webhook(url + "/sent", json_in)
    return "sent"


@app.background("/sends-in-job")
def sends_in_job(cache, json_in):
    send_webhook(url + "/sent", json=json_in)
    return "sent"
"""
    + SERVE
)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Receiver, Server]]:
    folder = tmp_path_factory.mktemp("webhooks")
    with receive() as receiver:
        env = {"RECEIVER": receiver.url, "SECRETS": SECRET}
        with serve_source(SOURCE, folder, env=env) as server:
            yield receiver, server


@pytest.fixture
def receiver(running: tuple[Receiver, Server]) -> Receiver:
    """A receiver that has not received anything so far."""
    receiver, _ = running
    receiver.requests = queue.Queue()
    return receiver


@pytest.fixture
def server(running: tuple[Receiver, Server], receiver: Receiver) -> Server:
    return running[1]


def hook(receiver: Receiver, path: str) -> dict[str, str]:
    """Return the header that names a client's own receiver."""
    return {"Webhook-Url": receiver.url + path}


@pytest.mark.parametrize("path", ["/direct", "/job"])
def test_the_returned_json_is_posted(server: Server, receiver: Receiver, path: str) -> None:
    """``@app.result_webhook`` posts the result as it is, for direct calls and for jobs."""
    post(server, path, {"a": "é"})
    received = receiver.next()
    assert (received.path.partition("?")[0], received.body) == (path, {"outputs": {"a": "é"}})
    assert received.headers["content-type"].startswith("application/json")


def test_a_failed_job_posts_no_result(server: Server, receiver: Receiver) -> None:
    """A job that fails has no result to post."""
    end_of(server, submit(server, "/fails"))
    submit(server, "/job")
    assert receiver.next().path == "/job"


def test_a_client_names_its_own_receiver(server: Server, receiver: Receiver) -> None:
    """The document of the ended job is posted to its ``Webhook-Url``."""
    job = submit(server, "/echo", {"a": 1}, hook(receiver, "/mine"))
    received = receiver.next()
    assert received.path == "/mine"
    assert received.body == end_of(server, job)
    assert (received.body["status"], received.body["output"]) == ("succeeded", {"a": 1})


def test_a_failed_job_is_posted_to_its_client(server: Server, receiver: Receiver) -> None:
    """The document is posted once, after the last attempt, with the error."""
    job = submit(server, "/fails", {}, hook(receiver, "/mine"))
    received = receiver.next()
    assert received.body == end_of(server, job)
    assert (received.body["status"], received.body["attempts"]) == ("failed", 2)
    assert received.body["error"]["code"] == "handler_error"
    submit(server, "/job")
    assert receiver.next().path == "/job"


def test_a_cancelled_job_is_posted_to_its_client(
    server: Server, receiver: Receiver, name: str, gate: Path
) -> None:
    """A cancelled job has ended, so its document is posted."""
    submit(server, "/hold", call(name, gate))
    wait_until(lambda: events(server, name), "the first job at work")
    job = submit(server, "/echo", {}, hook(receiver, "/mine"))
    cancel(server, job)
    assert receiver.next().body == document(server, job)


def test_an_expired_job_is_posted_to_its_client(
    start: Start, receiver: Receiver, name: str, gate: Path
) -> None:
    """An expired job has ended, so its document is posted."""
    env = {"RECEIVER": receiver.url, "SECRETS": SECRET, "EXPIRE_AFTER": "0.5"}
    server = start(SOURCE, env=env)
    submit(server, "/hold", call(name, gate))
    wait_until(lambda: events(server, name), "the first job at work")
    submit(server, "/echo", {}, hook(receiver, "/mine"))
    assert receiver.next(seconds=10).body["status"] == "expired"


@pytest.mark.parametrize("path", ["/sends", "/sends-async", "/sends-in-job"])
def test_a_handler_may_send_what_it_likes(server: Server, receiver: Receiver, path: str) -> None:
    """``send_webhook(url, json)`` works in sync handlers, async handlers and jobs, and it signs."""
    post(server, path, {"progress": [1, 2]})
    received = receiver.next()
    assert (received.path, received.body) == ("/sent", {"progress": [1, 2]})
    received.verify()


def of_each_kind(server: Server, receiver: Receiver) -> list[Received]:
    """Return webhooks of a direct call, of a job, and of a job with a client's own URL."""
    post(server, "/direct", {})
    direct = receiver.next()
    submit(server, "/job")
    result = receiver.next()
    submit(server, "/echo", {}, hook(receiver, "/mine"))
    return [direct, result, receiver.next()]


def test_webhooks_are_signed(server: Server, receiver: Receiver) -> None:
    """Receivers can verify webhooks with ``standardwebhooks``, and reject forged ones."""
    for received in of_each_kind(server, receiver):
        received.verify()
        with pytest.raises(WebhookVerificationError):
            received.verify(OLD_SECRET)


def test_webhooks_have_ids_and_times(server: Server, receiver: Receiver) -> None:
    """Each webhook has its own id, and the time at which it was sent."""
    received = of_each_kind(server, receiver)
    assert len({one.id for one in received}) == len(received)
    assert all(abs(int(one.headers["webhook-timestamp"]) - time.time()) < 30 for one in received)


def test_rotating_secrets_all_sign(start: Start, receiver: Receiver) -> None:
    """While two secrets are in use, receivers that know either one can verify."""
    secrets = f"{SECRET} {OLD_SECRET}"
    server = start(SOURCE, env={"RECEIVER": receiver.url, "SECRETS": secrets})
    post(server, "/direct", {})
    received = receiver.next()
    received.verify(SECRET)
    received.verify(OLD_SECRET)
    assert received.headers["webhook-signature"].count("v1,") == 2


def test_without_a_secret_nothing_is_signed(start: Start, receiver: Receiver) -> None:
    """Without a secret, a webhook still has an id and a time."""
    server = start(SOURCE, env={"RECEIVER": receiver.url, "SECRETS": ""})
    post(server, "/direct", {})
    received = receiver.next()
    assert "webhook-signature" not in received.headers
    assert {"webhook-id", "webhook-timestamp"} <= set(received.headers)


def test_deliveries_are_told(server: Server, receiver: Receiver) -> None:
    """Each attempt is listed with its number, its time, its duration and the answer."""
    job = submit(server, "/echo", {}, hook(receiver, "/mine?token=hush"))
    received = receiver.next()
    assert received.path == "/mine?token=hush"
    wait_until(lambda: attempts(server, job), "the attempt to be told")
    [delivery] = get(server, f"/jobs/{job['id']}/deliveries").json()["deliveries"]
    [attempt] = delivery["attempts"]
    assert delivery["id"] == received.id
    assert delivery["url"].startswith(f"{receiver.url}/mine")
    assert (attempt["number"], attempt["status"]) == (1, 200)
    assert (attempt["error"], attempt["next_at"]) == (None, None)
    assert 0 <= attempt["duration"] < 5


def test_a_job_without_webhooks_has_no_deliveries(server: Server) -> None:
    """The list exists, and is empty."""
    job: Document = end_of(server, submit(server, "/echo"))
    assert get(server, f"/jobs/{job['id']}/deliveries").json() == {"deliveries": []}


def test_credentials_in_a_url_are_shown_to_nobody(server: Server, receiver: Receiver) -> None:
    """Neither the log nor a job's deliveries show the query of a URL."""
    job = submit(server, "/echo", {}, hook(receiver, "/mine?token=hush"))
    post(server, "/direct", {})
    wait_until(lambda: attempts(server, job), "the attempt to be told")
    assert "hush" not in get(server, f"/jobs/{job['id']}/deliveries").text
    assert "hush" not in get(server, f"/jobs/{job['id']}").text
    assert "hush" not in server.log()


def test_clients_name_no_receivers_unless_they_may(start: Start, gate: Path) -> None:
    """Without ``client_urls=True``, a submit with ``Webhook-Url`` is refused and makes no job."""
    source = SOURCE.replace("client_urls=True", "client_urls=False")
    server = start(source, env={"RECEIVER": "http://127.0.0.1:9", "SECRETS": ""})
    response = post(server, "/echo", {}, {"Webhook-Url": "https://93.184.216.34/hook"})
    assert error(response) == (422, "webhook_url_refused")
    assert get(server, "/jobs").json()["jobs"] == []
