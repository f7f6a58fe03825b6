"""What a server does while its database is away."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from cluster.servers import Cluster
from e2e.jobs import document, end_of, post, submit
from e2e.server import error, wait_until

LINES = 15  # of a server about a database that is away
# Servers are started first; on a machine that has other work, that takes long.
pytestmark = pytest.mark.timeout(300)

UNREACHABLE = {
    "ready": False,
    "reason": "store_failed",
    "detail": "the database cannot be reached",
}


def test_readiness_says_that_the_database_is_missing(pair: Cluster) -> None:
    """Each server is not ready until the database is back, and says why."""
    servers = [one.server for one in pair.members]
    pair.postgres.stop("immediate")
    for server in servers:
        wait_until(lambda: server.get("/readyz").status_code == 503, "it is missed")  # noqa: B023
        assert server.get("/readyz").json() == UNREACHABLE
        assert server.get("/healthz").status_code == httpx.codes.OK
    pair.postgres.start()
    for server in servers:
        wait_until(lambda: server.get("/readyz").status_code == 200, "it is back")  # noqa: B023


def test_a_job_that_cannot_be_stored_is_refused(pair: Cluster) -> None:
    """A job is acknowledged only if the database has it."""
    pair.postgres.stop("immediate")
    for one in pair.members:
        answer = post(one.server, "/work", {"number": 1, "seconds": 0})
        assert error(answer) == (503, "store_failed")


def test_direct_calls_go_on(pair: Cluster) -> None:
    """A call that needs no database is served while it is away."""
    server = pair.members[0].server
    pair.postgres.stop("immediate")
    wait_until(lambda: server.get("/readyz").status_code == 503, "it is missed")
    assert [post(server, "/direct", {"number": n}).json() for n in range(20)] == [
        {"number": n} for n in range(20)
    ]


def test_direct_calls_do_not_wait_for_a_database_that_does_not_answer(pair: Cluster) -> None:
    """Calls are served while a network swallows everything, and jobs are refused in the end."""
    member = pair.members[0]
    member.proxy.swallow()
    with ThreadPoolExecutor(1) as pool:
        job = pool.submit(post, member.server, "/work", {"number": 1, "seconds": 0})
        for number in range(20):
            assert post(member.server, "/direct", {"n": number}).json() == {"n": number}
        assert not job.done()
        assert error(job.result()) == (503, "store_failed")
    assert member.server.get("/readyz").status_code == 503


def test_a_job_that_runs_is_stored_once_the_database_is_back(pair: Cluster, gate: Path) -> None:
    """A job goes on while the database is away for longer than a lease, and is not run again."""
    server = pair.members[0].server
    job = submit(server, "/long", {"number": 1, "gate": str(gate)})
    pair.running(job)
    pair.postgres.stop("immediate")
    gate.touch()
    time.sleep(2 * pair.lease)
    pair.postgres.start()
    ended = end_of(server, job)
    assert (ended["output"], ended["attempts"]) == (1, 1)


def test_jobs_that_wait_run_once_the_database_is_back(pair: Cluster) -> None:
    """Nobody has to wake a server for the jobs that were queued before."""
    server = pair.members[0].server
    jobs = [submit(server, "/work", {"number": n, "seconds": 0.1}) for n in range(20)]
    pair.postgres.stop("immediate")
    pair.postgres.start()
    assert [end_of(server, job)["output"] for job in jobs] == list(range(20))


def test_an_outage_is_a_few_lines_on_the_log(pair: Cluster, gate: Path) -> None:
    """However many jobs run, and however many are refused, the log stays small."""
    member = pair.members[0]
    jobs = [submit(member.server, "/long", {"number": n, "gate": str(gate)}) for n in range(20)]
    pair.running(jobs[-1])
    before = len(complaints(member.logs[-1]))
    pair.postgres.stop("immediate")
    gate.touch()
    for _ in range(200):
        post(member.server, "/work", {"number": 1, "seconds": 0})
    time.sleep(3)
    pair.postgres.start()
    assert {end_of(member.server, job)["status"] for job in jobs} == {"succeeded"}
    lines = complaints(member.logs[-1])[before:]
    assert [line for line in lines if "exception" in line] == []
    assert 2 <= len(lines) <= LINES


def test_a_commit_whose_answer_is_lost_is_found_out(pair: Cluster) -> None:
    """A submit whose commit has happened is acknowledged, though nobody has said so."""
    member = pair.members[0]
    cuts = member.proxy.cuts
    member.proxy.cut_commits(True)
    job = submit(member.server, "/work", {"number": 7, "seconds": 0})
    wait_until(lambda: member.proxy.cuts > cuts, "a commit was cut off")
    assert end_of(member.server, job)["output"] == 7
    assert document(member.server, job)["attempts"] == 1


def complaints(log: Path) -> list[dict[str, object]]:
    records = map(json.loads, log.read_text().splitlines())
    return [one for one in records if one["level"] != "INFO"]
