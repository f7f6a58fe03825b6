"""Rows 24 to 28 of the fault table: no fault loses a background job."""

import shutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import pytest
from e2e.job_faults import ENDED_BY_KILL, SOURCE, full_disk, kill, run_to_its_end
from e2e.jobs import document, end_of, get, post, reaches, submit
from e2e.server import Start, error, wait_until
from e2e.wire import call, events

ROOM = 64 * 1024  # bytes of a file, while the disk is full
LARGE = "x" * 200_000


def test_acknowledged_jobs_run_after_a_kill(start: Start, name: str, gate: Path) -> None:
    """Row 24: the job that ran and the twenty that waited all succeed, in order."""
    server = start(SOURCE)
    jobs = [submit(server, "/hold", call(f"{name} {number}", gate)) for number in range(21)]
    wait_until(lambda: events(server, name), "the first job at work")
    kill(server)
    gate.touch()
    server = start(SOURCE)
    assert [end_of(server, job)["status"] for job in jobs] == ["succeeded"] * 21
    ends = [line for line in events(server, name) if line.endswith("ends")]
    assert ends == [f"{name} {number} ends" for number in range(21)]


def test_a_run_that_was_cut_off_counts(start: Start, name: str, gate: Path) -> None:
    """The killed job reports two attempts, the one behind it reports one."""
    server = start(SOURCE)
    jobs = [submit(server, "/hold", call(f"{name} {number}", gate)) for number in range(2)]
    reaches(server, jobs[0], "running")
    kill(server)
    gate.touch()
    server = start(SOURCE)
    assert [end_of(server, job)["attempts"] for job in jobs] == [2, 1]


def test_ended_jobs_are_still_known_after_a_kill(start: Start) -> None:
    """Ended jobs are not run again: their documents are unchanged."""
    server = start(SOURCE)
    ended = end_of(server, submit(server, "/echo", {"a": 1}))
    kill(server)
    server = start(SOURCE)
    end_of(server, submit(server, "/echo"))
    assert document(server, ended) == ended


@pytest.mark.parametrize(("path", "most"), [("/kills", 3), ("/kills-often", 4)])
def test_a_job_that_takes_the_server_down_is_given_up(
    start: Start, tmp_path: Path, name: str, path: str, most: int
) -> None:
    """Row 25: the job is ``interrupted`` after three runs, or ``attempts``; then others run."""
    server = start(SOURCE)
    job = submit(server, path, {"name": name})
    server.process.wait(10)
    while len(events(server, name)) < most:
        assert run_to_its_end(tmp_path).returncode == ENDED_BY_KILL
    server = start(SOURCE)
    ended = end_of(server, job)
    assert (ended["status"], ended["error"]["code"]) == ("failed", "interrupted")
    assert (ended["attempts"], len(events(server, name))) == (most, most)
    assert end_of(server, submit(server, "/echo", {"a": 1}))["output"] == {"a": 1}


def test_one_job_that_takes_the_server_down_fails_alone(
    start: Start, tmp_path: Path, name: str, gate: Path
) -> None:
    """The seven of its batch, and an async job beside them, run alone after the crash, and succeed.

    The culprit fails after three crashes while it ran alone, beside the first one.
    """
    server, others = start(SOURCE), tmp_path / "others"
    held = submit(server, "/hold", call(name, gate))
    reaches(server, held, "running")
    long = submit(server, "/long", {"gate": str(others)})
    prefer = {"Prefer": "respond-async"}
    jobs = [
        submit(server, "/batch", {"number": n, "kills": n == 3}, prefer) | {"handler": "/batch"}
        for n in range(8)
    ]
    for job in jobs:
        reaches(server, job, "running")  # claimed, so that all are in one batch
    gate.touch()
    server.process.wait(10)
    others.touch()
    for _ in range(3):
        assert run_to_its_end(tmp_path).returncode == ENDED_BY_KILL
    server = start(SOURCE)
    ended = [end_of(server, job) for job in jobs]
    assert (ended[3]["status"], ended[3]["error"]["code"]) == ("failed", "interrupted")
    assert [job.get("output") for job in ended if job is not ended[3]] == [0, 1, 2, 4, 5, 6, 7]
    assert (end_of(server, long)["output"], end_of(server, held)["output"]) == ("long", name)
    batches = events(server, "batch")
    assert batches[0] == f"batch {list(range(8))}"
    assert batches[1:] == [f"batch [{n}]" for n in (0, 1, 2, 3, 3, 3, 4, 5, 6, 7)]


def test_a_second_process_on_the_same_file_is_told_so(start: Start, tmp_path: Path) -> None:
    """The second process names the file and the first one, and ends; that goes on undisturbed."""
    server = start(SOURCE)
    before = end_of(server, submit(server, "/echo"))
    second = run_to_its_end(tmp_path)
    assert second.returncode > 0
    assert "jobs.db" in second.stdout + second.stderr
    assert f'the app "server", process {server.process.pid}' in second.stdout + second.stderr
    assert document(server, before) == before
    assert end_of(server, submit(server, "/echo", {"a": 1}))["output"] == {"a": 1}


def test_a_killed_process_does_not_keep_the_file(start: Start) -> None:
    """The guard against a second process ends with the first process."""
    kill(start(SOURCE))
    server = start(SOURCE)
    assert end_of(server, submit(server, "/echo"))["status"] == "succeeded"


def test_the_same_key_at_once_is_one_job(
    start: Start, name: str, gate: Path, pool: ThreadPoolExecutor
) -> None:
    """Row 26: twenty simultaneous submits with one ``Idempotency-Key`` are one run."""
    server = start(SOURCE)
    gate.touch()
    key = {"Idempotency-Key": name}
    answers = list(
        pool.map(lambda _: submit(server, "/hold", call(name, gate), key)["id"], range(20))
    )
    assert len(set(answers)) == 1
    end_of(server, {"id": answers[0], "handler": "/hold"})
    assert events(server, name) == [f"{name} starts", f"{name} ends"]
    assert len(get(server, "/jobs").json()["jobs"]) == 1


def test_a_key_with_another_body_is_refused(start: Start, name: str) -> None:
    """Row 26: the submit is refused, and the job under the key stays as it was."""
    server = start(SOURCE)
    key = {"Idempotency-Key": name}
    job = submit(server, "/echo", {"a": 1}, key)
    assert error(post(server, "/echo", {"a": 2}, key)) == (422, "idempotency_key_reused")
    assert end_of(server, job)["output"] == {"a": 1}


def test_a_key_is_known_after_the_end_and_after_a_kill(start: Start, name: str) -> None:
    """A client that lost its answer asks again, and gets the existing job."""
    key = {"Idempotency-Key": name}
    server = start(SOURCE)
    job = end_of(server, submit(server, "/echo", {"a": 1}, key))
    assert post(server, "/echo", {"a": 1}, key).json()["id"] == job["id"]
    kill(server)
    server = start(SOURCE)
    assert post(server, "/echo", {"a": 1}, key).json()["id"] == job["id"]
    assert document(server, job)["attempts"] == 1


def test_without_a_key_each_submit_is_a_job(start: Start) -> None:
    """The same body, submitted twice, makes two jobs."""
    server = start(SOURCE)
    assert submit(server, "/echo")["id"] != submit(server, "/echo")["id"]


def test_a_job_that_always_fails_is_given_up(start: Start, name: str) -> None:
    """Row 27: after ``attempts`` runs the job is ``failed``, and is kept for inspection."""
    server = start(SOURCE)
    job = end_of(server, submit(server, "/fails", {"name": name}))
    assert (job["status"], job["attempts"]) == ("failed", 4)
    assert job["error"]["code"] == "handler_error"
    time.sleep(0.5)
    assert len(events(server, name)) == 4
    [kept] = get(server, "/jobs?status=failed").json()["jobs"]
    assert kept["id"] == job["id"]


def test_attempts_keep_a_growing_distance(start: Start, name: str) -> None:
    """Each back-off is about twice the one before; other jobs run in between."""
    server = start(SOURCE)
    job = submit(server, "/fails", {"name": name})
    reaches(server, job, "queued")
    between = end_of(server, submit(server, "/echo"))
    ended = end_of(server, job)
    times = [float(line.split()[1]) for line in events(server, name)]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert all(0.15 * 2**n < gap < 0.3 * 2**n + 1 for n, gap in enumerate(gaps))
    assert between["finished_at"] < ended["finished_at"]


linux = pytest.mark.skipif(sys.platform != "linux", reason="limits another process's files")


@linux
def test_what_cannot_be_stored_is_not_acknowledged(start: Start) -> None:
    """Row 28: 503 while the disk is full; jobs acknowledged before and after that run."""
    server = start(SOURCE)
    before = submit(server, "/echo", {"a": 1})
    with full_disk(server, room=ROOM):
        response = post(server, "/echo", {"text": LARGE})
        assert error(response) == (503, "store_failed")
        assert server.get("/healthz").status_code == 200
    after = submit(server, "/echo", {"text": LARGE})
    assert end_of(server, before)["output"] == {"a": 1}
    assert end_of(server, after)["output"] == {"text": LARGE}
    assert len(get(server, "/jobs").json()["jobs"]) == 2


@linux
def test_a_result_that_cannot_be_stored_yet_is_not_lost(
    start: Start, name: str, gate: Path
) -> None:
    """A job that ends while the disk is full succeeds once there is room again."""
    server = start(SOURCE)
    job = submit(server, "/large", {**call(name, gate), "size": len(LARGE)})
    reaches(server, job, "running")
    with full_disk(server, room=ROOM):
        gate.touch()
        wait_until(lambda: f"{name} ends" in events(server, name), "the end of the run")
        time.sleep(0.5)
    assert end_of(server, job, seconds=30)["output"] == LARGE


@linux
@pytest.mark.parametrize("ends", [False, True], ids=["killed", "drained"])
def test_a_full_disk_keeps_nobody_from_stopping(start: Start, ends: bool) -> None:
    """The process ends even with a full disk, and the next one has all acknowledged jobs."""
    server = start(SOURCE)
    job = end_of(server, submit(server, "/echo", {"a": 1}))
    with full_disk(server, room=ROOM):
        post(server, "/echo", {"text": LARGE})
        if ends:
            server.stop()
        else:
            kill(server)
    assert document(start(SOURCE), job) == job


def test_a_store_that_is_gone_acknowledges_nothing(start: Start, tmp_path: Path) -> None:
    """Row 28: 503 if somebody has put another file there; readiness says so."""
    server = start(SOURCE)
    job = end_of(server, submit(server, "/echo"))
    file, aside = tmp_path / ".potassium" / "jobs.db", tmp_path / "aside.db"
    file.rename(aside)
    file.write_bytes(b"another file")
    for _ in range(20):
        assert error(post(server, "/echo", {})) == (503, "store_failed")
    ready = server.get("/readyz")
    assert (ready.status_code, ready.json()["reason"]) == (503, "store_failed")
    assert server.log().count("was replaced") == 1
    aside.replace(file)
    wait_until(lambda: server.get("/readyz").status_code == 200, "a server that is ready again")
    assert document(server, job) == job
    assert end_of(server, submit(server, "/echo"))["status"] == "succeeded"


def test_a_store_that_was_removed_is_written_anew(
    start: Start, tmp_path: Path, name: str, gate: Path
) -> None:
    """Row 28: jobs submitted before and after somebody removed the folder run after a kill."""
    server = start(SOURCE)
    jobs = [submit(server, "/hold", call(f"{name} {number}", gate)) for number in range(3)]
    reaches(server, jobs[0], "running")
    shutil.rmtree(tmp_path / ".potassium")
    jobs.append(submit(server, "/echo", {"a": 1}))
    kill(server)
    gate.touch()
    server = start(SOURCE)
    assert [end_of(server, job)["status"] for job in jobs] == ["succeeded"] * 4


def test_a_file_that_is_no_store_stops_the_start(start: Start, tmp_path: Path) -> None:
    """The message names the file, which is left as it is."""
    kill(start(SOURCE))
    shutil.rmtree(tmp_path / ".potassium")
    (tmp_path / ".potassium").mkdir()
    file = tmp_path / ".potassium" / "jobs.db"
    file.write_text("notes of mine, and no database " * 200)
    ended = run_to_its_end(tmp_path)
    assert ended.returncode > 0
    assert "jobs.db" in ended.stdout + ended.stderr
    assert file.read_text().startswith("notes of mine")
