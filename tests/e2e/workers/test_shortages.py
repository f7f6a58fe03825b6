"""Workers where something runs short: memory, descriptors, shared memory."""

import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest
from e2e.server import wait_until
from e2e.workers.processes import HEAD, SERVE, START_TIME, TIMEOUT, crew, inits, kill, runs, workers

pytestmark = [
    TIMEOUT,
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux has these limits"),
]
MEMORY = 700 * 1024 * 1024  # bytes, for a server and two workers that need less than half of it
CGROUPS = Path("/sys/fs/cgroup")
LARGE = 8_000_000  # bytes of a body
SOURCE = (
    HEAD
    + """
app = Potassium("server", workers=Workers(["cpu", "cpu"]))


@app.init
def init():
    note(f"init {os.getpid()}")


@app.handler("/run")
def run(cache, json_in):
    return begins(json_in)


@app.handler("/eat")
def eat(cache, json_in):
    note(f"{json_in['name']} {os.getpid()}")
    eaten = []
    while True:
        eaten.append(b"x" * 2**24)


@app.handler("/reserve")
def reserve(cache, json_in):
    taken = []  # address space, of which nothing is used
    while True:
        taken.append(bytes(2**26))


@app.handler("/large")
def large(cache, body: bytes) -> bytes:
    return body[::-1]
"""
    + SERVE
)


@contextmanager
def control_group(limit: int) -> Iterator[Path]:
    """Make a control group whose processes have ``limit`` bytes of memory together."""
    unified = (CGROUPS / "cgroup.controllers").exists()
    root = CGROUPS if unified else CGROUPS / "memory"
    group = root / f"potassium-test-{os.getpid()}"
    try:
        group.mkdir()
        (group / ("memory.max" if unified else "memory.limit_in_bytes")).write_text(str(limit))
    except OSError as error:
        with suppress(OSError):
            group.rmdir()
        pytest.skip(f"no control group can be made here: {error}")
    try:
        swap = group / ("memory.swap.max" if unified else "memory.swappiness")
        with suppress(OSError):
            swap.write_text("0")
        yield group
    finally:
        wait_until(lambda: not (group / "cgroup.procs").read_text(), "an empty group")
        group.rmdir()


def test_a_worker_killed_by_the_kernel_for_memory_is_named_so(tmp_path: Path) -> None:
    """Its call gets 503, the log says what it died of, and the server goes on."""
    enter = 'open(sys.argv[1], "w").write(str(os.getpid())); os.execv(sys.argv[2], sys.argv[2:])'
    with control_group(MEMORY) as group:
        file = str(group / "cgroup.procs")
        launcher = [sys.executable, "-c", f"import os, sys; {enter}", file]
        with crew(tmp_path, SOURCE, launcher=launcher) as caller:
            old = workers(caller.server)
            assert caller.send("/eat", "eat").result().error == (503, "worker_failed")
            wait_until(lambda: "as memory ran out" in caller.server.log(), "a line on the log")
            assert caller.send("/run", "after").result().pid not in runs(caller.server, "eat")
            caller.served_by_two(old)


def test_a_server_under_a_limit_of_address_space_serves(tmp_path: Path) -> None:
    """With ``ulimit -v``, a call that does not fit fails alone."""
    limit = "resource.setrlimit(resource.RLIMIT_AS, (3 * 2**30, 3 * 2**30))"
    run = "os.execv(sys.argv[1], sys.argv[1:])"
    launcher = [sys.executable, "-c", f"import os, resource, sys; {limit}; {run}"]
    with crew(tmp_path, SOURCE, launcher=launcher) as caller:
        old = workers(caller.server)
        assert caller.send("/reserve", "reserve").result().response.status_code in (500, 503)
        assert workers(caller.server) == old
        assert caller.send("/run", "after").result().pid in old


def set_files(pid: int, soft: int) -> None:
    """Set how many descriptors a process may have."""
    _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))


def test_a_worker_that_cannot_be_started_for_want_of_descriptors_is_started_later(
    tmp_path: Path,
) -> None:
    """Meanwhile the other one serves, and the log says what is missing."""
    with crew(tmp_path, SOURCE) as caller, caller.server.client() as http:
        front = caller.server.process.pid
        old = workers(caller.server)
        assert http.post("/run", json={"name": "before"}).status_code == httpx.codes.OK
        soft, _ = resource.prlimit(front, resource.RLIMIT_NOFILE)
        set_files(front, 4)  # those that are open stay open
        kill(old[0])
        wait_until(
            lambda: "Too many open files" in caller.server.log(),
            "a line on the log",
            seconds=START_TIME,
        )
        for number in range(5):
            answer = http.post("/run", json={"name": f"meanwhile {number}"})
            assert answer.json()["pid"] == old[1]
        assert len(inits(caller.server)) == 2
        set_files(front, soft)
        caller.served_by_two(old)
        assert caller.server.get("/healthz").status_code == httpx.codes.OK


def test_a_server_with_few_descriptors_leaves_enough_for_its_workers(tmp_path: Path) -> None:
    """Clients that take all connections do not keep a worker from being replaced."""
    limit = "resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))"
    run = "os.execv(sys.argv[1], sys.argv[1:])"
    launcher = [sys.executable, "-c", f"import os, resource, sys; {limit}; {run}"]
    with crew(tmp_path, SOURCE, launcher=launcher) as caller, caller.server.client() as http:
        assert http.get("/readyz").status_code == httpx.codes.OK
        old = workers(caller.server)
        idle = []
        try:
            for _ in range(150):
                with suppress(OSError):
                    idle.append(caller.server.connect(timeout=2))
            kill(old[0])
            wait_until(lambda: len(inits(caller.server)) == 3, "a new worker", seconds=START_TIME)
        finally:
            for connection in idle:
                connection.close()
        caller.served_by_two(old)


def can_mount() -> bool:
    """Return whether this process may have a file system of its own at /dev/shm."""
    command = ["unshare", "-m", "sh", "-c", "mount -t tmpfs -o size=64k tmpfs /dev/shm"]
    with suppress(OSError):
        return subprocess.run(command, check=False, capture_output=True).returncode == 0
    return False


def test_a_full_dev_shm_harms_nothing(tmp_path: Path) -> None:
    """Small and large bodies cross, workers are replaced, and large bodies cross again."""
    if not can_mount():
        pytest.skip("needs a mount namespace, which takes root")
    fill = "mount -t tmpfs -o size=64k tmpfs /dev/shm; head -c 1M /dev/zero > /dev/shm/full"
    launcher = ["unshare", "-m", "sh", "-c", f'{fill}; exec "$@"', "sh"]
    body = os.urandom(LARGE)
    headers = {"Content-Type": "application/octet-stream"}
    with crew(tmp_path, SOURCE, launcher=launcher) as caller, caller.server.client() as http:
        old = workers(caller.server)
        assert caller.send("/run", "small").result().pid in old
        assert http.post("/large", content=body, headers=headers).content == body[::-1]
        kill(old[0])
        caller.served_by_two(old)
        assert http.post("/large", content=body, headers=headers).content == body[::-1]


def test_kills_leave_no_descriptors_behind(tmp_path: Path) -> None:
    """After a worker has been replaced, the server has as many as before."""
    with crew(tmp_path, SOURCE) as caller:
        front = Path(f"/proc/{caller.server.process.pid}/fd")

        def serve_and_count() -> int:
            caller.send("/run", "count").result()
            time.sleep(0.2)  # connections that were closed are gone by then
            return len(list(front.iterdir()))

        before = min(serve_and_count() for _ in range(5))
        for _ in range(2):
            old = workers(caller.server)
            kill(old[0])
            caller.served_by_two(old)
        wait_until(lambda: serve_and_count() <= before, "as many descriptors as before")
