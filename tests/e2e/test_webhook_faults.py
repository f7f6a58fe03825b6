"""Rows 29, 30 and 32 of the fault table: receivers that fail, each in its own way."""

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from signal import SIGKILL, SIGTERM, Signals

import httpx
import pytest
from e2e.jobs import IMPORTS, SERVE, Document, attempts, end_of, get, post, submit
from e2e.receiver import SECRET, Received, Receiver, Reply, receive
from e2e.server import Server, Start, free_port, serve_source, wait_until

SOURCE = (
    IMPORTS
    + """
url = os.environ["RECEIVER"]
app = Potassium(
    "server",
    jobs=Jobs(),
    webhooks=Webhooks(
        secret=os.environ["SECRET"], client_urls=True, allow=["127.0.0.0/8"], timeout=1.5
    ),
)


@app.background("/echo")
def echo(cache, json_in):
    return json_in


@app.handler("/direct")
@app.result_webhook(url=url + "/direct")
def direct(cache, json_in):
    return json_in


@app.handler("/sends")
def sends(cache, json_in):
    send_webhook(url + "/sent", json_in)
"""
    + SERVE
)
WITHOUT_JOBS = (
    IMPORTS
    + """
app = Potassium("server")


@app.handler("/direct")
@app.result_webhook(url=os.environ["RECEIVER"] + "/direct")
def direct(cache, json_in):
    return json_in
"""
    + SERVE
)
FIRST_GAP = (4.0, 7.5)  # seconds from the first attempt to the second: 5, 20 % jitter, and slack
WATCHED = 9.0  # seconds
FAULTS = {
    "500": Reply(500),
    "429": Reply(429),
    "404": Reply(404),
    "302": Reply(302, {"Location": "/followed"}),
    "307": Reply(307, {"Location": "/followed"}),
    "slow": Reply(delay=5.0),  # longer than the timeout
    "later": Reply(503, {"Retry-After": "7"}),
}


def fail_once(received: Received) -> Reply:
    """Answer the first attempt as its path says, and later ones with 200 (except for a 410)."""
    fault = received.path.rpartition("/")[2]
    if fault == "410":
        return Reply(410)
    return FAULTS.get(fault, Reply(500)) if received.number == 1 else Reply()


@dataclass
class Watched:
    """A receiver that failed once in every way, all at the same time, and what it got."""

    receiver: Receiver
    late: Receiver  # did not listen at first
    jobs: dict[str, Document]
    server: Server

    def gap(self, path: str) -> float:
        """Return the seconds between the first two attempts."""
        first, second, *_ = self.receiver.all(path)
        return second.at - first.at


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    folder, late_port = tmp_path_factory.mktemp("faults"), free_port()
    with receive(fail_once) as receiver:
        env = {"RECEIVER": receiver.url, "SECRET": SECRET}
        with serve_source(SOURCE, folder, env=env) as server:
            urls = {fault: f"{receiver.url}/{fault}" for fault in [*FAULTS, "410"]}
            urls["down"] = f"http://127.0.0.1:{late_port}/down"
            jobs = {
                fault: submit(server, "/echo", {}, {"Webhook-Url": url})
                for fault, url in urls.items()
            }
            post(server, "/direct", {})
            post(server, "/sends", {})
            wait_until(lambda: attempts(server, jobs["down"]), "the first attempt")
            with receive(port=late_port) as late:
                time.sleep(WATCHED)
                yield Watched(receiver, late, jobs, server)


@pytest.mark.parametrize("path", ["/500", "/429", "/404", "/302", "/307", "/direct", "/sent"])
def test_what_failed_is_tried_again_on_the_schedule(watched: Watched, path: str) -> None:
    """Row 29: the second attempt of any kind of webhook comes after about 5 s."""
    assert FIRST_GAP[0] <= watched.gap(path) <= FIRST_GAP[1]


def test_a_slow_receiver_is_tried_again(watched: Watched) -> None:
    """Row 29: an attempt that outlasts ``timeout`` has failed, and the 5 s follow."""
    assert FIRST_GAP[0] <= watched.gap("/slow") <= FIRST_GAP[1] + 1.5


def test_a_receiver_that_was_down_gets_it_later(watched: Watched) -> None:
    """Row 29: a receiver that did not listen at first gets the webhook later."""
    [received] = watched.late.all("/down")
    received.verify()
    assert received.body["id"] == watched.jobs["down"]["id"]


def test_a_receiver_says_when_it_is_ready_again(watched: Watched) -> None:
    """``Retry-After`` is respected: not before, and not long after."""
    assert 6.5 <= watched.gap("/later") <= 9.0


@pytest.mark.parametrize("path", ["/500", "/slow", "/direct", "/sent"])
def test_each_attempt_has_the_same_id_and_body(watched: Watched, path: str) -> None:
    """Receivers can recognise a repeated webhook; each attempt is signed anew with its own time."""
    first, second = watched.receiver.all(path)
    assert (first.id, first.content) == (second.id, second.content)
    first.verify()
    second.verify()
    assert int(second.headers["webhook-timestamp"]) > int(first.headers["webhook-timestamp"])


def test_what_has_arrived_is_not_sent_again(watched: Watched) -> None:
    """After a 2xx there is no further attempt."""
    assert [len(watched.receiver.all(f"/{fault}")) for fault in FAULTS] == [2] * len(FAULTS)


def test_a_redirect_is_not_followed(watched: Watched) -> None:
    """Row 30: nothing is sent to where a redirect leads."""
    assert watched.receiver.all("/followed") == []
    assert attempts(watched.server, watched.jobs["302"])[0]["status"] == 302


def test_gone_stops_deliveries(watched: Watched) -> None:
    """Row 30: after a 410 there is no second attempt, and none is announced."""
    assert len(watched.receiver.all("/410")) == 1
    [attempt] = attempts(watched.server, watched.jobs["410"])
    assert (attempt["status"], attempt["next_at"]) == (410, None)


def test_deliveries_tell_what_failed(watched: Watched) -> None:
    """The first attempt is listed with its error and the time of the next; the second without."""
    first, second = attempts(watched.server, watched.jobs["500"])
    assert (first["number"], first["status"]) == (1, 500)
    assert first["error"]
    times = [datetime.fromisoformat(moment) for moment in (first["at"], first["next_at"])]
    assert 4.0 <= (times[1] - times[0]).total_seconds() <= 6.5
    assert (second["number"], second["status"], second["error"]) == (2, 200, None)


@pytest.mark.parametrize("fault", ["down", "slow"])
def test_deliveries_tell_of_receivers_that_did_not_answer(watched: Watched, fault: str) -> None:
    """The attempt has an error, and no status."""
    first, *_ = attempts(watched.server, watched.jobs[fault])
    assert first["status"] is None
    assert first["error"]


def test_an_app_without_jobs_tries_again_too(start: Start) -> None:
    """Retries are kept in memory, on the same schedule."""
    with receive(fail_once) as receiver:
        server = start(WITHOUT_JOBS, env={"RECEIVER": receiver.url})
        post(server, "/direct", {"a": 1})
        first, second = receiver.next(), receiver.next(seconds=FIRST_GAP[1])
    assert (first.id, second.body) == (second.id, {"a": 1})
    assert second.at - first.at >= FIRST_GAP[0]


@pytest.mark.parametrize("sig", [SIGKILL, SIGTERM], ids=lambda sig: sig.name)
@pytest.mark.parametrize("path", ["/echo", "/direct"])
def test_retries_go_on_after_a_restart(start: Start, sig: Signals, path: str) -> None:
    """Row 29: the next process sends what the receiver has not accepted, with the same id."""
    with receive(fail_once) as receiver:
        env = {"RECEIVER": receiver.url, "SECRET": SECRET}
        server = start(SOURCE, env=env)
        headers = {"Webhook-Url": f"{receiver.url}/500"} if path == "/echo" else {}
        post(server, path, {}, headers)
        first = receiver.next()
        time.sleep(0.3)  # time for the answer to be stored
        server.stop(sig)
        start(SOURCE, env=env)
        second = receiver.next(seconds=FIRST_GAP[1])
    assert (first.id, first.content) == (second.id, second.content)
    assert second.at - first.at >= FIRST_GAP[0]
    second.verify()


def test_a_slow_receiver_delays_no_other(watched: Watched) -> None:
    """Though fifty deliveries hang at one receiver, another one, calls and probes are served."""
    hangs = Reply(delay=30)
    with receive(lambda _: hangs) as slow, receive() as quick:
        server = watched.server
        for _ in range(50):
            submit(server, "/echo", {}, {"Webhook-Url": f"{slow.url}/hangs"})
        wait_until(slow.all, "the slow receiver's first")
        submit(server, "/echo", {"a": 1}, {"Webhook-Url": f"{quick.url}/quick"})
        assert quick.next(seconds=2).body["output"] == {"a": 1}
        start = time.monotonic()
        assert server.get("/healthz").status_code == 200
        assert time.monotonic() - start < 5  # an attempt takes far longer
        # ``per_host`` at a time, each for as long as an attempt may take.
        times = [one.at for one in slow.all()]
        assert all(later - early > 1.4 for early, later in zip(times, times[8:], strict=False))


def endless(pause: float) -> Iterator[bytes]:
    piece = b"x" * (1 if pause else 65536)
    while True:
        yield piece
        threading.Event().wait(pause)


@pytest.mark.parametrize("pause", [0.0, 0.05], ids=["gigabytes", "drip"])
def test_an_endless_answer_is_not_read(watched: Watched, pause: float) -> None:
    """Row 32: only a little of the answer leaves the receiver, and the attempt ends in time."""
    server = watched.server
    with receive(lambda _: Reply(body=endless(pause))) as receiver:
        job = submit(server, "/echo", {}, {"Webhook-Url": f"{receiver.url}/endless"})
        wait_until(lambda: attempts(server, job), "the end of the attempt", seconds=5)
        [attempt] = attempts(server, job)
        assert attempt["duration"] < 3
        wait_until(lambda: receiver.body_sent, "some of the answer")
        sent = receiver.body_sent
        time.sleep(0.3)
        assert receiver.body_sent - sent < 1_000_000
        assert receiver.body_sent < 10_000_000  # what lies in socket buffers, not what is read


def test_memory_is_not_filled_by_answers(watched: Watched) -> None:
    """Gigabytes from each of twenty receivers leave the server as large as it was."""
    server = watched.server
    with receive(lambda _: Reply(body=endless(0))) as receiver:
        end_of(server, submit(server, "/echo"))
        before = server.peak_memory()
        jobs = [
            submit(server, "/echo", {}, {"Webhook-Url": f"{receiver.url}/{n}"}) for n in range(20)
        ]
        wait_until(lambda: all(attempts(server, job) for job in jobs), "all tried", seconds=20)
        assert server.peak_memory() - before < 50_000_000
    assert get(server, "/jobs").status_code == httpx.codes.OK
