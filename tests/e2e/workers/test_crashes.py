"""A handler that ends its process takes its own call along; one that only fails does not."""

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from e2e.server import error, wait_until
from e2e.workers.processes import (
    AT_ONCE,
    HEAD,
    PATIENCE,
    SERVE,
    TIMEOUT,
    Answered,
    Caller,
    crew,
    is_gone,
    order,
    runs,
    workers,
)

pytestmark = TIMEOUT
FAILED = (503, "worker_failed")

SOURCE = (
    HEAD
    + """
import resource

app = Potassium("server", workers=Workers(["cpu", "cpu"]))


def segfault():
    ctypes.string_at(0)


def recurse():
    recurse()


def exhaust_memory():
    before = resource.getrlimit(resource.RLIMIT_AS)
    limit = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize() + 2**27
    resource.setrlimit(resource.RLIMIT_AS, (limit, before[1]))
    try:
        bytearray(2**30)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


WAYS = {
    "segfault": segfault,
    "exit": lambda: os._exit(3),
    "abort": os.abort,
    "in a thread": lambda: (threading.Thread(target=segfault).start(), time.sleep(30)),
    "sys.exit": lambda: sys.exit(3),
    "interrupt": lambda: signal.raise_signal(signal.SIGINT),
    "recursion": recurse,
    "memory": exhaust_memory,
}


@app.handler("/fail")
def fail(cache, json_in):
    note(f"{json_in['name']} {os.getpid()}")
    WAYS[json_in["name"]]()
    return {"pid": os.getpid()}


def crash(call):
    note(f"{call['name']} {os.getpid()}")
    if "gate" in call:
        wait_for(call["gate"])
    os.abort()


@app.handler("/prepare", prepare=crash)
def prepared(cache, json_in):
    return begins(json_in)


@app.handler("/finish", finish=crash)
def finished(cache, json_in):
    return json_in


@app.handler("/run")
def run(cache, json_in):
    return begins(json_in)
"""
    + SERVE
)
ENDS = {
    "segfault": "had a segmentation fault (SIGSEGV)",
    "exit": "exited with status 3",
    "abort": "was aborted (SIGABRT)",
}


@pytest.fixture(scope="module")
def caller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caller]:
    """A server that must survive all of these tests."""
    with crew(tmp_path_factory.mktemp("crashes"), SOURCE) as caller:
        yield caller


def both(caller: Caller) -> list[int]:
    """Return the two workers once both serve: an earlier test may have ended one."""
    wait_until(lambda: len(caller.ready()) == 2, "both workers", seconds=PATIENCE)
    return workers(caller.server)


@pytest.mark.parametrize("way", ["sys.exit", "recursion"])
def test_a_handler_that_only_fails_leaves_its_worker_alive(caller: Caller, way: str) -> None:
    """It is an ordinary failure, and both workers are the same as before."""
    before = both(caller)
    assert error(caller.server.post("/fail", {"name": way})) == (500, "handler_error")
    assert workers(caller.server) == before


def test_a_handler_without_memory_fails_alone(caller: Caller) -> None:
    """Beyond a limit on its process (``ulimit -v``), the call fails, and the next one is served."""
    before = both(caller)
    assert caller.server.post("/fail", {"name": "memory"}).status_code in (500, 503)
    assert caller.send("/run", "after").result().pid in before
    assert workers(caller.server) == before


def test_a_worker_ignores_an_interrupt_of_its_own(caller: Caller) -> None:
    """A signal that ends other programs does nothing in a handler."""
    before = both(caller)
    assert caller.server.post("/fail", {"name": "interrupt"}).json()["pid"] in before


@dataclass
class Ended:
    """What happened when a handler ended its process."""

    answer: Answered
    pages: list[int]  # the status of liveness and readiness right after that
    is_gone: bool
    served: list[bool]  # whether each later call was served by a process that is alive
    is_said: bool  # whether the log has the words for it


@pytest.fixture(scope="module", params=list(ENDS))
def ended(request: pytest.FixtureRequest, caller: Caller) -> Ended:
    before = both(caller)
    answer = caller.send("/fail", request.param).result()
    pages = [caller.server.get(page).status_code for page in ("/healthz", "/readyz")]
    gone = [pid for pid in before if is_gone(pid)]
    pids = [caller.send("/run", f"{request.param} {number}").result().pid for number in range(5)]
    served = [not is_gone(pid) for pid in pids]
    both(caller)  # by then, the line is written
    return Ended(answer, pages, bool(gone), served, ENDS[request.param] in caller.server.log())


def test_a_handler_that_ends_its_process_ends_its_own_call(ended: Ended) -> None:
    """The caller gets 503, and the server stays alive and ready."""
    assert ended.answer.error == FAILED
    assert ended.pages == [200, 200]
    assert ended.is_gone


def test_after_a_handler_that_ends_its_process_others_are_served(ended: Ended) -> None:
    """The next calls are served by processes that are alive."""
    assert ended.served == [True] * 5


def test_the_log_says_in_words_how_a_handler_ended_its_process(ended: Ended) -> None:
    """Whoever reads it learns where to look."""
    assert ended.is_said


def test_a_thread_of_a_handler_that_crashes_ends_the_call_beside_it(caller: Caller) -> None:
    """The fault is not in the handler's own thread, and its caller hears of it all the same."""
    both(caller)
    assert caller.send("/fail", "in a thread").result().error == FAILED


def test_a_finish_step_that_crashes_ends_its_own_call(tmp_path: Path) -> None:
    """Its caller hears at once; a call on the other worker and those that wait are served."""
    with crew(tmp_path, SOURCE) as caller:
        bystander, other = caller.occupy("/run", "bystander")
        culprit, victim = caller.occupy("/finish", "culprit")
        held, pid = caller.occupy("/run", "beside")  # the model is free for it meanwhile
        assert (pid, victim != other) == (victim, True)
        waiting = caller.queue("/run", [f"waiting {number}" for number in range(4)])
        now = time.monotonic()
        answer = culprit.go_on()
        assert answer.error == FAILED
        assert answer.at - now < AT_ONCE
        assert held.result().error == FAILED  # it had begun there
        assert {one.result().response.status_code for one in waiting} == {200}
        assert bystander.go_on().pid == other
        assert order(caller.server, "waiting") == [one.name for one in waiting]
        assert runs(caller.server, "culprit") == [victim]


def test_a_prepare_step_that_crashes_ends_three_workers_and_its_own_call(tmp_path: Path) -> None:
    """It is prepared again, as it has not begun; others run once, wherever they were prepared.

    After that, the same content is refused, so that no device is lost for it.
    """
    with crew(tmp_path, SOURCE) as caller:
        culprit = caller.send("/prepare", "culprit")
        wait_until(lambda: runs(caller.server, "culprit"), "its preparation")
        others = [caller.send("/run", f"other {number}") for number in range(10)]
        assert culprit.result().error == FAILED
        answers = [one.result() for one in others]
        begun = Counter(order(caller.server, "other"))
        assert set(begun.values()) == {1}
        # Only one that had begun beside a preparation may have failed.
        failed = [one for one in answers if one.response.status_code != 200]
        assert {one.error for one in failed} <= {FAILED}
        assert len(failed) <= 3
        ended = len(set(runs(caller.server, "culprit")))
        assert ended >= 3
        assert caller.send("/prepare", "culprit").result().error == FAILED
        # A death may be explained by others that had begun there, so three more are possible.
        assert len(runs(caller.server, "culprit")) <= 6
        both(caller)
        assert caller.send("/run", "after").result().response.status_code == 200
