"""How a server stops and starts while its database is away."""

import signal
import time
from pathlib import Path

import pytest
from cluster.servers import GRACE, START_TIME, Cluster
from e2e.jobs import end_of, submit
from e2e.server import wait_until

SOON = 8.0  # seconds
PATIENCE = 15.0  # seconds that a server waits for its database
# Servers are started first; on a machine that has other work, that takes long.
pytestmark = pytest.mark.timeout(300)


def test_a_server_stops_while_its_database_is_away(pair: Cluster, gate: Path) -> None:
    """It ends within its grace period and a few seconds, and leaves its job to the others."""
    job = submit(pair.members[0].server, "/long", {"number": 1, "gate": str(gate)})
    member = pair.running(job)
    pair.postgres.stop("immediate")
    began = time.monotonic()
    member.server.process.send_signal(signal.SIGTERM)
    member.ended(60)
    assert time.monotonic() - began < GRACE + SOON
    pair.postgres.start()
    gate.touch()
    (other,) = pair.others(member)
    assert end_of(other.server, job)["output"] == 1


def test_a_server_stops_while_its_database_does_not_answer(pair: Cluster, gate: Path) -> None:
    """It does not wait until the network gives up."""
    job = submit(pair.members[0].server, "/long", {"number": 1, "gate": str(gate)})
    member = pair.running(job)
    member.proxy.swallow()
    began = time.monotonic()
    member.server.process.send_signal(signal.SIGTERM)
    member.ended(60)
    assert time.monotonic() - began < GRACE + SOON


def test_a_server_waits_for_its_database_to_come_up(pair: Cluster) -> None:
    """They may start in any order."""
    member = pair.members[0]
    member.kill()
    pair.postgres.stop("immediate")
    member.begin()
    wait_until(lambda: member.server.process.poll() is None, "it runs")
    time.sleep(3)
    assert member.server.process.poll() is None
    pair.postgres.start()
    wait_until(member.is_ready, "it is ready", seconds=START_TIME)


def test_a_server_without_a_database_says_so(pair: Cluster) -> None:
    """It ends, with a status of 1, and names what is missing."""
    member = pair.members[0]
    member.kill()
    pair.postgres.stop("immediate")
    member.begin()
    starts = "Waiting for application startup"
    wait_until(lambda: starts in member.server.log(), "it starts", seconds=START_TIME)
    began = time.monotonic()
    assert member.ended(60) != 0
    assert time.monotonic() - began < PATIENCE + 10
    assert "the PostgreSQL database cannot be used for jobs" in member.server.log()
    assert "Traceback" not in member.server.log()
