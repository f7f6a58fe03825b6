"""A handler that ends its process takes its own call along; one that only fails does not."""

from collections.abc import Iterator

import pytest
from e2e.server import Server, error, wait_until
from e2e.workers.processes import HEAD, SERVE, START_TIME, Caller, crew, is_gone, workers

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
    limit = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize() + 2**27
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
    bytearray(2**30)


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


@pytest.mark.parametrize("way", ["sys.exit", "recursion"])
def test_a_handler_that_only_fails_leaves_its_worker_alive(caller: Caller, way: str) -> None:
    """It is an ordinary failure, and both workers are the same as before."""
    before = workers(caller.server)
    assert error(caller.server.post("/fail", {"name": way})) == (500, "handler_error")
    assert workers(caller.server) == before


def test_a_handler_without_memory_fails_alone(caller: Caller) -> None:
    """Beyond a limit on its process (``ulimit -v``), the call fails, and the next one is served."""
    before = workers(caller.server)
    assert caller.server.post("/fail", {"name": "memory"}).status_code in (500, 503)
    assert caller.send("/run", "after").result().pid in before
    assert workers(caller.server) == before


def test_a_worker_ignores_an_interrupt_of_its_own(caller: Caller) -> None:
    """A signal that ends other programs does nothing in a handler."""
    assert caller.server.post("/fail", {"name": "interrupt"}).json()["pid"] in workers(
        caller.server
    )


def workers_that_serve(server: Server) -> list[int]:
    """Return the process ids of the workers that are ready."""
    return [one["pid"] for one in server.status()["workers"] if one["state"] == "ready"]


@pytest.mark.parametrize("way", list(ENDS))
def test_a_handler_that_ends_its_process_ends_its_own_call(caller: Caller, way: str) -> None:
    """The caller gets 503, and the server stays alive and ready."""
    wait_until(lambda: len(workers_that_serve(caller.server)) == 2, "both workers")
    before = workers(caller.server)
    assert error(caller.server.post("/fail", {"name": way})) == (503, "worker_failed")
    assert [caller.server.get(page).status_code for page in ("/healthz", "/readyz")] == [200, 200]
    assert any(is_gone(pid) for pid in before)


@pytest.mark.parametrize("way", list(ENDS))
def test_after_a_handler_that_ends_its_process_others_are_served(caller: Caller, way: str) -> None:
    """The next calls are served by processes that are alive."""
    caller.server.post("/fail", {"name": way})
    pids = {caller.send("/run", f"{way} {number}").result().pid for number in range(5)}
    assert not any(is_gone(pid) for pid in pids)


@pytest.mark.parametrize("way", list(ENDS))
def test_the_log_says_in_words_how_a_handler_ended_its_process(caller: Caller, way: str) -> None:
    """Whoever reads it learns where to look."""
    assert ENDS[way] in caller.server.log()


@pytest.mark.timeout(2 * START_TIME)
def test_a_thread_of_a_handler_that_crashes_ends_the_call_beside_it(caller: Caller) -> None:
    """The fault is not in the handler's own thread, and its caller hears of it all the same."""
    answer = caller.send("/fail", "in a thread").result()
    assert answer.error == (503, "worker_failed")
