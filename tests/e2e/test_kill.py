"""A server that is killed again and again loses no job and no webhook.

``nox -s kill`` runs fifty rounds, the test suite three. A test that fails prints the seed of the
random moments; ``KILL_SEED`` sets it.
"""

import os
import random

import pytest
from e2e.kill_rounds import KillRounds, Outcome, ends, is_final

ROUNDS = int(os.environ.get("KILL_ROUNDS", "3"))
SEED = int(os.environ.get("KILL_SEED", random.SystemRandom().randrange(10**6)))
pytestmark = pytest.mark.timeout(180 + 60 * ROUNDS)


@pytest.fixture(scope="module")
def rounds(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return KillRounds(ROUNDS, SEED).run(tmp_path_factory.mktemp("kill"))


@pytest.fixture
def outcome(rounds: Outcome) -> Outcome:
    print(f"KILL_SEED={SEED}")  # noqa: T201 - pytest shows it where a test fails
    return rounds


def test_every_job_was_acknowledged_once(outcome: Outcome) -> None:
    """One key has one id, even if the first answer was lost with the server."""
    assert {number: len(ids) for number, ids in outcome.ids.items()} == dict.fromkeys(
        outcome.submitted, 1
    )


def test_every_acknowledged_job_has_ended(outcome: Outcome) -> None:
    """Each job is in a terminal state, and none is unknown."""
    assert [one for one in outcome.documents.values() if not is_final(one)] == []
    assert len(outcome.documents) == len(outcome.submitted)


def test_every_job_has_one_end(outcome: Outcome) -> None:
    """A job's webhooks and its final document report the same end."""
    assert [found for number in outcome.ids if len(found := ends(outcome, number)) != 1] == []


def test_only_kills_made_jobs_fail(outcome: Outcome) -> None:
    """A job that did not succeed was running at three kills."""
    codes = {one["error"]["code"] for one in outcome.documents.values() if "error" in one}
    assert codes <= {"interrupted"}


def test_every_job_has_its_own_output(outcome: Outcome) -> None:
    """No job has the output of another one."""
    for number, (job_id, *_) in outcome.ids.items():
        document = outcome.documents[job_id]
        if document["status"] == "succeeded":
            assert document["output"] == number


def test_every_webhook_has_arrived(outcome: Outcome) -> None:
    """Each webhook arrives at least once, at a receiver that refuses half of the attempts."""
    assert set(outcome.submitted) - outcome.accepted == set()


def test_every_webhook_keeps_its_id(outcome: Outcome) -> None:
    """A webhook has one id, however often and by however many processes it is sent."""
    ids = [{one.id for one in received} for received in outcome.received.values()]
    assert [found for found in ids if len(found) != 1] == []
    assert len(set.union(*ids)) == len(outcome.submitted)


def test_every_webhook_is_signed(outcome: Outcome) -> None:
    """The signature of each attempt verifies."""
    assert outcome.forged == []


def test_the_receiver_failed_half_the_time(outcome: Outcome) -> None:
    """The test is as hard as it claims to be."""
    attempts = sum(len(received) for received in outcome.received.values())
    assert 0.35 < 1 - len(outcome.accepted) / attempts < 0.65


def test_the_kills_met_work(outcome: Outcome) -> None:
    """In at least one round, some job had not been delivered when the server was killed."""
    assert len(outcome.unfinished) == ROUNDS
    assert max(outcome.unfinished) > 0
