"""The list of background jobs: who may see it, and how long jobs are kept."""

from pathlib import Path

import pytest
from e2e.jobs import IMPORTS, SERVE, Document, cancel, document, end_of, get, reaches, submit
from e2e.server import Server, Start, error, wait_until
from e2e.wire import call

SOURCE = (
    IMPORTS
    + """
app = Potassium("server", jobs=Jobs(keep_for=float(os.environ.get("KEEP_FOR", "3600"))))


@app.background("/echo")
def echo(cache, json_in):
    return json_in


@app.background("/hold")
def held(cache, json_in):
    return hold(json_in)


@app.background("/fails")
def fails(cache, json_in):
    raise ValueError("of no use")
"""
    + SERVE
)
KEYS = {"POTASSIUM_API_KEYS": "first-key,second-key"}
KEY = {"X-Api-Key": "first-key"}
IN_MEMORY = SOURCE.replace("Jobs(", "Jobs(path=None, ")


def listed(server: Server, query: str = "") -> list[Document]:
    """Return the listed jobs, in order."""
    response = get(server, f"/jobs{query}")
    assert response.status_code == 200, response.text
    jobs: list[Document] = response.json()["jobs"]
    return jobs


@pytest.mark.parametrize("source", [SOURCE, IN_MEMORY], ids=["stored", "in memory"])
def test_jobs_are_listed_newest_first(start: Start, source: str) -> None:
    """The list has all jobs, of any handler."""
    server = start(source)
    jobs = [submit(server, path) for path in ("/echo", "/fails", "/echo")]
    assert [job["id"] for job in listed(server)] == [job["id"] for job in reversed(jobs)]


def test_a_list_leaves_outputs_out(start: Start) -> None:
    """The list has documents without the output, which may be large."""
    server = start(SOURCE)
    job = end_of(server, submit(server, "/echo", {"a": 1}))
    del job["output"]
    assert listed(server) == [job]


def test_a_list_is_read_page_by_page(start: Start) -> None:
    """``limit`` and ``after=next`` lead through all jobs once, and then end."""
    server = start(SOURCE)
    jobs = [submit(server, "/echo") for _ in range(7)]
    pages, after = [], ""
    while True:
        page = get(server, f"/jobs?limit=3{after}").json()
        pages.append([job["id"] for job in page["jobs"]])
        if page["next"] is None:
            break
        assert len(pages) < 5
        after = f"&after={page['next']}"
    assert [len(page) for page in pages] == [3, 3, 1]
    assert [job_id for page in pages for job_id in page] == [job["id"] for job in reversed(jobs)]


def test_new_jobs_do_not_shift_the_pages(start: Start) -> None:
    """Jobs that are submitted while a client reads do not make it see a job twice."""
    server = start(SOURCE)
    jobs = [submit(server, "/echo") for _ in range(4)]
    after = get(server, "/jobs?limit=2").json()["next"]
    submit(server, "/echo")
    assert [job["id"] for job in listed(server, f"?limit=2&after={after}")] == [
        jobs[1]["id"],
        jobs[0]["id"],
    ]


def test_a_list_may_be_of_one_status(start: Start, gate: Path) -> None:
    """``status`` selects the jobs with that status."""
    server = start(SOURCE)
    succeeded = end_of(server, submit(server, "/echo"))
    failed = end_of(server, submit(server, "/fails"))
    running = reaches(server, submit(server, "/hold", call("a", gate)), "running")
    queued, cancelled = submit(server, "/echo"), submit(server, "/echo")
    cancel(server, cancelled)
    found = {
        status: [job["id"] for job in listed(server, f"?status={status}")]
        for status in ("succeeded", "failed", "running", "queued", "cancelled", "expired")
    }
    assert found == {
        "succeeded": [succeeded["id"]],
        "failed": [failed["id"]],
        "running": [running["id"]],
        "queued": [queued["id"]],
        "cancelled": [cancelled["id"]],
        "expired": [],
    }


@pytest.mark.parametrize("query", ["limit=0", "limit=-1", "limit=many", "status=lost", "after=%00"])
def test_a_query_that_cannot_be_is_the_clients_mistake(start: Start, query: str) -> None:
    """An invalid query is answered with an error, rather than with some other list."""
    server = start(IN_MEMORY)
    assert get(server, f"/jobs?{query}").status_code in (400, 422)


def test_all_of_jobs_needs_a_key_where_there_are_keys(start: Start) -> None:
    """Without a key, submitting a job, every route of a job and the list are refused."""
    server = start(SOURCE, env=KEYS)
    job = submit(server, "/echo", {}, KEY)
    path = f"/jobs/{job['id']}"
    with server.client() as http:
        answers = [
            http.post("/echo", json={}),
            http.get("/jobs"),
            http.get(path),
            http.get(f"{path}/events"),
            http.get(f"{path}/deliveries"),
            http.delete(path),
            http.post(f"{path}/retry"),
        ]
        assert [error(answer) for answer in answers] == [(401, "unauthorized")] * 7
        assert http.get(path, headers=KEY).status_code == 200
        assert http.get("/jobs", headers=KEY).status_code == 200


def test_keys_are_not_stored(start: Start, tmp_path: Path) -> None:
    """The header with the key is not stored with the job."""
    server = start(SOURCE, env=KEYS)
    submit(server, "/echo", {"marker": "in the file"}, KEY)
    submit(server, "/echo", {}, {"Authorization": "Bearer first-key"})
    stored = b"".join(file.read_bytes() for file in (tmp_path / ".potassium").iterdir())
    assert b"in the file" in stored
    assert b"first-key" not in stored


def test_ended_jobs_are_kept_as_long_as_it_is_said(start: Start, gate: Path) -> None:
    """After ``keep_for`` an ended job is gone, but a running one is not."""
    server = start(SOURCE, env={"KEEP_FOR": "0.5"})
    ended = end_of(server, submit(server, "/echo"))
    running = reaches(server, submit(server, "/hold", call("a", gate)), "running")
    path = f"/jobs/{ended['id']}"
    wait_until(lambda: get(server, path).status_code == 404, "the job to be gone", seconds=20)
    assert document(server, running)["status"] == "running"


def test_jobs_in_memory_leave_no_file(start: Start, tmp_path: Path) -> None:
    """``Jobs(path=None)`` runs jobs, and writes no file."""
    server = start(IN_MEMORY)
    assert end_of(server, submit(server, "/echo", {"a": 1}))["output"] == {"a": 1}
    assert {file.name for file in tmp_path.iterdir()} <= {"app.py", "server.log", "__pycache__"}
