"""What one server does about a job of another one."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from cluster.load import sent_events
from cluster.servers import Cluster, Member
from e2e.jobs import Document, cancel, document, end_of, get, reaches, submit
from e2e.receiver import Received, Reply, receive
from e2e.server import wait_until

# Servers are started first; on a machine that has other work, that takes long.
pytestmark = pytest.mark.timeout(300)


def held(gate: Path) -> dict[str, object]:
    return {"number": 1, "gate": str(gate)}


def reaches_attempt(member: Member, job: Document, number: int) -> None:
    """Wait until a job has begun to run once more, after the lease of its server has ended."""

    def has_begun() -> bool:
        found = document(member.server, job)
        return (found["status"], found["attempts"]) == ("running", number)

    wait_until(has_begun, "the job runs again", seconds=15)


def test_servers_share_the_work(pair: Cluster, gate: Path) -> None:
    """While a server is busy, the other one runs the jobs that were submitted to it."""
    body = {"number": 1, "seconds": 1.5}
    jobs = [submit(pair.members[0].server, "/work", body) for _ in range(2)]
    assert {id(pair.running(job)) for job in jobs} == {id(one) for one in pair.members}


def test_any_server_waits_for_a_job(pair: Cluster, gate: Path) -> None:
    """A client is told the end of a job by whichever server it asks."""
    job = submit(pair.members[0].server, "/long", held(gate))
    pair.running(job)
    wait = {"Prefer": "wait=20"}
    with ThreadPoolExecutor(2) as pool:
        answers = [pool.submit(get, one.server, f"/jobs/{job['id']}", wait) for one in pair.members]
        gate.touch()
        assert [answer.result().json()["status"] for answer in answers] == ["succeeded"] * 2


def test_any_server_streams_the_events_of_a_job(pair: Cluster, gate: Path) -> None:
    """A client that follows a job elsewhere gets its events as they come, to the end."""
    job = submit(pair.members[0].server, "/long", held(gate))
    (other,) = pair.others(pair.running(job))
    path = f"/jobs/{job['id']}/events"
    with other.server.client() as http, http.stream("GET", path) as answer:
        events = sent_events(answer)
        assert [next(events)[0], next(events)[0]] == [1, 2]
        gate.touch()
        assert [event_id for event_id, _ in events] == [3]


def test_any_server_cancels_a_job(pair: Cluster, gate: Path) -> None:
    """A job ends early although the server that is asked does not run it."""
    job = submit(pair.members[0].server, "/long", held(gate))
    (other,) = pair.others(pair.running(job))
    assert cancel(other.server, job).status_code == httpx.codes.ACCEPTED
    assert end_of(other.server, job)["status"] == "cancelled"


def test_a_server_that_has_lost_a_job_cancels_it_all_the_same(pair: Cluster, gate: Path) -> None:
    """A cancel that is acknowledged ends the job, wherever it runs by now."""
    job = submit(pair.members[0].server, "/long", held(gate))
    victim = pair.running(job)
    with victim.paused():
        reaches_attempt(pair.others(victim)[0], job, 2)
        connection = victim.server.connect()
        connection.sendall(f"DELETE /jobs/{job['id']} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    with connection:
        assert b" 202 " in connection.recv(100)
    assert end_of(victim.server, job)["status"] == "cancelled"


def test_a_key_means_the_same_to_all_servers(pair: Cluster) -> None:
    """A request that is sent again to another server is the same job."""
    headers = {"Idempotency-Key": "once"}
    ids = {
        submit(one.server, "/work", {"number": 1, "seconds": 0}, headers)["id"]
        for one in pair.members
    }
    assert len(ids) == 1


def test_another_server_runs_the_jobs_of_one_that_has_died(pair: Cluster, gate: Path) -> None:
    """A job runs again once the lease of its server has ended, without anybody's doing."""
    job = submit(pair.members[0].server, "/long", held(gate))
    victim = pair.running(job)
    (other,) = pair.others(victim)
    victim.kill()
    reaches_attempt(other, job, 2)
    gate.touch()
    assert end_of(other.server, job)["output"] == 1


def test_a_busy_server_goes_on_once_another_has_run_what_was_left(
    pair: Cluster, gate: Path
) -> None:
    """A server runs what a dead one has left alone, but does not wait for its turn for ever."""
    left = submit(pair.members[0].server, "/long", held(gate))
    victim = pair.running(left)
    (busy,) = pair.others(victim)
    with victim.paused():
        pair.running(submit(busy.server, "/long", held(gate)))
    victim.kill()
    victim.start()
    reaches_attempt(victim, left, 2)  # as the other server is busy
    test_servers_share_the_work(pair, gate)


def test_another_server_runs_the_jobs_of_one_that_stops(pair: Cluster, gate: Path) -> None:
    """A job that outlasts the grace period is put back, and the attempt does not count."""
    job = submit(pair.members[0].server, "/long", held(gate))
    (other,) = pair.others(pair.running(job))
    assert pair.running(job).server.stop() == 0
    assert pair.running(job) is other
    gate.touch()
    assert end_of(other.server, job)["output"] == 1


def test_a_server_that_was_stopped_ends_nothing(pair: Cluster, gate: Path) -> None:
    """What a server reports of a job after its lease has ended is refused."""
    job = submit(pair.members[0].server, "/long", held(gate))
    victim = pair.running(job)
    (other,) = pair.others(victim)
    with victim.paused():
        reaches_attempt(other, job, 2)
    gate.touch()
    assert end_of(other.server, job)["attempts"] == 2
    assert end_of(victim.server, job) == end_of(other.server, job)


def test_another_server_posts_the_webhooks_of_one_that_has_died(pair: Cluster) -> None:
    """A webhook under way is sent again, under its id, although nothing else happens."""

    def answer(received: Received) -> Reply:
        return Reply(delay=1.5 if received.number == 1 else 0)

    with receive(answer) as receiver:
        body, headers = {"number": 1, "seconds": 0}, {"Webhook-Url": receiver.url}
        job = submit(pair.members[0].server, "/work", body, headers)
        first = receiver.next()
        pair.posting(job).kill()
        again = receiver.next(seconds=pair.lease + 10)
        assert again.id == first.id


def test_a_webhook_is_posted_by_one_server(pair: Cluster) -> None:
    """A webhook that arrives is sent once."""
    with receive() as receiver:
        headers = {"Webhook-Url": receiver.url}
        body = {"number": 1, "seconds": 0}
        jobs = [submit(one.server, "/work", body, headers) for one in pair.members * 10]
        for job in jobs:
            reaches(pair.members[0].server, job, "succeeded")
        wait_until(lambda: len({one.id for one in receiver.all()}) == len(jobs), "all arrive")
        assert len(receiver.all()) == len(jobs)
