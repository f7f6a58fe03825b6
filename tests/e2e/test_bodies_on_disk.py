"""Large bodies at a real server: its memory, its disk, and what is left after a kill."""

import gzip
import hashlib
import os
import random
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from e2e.job_faults import full_disk, kill
from e2e.jobs import FINAL
from e2e.server import Server, error, free_port, serve_source, wait_until
from e2e.wire import head

MIB = 2**20
LARGE = 120 * MIB
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

SOURCE = """
import hashlib
from potassium import Potassium, Request

app = Potassium("server")


def digest(request):
    found = hashlib.sha256()
    with request.open() as body:
        while data := body.read(1 << 20):
            found.update(data)
    return found.hexdigest()


@app.handler("/digest", body_size=1 << 30)
def direct(cache, request: Request):
    return digest(request)


@app.background("/job", body_size=1 << 30)
def job(cache, request: Request):
    return digest(request)


@app.handler("/json")
def parsed(cache, json_in):
    return len(json_in)


app.serve()
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with serve_source(SOURCE, tmp_path) as server:
        yield server


def pieces(size: int) -> Iterator[bytes]:
    piece = random.Random(7).randbytes(MIB)  # noqa: S311 - the same each time
    for _ in range(size // MIB):
        yield piece


def digest_of(size: int) -> str:
    found = hashlib.sha256()
    for piece in pieces(size):
        found.update(piece)
    return found.hexdigest()


def open_bodies(server: Server) -> int:
    """Return how many files without a name the process has open."""
    targets = []
    for one in Path(f"/proc/{server.process.pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            targets.append(os.readlink(one))  # noqa: PTH115 - of a file that does not exist
    on_disk = [target for target in targets if not target.startswith("/memfd:")]
    return sum(target.endswith("(deleted)") for target in on_disk)


def post(server: Server, path: str, content: Any, **headers: str) -> httpx.Response:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    with server.client() as http:
        return http.post(path, content=content, headers=given, timeout=60)


def test_a_large_body_takes_no_memory(server: Server) -> None:
    """Neither for a call nor for a background job."""
    post(server, "/digest", pieces(2 * MIB))
    before = server.peak_memory()
    assert post(server, "/digest", pieces(LARGE)).json() == digest_of(LARGE)
    answer = post(server, "/job", pieces(LARGE), Prefer="wait=60")
    assert answer.json() == digest_of(LARGE)
    assert server.peak_memory() - before < 40 * MIB
    wait_until(lambda: not open_bodies(server), "all bodies are closed")
    folder = server.log_file.parent / ".potassium" / "jobs.db-files"
    wait_until(lambda: not list(folder.iterdir()), "the input is removed")


def test_a_bomb_takes_no_memory(server: Server) -> None:
    """A gigabyte of zeros in a mebibyte, and in ten kilobytes."""
    import zstandard  # noqa: PLC0415 - only for this test

    bomb = gzip.compress(bytes(16 * MIB)) * 64
    smaller = zstandard.compress(bytes(1024 * MIB))
    assert len(smaller) < 50_000
    json = {"Content-Type": "application/json"}
    post(server, "/json", gzip.compress(b"{}"), **json, Content_Encoding="gzip")
    before = server.peak_memory()
    for _ in range(5):
        for content, coding in ((bomb, "gzip"), (smaller, "zstd")):
            answer = post(server, "/json", content, **json, Content_Encoding=coding)
            assert error(answer) == (413, "body_too_large")
    assert server.peak_memory() - before < 40 * MIB


def test_a_client_that_leaves_in_mid_body_leaves_nothing(server: Server) -> None:
    """Its file is closed, and so is its room."""
    for _ in range(10):
        with server.connect() as connection:
            connection.sendall(head("/digest", f"Content-Length: {8 * MIB}") + bytes(4 * MIB))
            wait_until(lambda: open_bodies(server), "the body is on disk")
        wait_until(lambda: not open_bodies(server), "the body is closed")
    assert post(server, "/digest", pieces(4 * MIB)).json() == digest_of(4 * MIB)


def test_a_full_disk_ends_nothing(server: Server) -> None:
    """Large bodies get 503 until there is room; small ones are served."""
    with full_disk(server, room=2 * MIB):
        assert error(post(server, "/digest", pieces(4 * MIB))) == (503, "disk_failed")
        assert post(server, "/digest", b"small").status_code == 200
    assert post(server, "/digest", pieces(4 * MIB)).json() == digest_of(4 * MIB)
    assert server.log().count("cannot be written to disk") == 1


ROUNDS = 4
JOBS = 12  # in each round
ACCEPTED = 202


class Submitters:
    """Clients that submit large jobs until each is acknowledged, at a server that is killed."""

    def __init__(self, port: int) -> None:
        self.ids: dict[int, set[str]] = {}
        self._url = f"http://127.0.0.1:{port}"
        self._lock = threading.Lock()

    def submit(self, number: int) -> None:
        body = content_of(number)
        headers = {"Idempotency-Key": f"k{number}"}
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                answer = httpx.post(
                    f"{self._url}/job", content=body, headers=headers, timeout=10, trust_env=False
                )
            except httpx.TransportError:
                time.sleep(0.05)
                continue
            assert answer.status_code in (ACCEPTED, 503), answer.text
            if answer.status_code == ACCEPTED:
                with self._lock:
                    self.ids.setdefault(number, set()).add(answer.json()["id"])
                return
        raise AssertionError(f"job {number} was not accepted")


def content_of(number: int) -> bytes:
    return random.Random(number).randbytes(2 * MIB + number)  # noqa: S311 - the same each time


def test_kills_leave_no_job_without_its_input_and_no_input_without_its_job(tmp_path: Path) -> None:
    """Each acknowledged job ends with the result of its own input; then no file is left."""
    port = free_port()
    clients = Submitters(port)
    seed = int(os.environ.get("KILL_SEED", random.SystemRandom().randrange(10**6)))
    print(f"KILL_SEED={seed}")  # noqa: T201 - pytest shows it where a test fails
    moments = random.Random(seed)  # noqa: S311 - it has to be repeatable
    folder = tmp_path / ".potassium" / "jobs.db-files"
    with ThreadPoolExecutor(4) as pool:
        submitting = [pool.submit(clients.submit, number) for number in range(ROUNDS * JOBS)]
        for _ in range(ROUNDS):
            with serve_source(SOURCE, tmp_path, port=port) as server:
                time.sleep(moments.uniform(0.05, 0.4))
                kill(server)
        (folder / "orphan").write_bytes(bytes(2 * MIB))  # as if it was killed right before a row
        with serve_source(SOURCE, tmp_path, port=port) as server:
            for one in submitting:
                one.result()
            with server.client() as http:
                for number, ids in clients.ids.items():
                    (job_id,) = ids
                    answer = http.get(f"/jobs/{job_id}", headers={"Prefer": "wait=60"}, timeout=70)
                    told = answer.json()
                    assert told["status"] in FINAL
                    if told["status"] == "failed":  # it ran alone at three kills
                        assert told["error"]["code"] == "interrupted"
                    else:
                        assert told["output"] == hashlib.sha256(content_of(number)).hexdigest()
            assert len(clients.ids) == ROUNDS * JOBS
            wait_until(lambda: not list(folder.iterdir()), "all inputs are removed")
