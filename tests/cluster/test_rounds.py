"""Three servers on one database lose no job and no webhook, whatever breaks.

``nox -s cluster`` runs fifty rounds, the test suite three. In each, servers or the database are
killed, stopped or cut off. A test that fails prints the seed of the random moments;
``CLUSTER_SEED`` sets it.
"""

import os
import random
from collections import Counter

import pytest
from cluster.load import HANDLERS, is_last
from cluster.rounds import SERVERS, Outcome, Rounds
from cluster.servers import GRACE
from e2e.jobs import FINAL

ROUNDS = int(os.environ.get("CLUSTER_ROUNDS", "3"))
SEED = int(os.environ.get("CLUSTER_SEED", random.SystemRandom().randrange(10**6)))
LINES = 40  # that a fault may cause on the log of each server
pytestmark = pytest.mark.timeout(300 + 40 * ROUNDS)


@pytest.fixture(scope="module")
def rounds(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    outcome = Rounds(ROUNDS, SEED).run(tmp_path_factory.mktemp("cluster"))
    print(outcome.summary())  # noqa: T201 - pytest shows it with --capture=no
    return outcome


@pytest.fixture
def outcome(rounds: Outcome) -> Outcome:
    print(f"CLUSTER_SEED={SEED}")  # noqa: T201 - pytest shows it where a test fails
    return rounds


def test_every_job_was_acknowledged_once(outcome: Outcome) -> None:
    """One key is one job, at whichever servers it was submitted."""
    ids = outcome.load.ids
    assert [own for own in ids.values() if len(own) != 1] == []
    assert sorted(ids) == list(outcome.submitted)


def test_every_acknowledged_job_has_ended(outcome: Outcome) -> None:
    """No job is lost, and none is running for ever."""
    documents = [one for some in outcome.documents.values() for one in some]
    assert [one for one in documents if one.get("status") not in FINAL] == []
    assert len(documents) == SERVERS * len(outcome.submitted)


def test_all_servers_show_the_same(outcome: Outcome) -> None:
    """A job and its events are the same at each server."""
    for job_id, documents in outcome.documents.items():
        assert documents == [documents[0]] * SERVERS
        assert outcome.events[job_id] == [outcome.events[job_id][0]] * SERVERS


def test_every_job_has_its_own_outcome(outcome: Outcome) -> None:
    """A job succeeds with its own output, or fails as its handler does, or is cancelled."""
    for number in outcome.submitted:
        handler = HANDLERS[number % len(HANDLERS)]
        document = outcome.document(number)
        found = document["status"], document.get("output", document.get("error", {}).get("code"))
        if found == ("failed", "interrupted"):
            continue  # its server died three times while it ran alone
        if handler == "/long":
            assert found == ("cancelled", "job_cancelled")
        elif handler == "/fails":
            assert found == ("failed", "handler_error")
        elif handler == "/stream":
            assert found == ("succeeded", [[number, chunk] for chunk in range(10)])
        else:
            assert found == ("succeeded", number)


def test_hardly_any_job_was_interrupted(outcome: Outcome) -> None:
    """A job fails because of kills only if it is the victim of three of them, alone."""
    codes = Counter(
        outcome.document(number).get("error", {}).get("code") for number in outcome.submitted
    )
    assert codes["interrupted"] <= outcome.faults.counts.get("kill", 0) / 3


def test_every_job_has_one_end_among_its_events(outcome: Outcome) -> None:
    """The events of a job have ids without gaps, and exactly one of them, the last, is its end."""
    for some in outcome.events.values():
        events = some[0]
        assert [event_id for event_id, _ in events] == list(range(1, len(events) + 1))
        assert [event_id for event_id, data in events if is_last(data)] == [len(events)]


def test_who_follows_a_job_gets_every_event_once(outcome: Outcome) -> None:
    """A client that reads events from one server after the other gets them all, in order."""
    assert outcome.load.events
    for number, got in outcome.load.events.items():
        (job_id,) = outcome.load.ids[number]
        assert got == outcome.events[job_id][0]


def test_every_webhook_has_arrived(outcome: Outcome) -> None:
    """Each webhook arrives, although its receiver refuses or ignores many first attempts."""
    assert set(outcome.submitted) - outcome.accepted == set()


def test_every_webhook_has_one_id(outcome: Outcome) -> None:
    """A webhook has one id, by however many servers it is sent, and no other webhook has it."""
    ids = [{one.id for one in received} for received in outcome.received.values()]
    assert [found for found in ids if len(found) != 1] == []
    assert len(set.union(*ids)) == len(outcome.submitted)


def test_every_webhook_tells_the_end_of_its_job(outcome: Outcome) -> None:
    """What webhooks say of a job is what all servers show."""
    for number, received in outcome.received.items():
        document = outcome.document(number)
        told = {(one.body["status"], one.body["finished_at"]) for one in received}
        assert told == {(document["status"], document["finished_at"])}


def test_every_webhook_is_signed(outcome: Outcome) -> None:
    """The signature of each attempt verifies."""
    assert outcome.forged == []


def test_the_counts_are_right(outcome: Outcome) -> None:
    """The metrics of each server count the jobs that are in the table."""
    assert [census for census in outcome.census if census != outcome.counts] == []


def test_nothing_is_left_of_servers_that_are_gone(outcome: Outcome) -> None:
    """All that servers have left that died, or lost their leases, was taken up."""
    assert outcome.servers == SERVERS


def test_no_server_has_failed_by_itself(outcome: Outcome) -> None:
    """The only tracebacks on the logs are those of the handlers that raise."""
    tracebacks = [record["exception"] for record in outcome.records if "exception" in record]
    assert [one for one in tracebacks if "attempt fails" not in one] == []


def test_the_logs_are_bounded(outcome: Outcome) -> None:
    """A fault is a few lines on the log of each server, however many jobs it holds up."""
    faults = sum(outcome.faults.counts.values())
    assert len(outcome.complaints()) <= LINES * SERVERS * faults


def test_a_server_that_is_asked_to_stop_does(outcome: Outcome) -> None:
    """A server ends within its grace period and a few seconds."""
    assert [stop for stop in outcome.faults.stops if stop[0] > GRACE + 6 or stop[1] != 0] == []


def test_who_waits_is_told_soon(outcome: Outcome) -> None:
    """A server that waits for a job hears of its end, although another one has run it."""
    waits = sorted(outcome.load.waits)
    assert waits[len(waits) // 2] < 2.0
