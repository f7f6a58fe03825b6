"""A worker that is killed takes along what it had begun, and nothing else."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from e2e.server import Server, wait_until
from e2e.workers.processes import (
    AT_ONCE,
    PATIENCE,
    START_TIME,
    TIMEOUT,
    Answered,
    crew,
    hold_init,
    inits,
    is_gone,
    kill,
    order,
    runs,
    workers,
)

pytestmark = TIMEOUT
FAILED = (503, "worker_failed")
NAMES = [f"waiting {number}" for number in range(6)]


def seconds_to(answered: Answered, killed: float) -> float:
    """Return after how long the caller heard."""
    return answered.at - killed


@dataclass
class InACall:
    """What happened when one of two busy workers was killed, while six calls waited."""

    server: Server
    log: str
    killed: int
    other: int
    seconds: float
    culprit: Answered
    bystander: Answered
    waiting: list[Answered]
    ready: list[int] = field(default_factory=list)  # the status of /readyz, again and again


@pytest.fixture(scope="module")
def in_a_call(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InACall]:
    with crew(tmp_path_factory.mktemp("call")) as caller:
        server = caller.server
        culprit, victim = caller.occupy("/run", "culprit")
        bystander, other = caller.occupy("/run", "bystander")
        waiting = caller.queue("/run", NAMES)
        now = time.monotonic()
        kill(victim)
        ended = culprit.result()
        ready = []
        while len(inits(server)) < 3 or not all(runs(server, one) for one in NAMES):
            ready.append(server.get("/readyz").status_code)
            assert time.monotonic() < now + PATIENCE, server.log()
        answers = [one.result() for one in waiting]
        yield InACall(
            server,
            server.log(),
            victim,
            other,
            seconds_to(ended, now),
            ended,
            bystander.go_on(),
            answers,
            ready,
        )


def test_the_call_in_a_killed_worker_gets_503(in_a_call: InACall) -> None:
    """It had begun, so it may not run again."""
    assert in_a_call.culprit.error == FAILED
    assert runs(in_a_call.server, "culprit") == [in_a_call.killed]


def test_the_caller_of_a_killed_worker_hears_at_once(in_a_call: InACall) -> None:
    """Nobody waits for a time limit, nor for the next worker."""
    assert in_a_call.seconds < AT_ONCE


def test_calls_that_wait_do_not_notice_a_death(in_a_call: InACall) -> None:
    """Each is answered by the worker that takes the place of the dead one."""
    assert {one.pid for one in in_a_call.waiting}.isdisjoint({in_a_call.killed, in_a_call.other})


def test_calls_that_wait_keep_their_order_after_a_death(in_a_call: InACall) -> None:
    """Each runs once, in the order of arrival."""
    assert order(in_a_call.server, "waiting") == NAMES


def test_a_call_in_another_worker_does_not_notice_a_death(in_a_call: InACall) -> None:
    """It ends in the process in which it began."""
    assert in_a_call.bystander.pid == in_a_call.other
    assert runs(in_a_call.server, "bystander") == [in_a_call.other]


def test_a_server_stays_ready_while_a_worker_is_replaced(in_a_call: InACall) -> None:
    """No probe fails from the death until the new worker serves."""
    assert set(in_a_call.ready) == {200}


def test_one_worker_is_loaded_for_one_that_died(in_a_call: InACall) -> None:
    """``init`` has run three times in all."""
    assert len(inits(in_a_call.server)) == 3
    assert is_gone(in_a_call.killed)


def test_the_log_says_who_died_and_how(in_a_call: InACall) -> None:
    """It names the device and the signal."""
    assert "cpu" in in_a_call.log
    assert "SIGKILL" in in_a_call.log


def test_a_death_is_no_traceback(in_a_call: InACall) -> None:
    """It is what the server is built for."""
    assert "Traceback" not in in_a_call.log


def test_the_death_of_an_idle_worker_is_noticed_by_nobody(tmp_path: Path) -> None:
    """All calls that are sent from this moment on are served, and two workers serve again."""
    with crew(tmp_path) as caller:
        old = workers(caller.server)
        kill(old[0])
        calls = [caller.send("/run", f"after {number}") for number in range(20)]
        assert old[0] not in {one.result().pid for one in calls}
        caller.served_by_two(old)
        assert len(inits(caller.server)) == 3


def test_calls_wait_while_no_worker_is_left(tmp_path: Path) -> None:
    """All workers die at the same moment; what arrives then is served by those that follow."""
    with crew(tmp_path) as caller:
        old = workers(caller.server)
        for pid in old:
            kill(pid)
        calls = [caller.send("/run", f"after {number}") for number in range(10)]
        assert {one.result().pid for one in calls}.isdisjoint(old)
        assert caller.server.get("/healthz").status_code == 200


def test_others_are_served_while_a_new_worker_loads(tmp_path: Path) -> None:
    """A model that takes long to load holds up nobody, and then its worker serves."""
    with crew(tmp_path) as caller:
        old = workers(caller.server)
        held = hold_init(caller.server)
        kill(old[0])
        wait_until(
            lambda: len(inits(caller.server)) == 3, "a new worker that loads", seconds=START_TIME
        )
        assert [caller.send("/run", f"{n}").result().pid for n in range(5)] == [old[1]] * 5
        held.unlink()
        caller.served_by_two(old)


def test_all_calls_of_a_batch_in_a_killed_worker_get_503(tmp_path: Path) -> None:
    """All had begun; they hear at once, and none runs again."""
    with crew(tmp_path) as caller:
        first, victim = caller.occupy("/run", "first")
        bystander, other = caller.occupy("/run", "bystander")
        names = [f"item {number}" for number in range(4)]
        gate = tmp_path / "gate"
        caller.gates.append(gate)
        calls = caller.queue("/batch", names, gate=str(gate))
        first.go_on()
        wait_until(lambda: runs(caller.server, "item"), "the batch at work")
        assert runs(caller.server, "batch") == [4]
        now = time.monotonic()
        kill(victim)
        ended = [one.result() for one in calls]
        gate.touch()
        assert [one.error for one in ended] == [FAILED] * 4
        assert max(seconds_to(one, now) for one in ended) < AT_ONCE
        bystander.go_on()
        caller.served_by_two([victim, other])
        assert runs(caller.server, "batch") == [4]


def test_what_a_killed_worker_had_not_begun_keeps_its_old_rank(tmp_path: Path) -> None:
    """Calls that were handed to it run elsewhere, once, before those that came after them."""
    with crew(tmp_path, env={"WORKERS": "1"}) as caller:
        with caller.server.client() as http:
            for _ in range(300):  # so that all that wait are handed over together
                http.post("/quick", json={})
        first, victim = caller.occupy("/run", "first")
        blocking = caller.hold("/quick", "blocking")
        wait_until(lambda: caller.length() == 1, "the blocking call in the queue")
        calls = caller.queue("/quick", [f"behind {number}" for number in range(8)])
        first.go_on()
        wait_until(lambda: runs(caller.server, "blocking"), "the blocking call at work")
        calls += caller.queue("/quick", [f"behind {number}" for number in range(8, 12)])
        kill(victim)
        assert blocking.result().error == FAILED
        assert victim not in {one.result().pid for one in calls}
        assert order(caller.server, "behind") == [one.name for one in calls]


def test_what_a_killed_worker_had_only_prepared_runs_elsewhere(tmp_path: Path) -> None:
    """Each call once: its handler had not begun."""
    with crew(tmp_path, env={"WORKERS": "1"}) as caller:
        blocking, victim = caller.occupy("/prepared", "blocking")
        calls = [caller.send("/prepared", f"behind {number}") for number in range(4)]
        wait_until(lambda: len(runs(caller.server, "prepared")) == 5, "prepared calls")
        kill(victim)
        assert blocking.result().error == FAILED
        assert victim not in {one.result().pid for one in calls}
        assert sorted(order(caller.server, "behind")) == sorted(one.name for one in calls)
