"""Background jobs: how they are submitted, and what their documents say."""

import re
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from e2e.jobs import IMPORTS, SERVE, Document, document, end_of, get, post, reaches, submit
from e2e.server import Server, Start, error, serve_source, wait_until
from e2e.wire import call, events

SOURCE = (
    IMPORTS
    + """
from pydantic import BaseModel

app = Potassium("server")


class Item(BaseModel):
    number: int


@app.background("/echo")
def echo(cache, json_in):
    return {"got": json_in}


@app.background("/hold")
def held(cache, json_in):
    return hold(json_in)


@app.background("/item")
def item(cache, item: Item):
    return item.number * 10


@app.background("/raw")
def raw(cache, body: bytes):
    return list(body)


@app.background("/async", concurrency=4)
async def asynchronous(cache, json_in):
    return {"got": json_in}


@app.background("/thread")
def thread(cache, json_in):
    return threading.current_thread().name


@app.background("/headers")
def headers(cache, request: Request):
    return {"id": request.id, "model": request.headers["x-model"], "json": request.json}


@app.background("/steps")
def steps(cache, request: Request):
    request.progress(0.4, "epoch 2")
    wait_for(request.json["gate"])


@app.background("/stream")
def stream(cache, json_in):
    yield "a"
    yield {"b": 1}
    yield 2
"""
    + SERVE
)
DOCUMENT = {
    *("id", "handler", "status", "created_at", "started_at", "finished_at"),
    *("attempts", "progress", "message"),
}
RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serve_source(SOURCE, tmp_path_factory.mktemp("jobs")) as server:
        yield server


def test_a_background_handler_answers_before_it_runs(server: Server, name: str, gate: Path) -> None:
    """The 202 comes while the handler still waits for its gate."""
    job = submit(server, "/hold", call(name, gate))
    assert job["status"] in ("queued", "running")
    gate.touch()
    assert end_of(server, job)["output"] == name


def test_the_202_tells_where_the_job_is_found(server: Server) -> None:
    """``Location`` leads to the document of the new job."""
    response = post(server, "/echo", {})
    assert response.headers["location"] == f"/jobs/{response.json()['id']}"
    assert get(server, response.headers["location"]).json()["id"] == response.json()["id"]


def queued_behind(server: Server, name: str, gate: Path) -> Document:
    """Return a job that stays queued behind one that waits for ``gate``.

    While the server still takes the running job for a short one, it claims some jobs in advance.
    """
    submit(server, "/hold", call(name, gate))
    wait_until(lambda: events(server, name), "the first job at work")
    for _ in range(50):
        job = submit(server, "/echo")
        time.sleep(0.1)
        if document(server, job)["status"] == "queued":
            return job
    raise AssertionError("every job is claimed in advance")


def test_the_document_of_a_waiting_job(server: Server, name: str, gate: Path) -> None:
    """A waiting job is queued, and has a creation time, no other times, and a position."""
    job = document(server, queued_behind(server, name, gate))
    assert set(job) == DOCUMENT | {"position"}
    assert (job["handler"], job["status"], job["attempts"]) == ("/echo", "queued", 0)
    assert (job["started_at"], job["finished_at"], job["progress"]) == (None, None, None)


def test_the_document_of_a_running_job(server: Server, name: str, gate: Path) -> None:
    """A running job is in its first attempt, and no longer has a position."""
    job = reaches(server, submit(server, "/hold", call(name, gate)), "running")
    assert set(job) == DOCUMENT
    assert (job["attempts"], job["finished_at"]) == (1, None)
    assert job["started_at"] is not None


def test_the_document_of_a_job_that_has_succeeded(server: Server) -> None:
    """The document has the output, and neither an error nor a position."""
    job = end_of(server, submit(server, "/echo", {"a": [1, None, "é"]}))
    assert set(job) == DOCUMENT | {"output"}
    assert (job["status"], job["attempts"]) == ("succeeded", 1)
    assert job["output"] == {"got": {"a": [1, None, "é"]}}


def test_times_are_rfc_3339_in_utc_and_in_order(server: Server) -> None:
    """The times of creation, start and end are in order, and the last one is now."""
    job = end_of(server, submit(server, "/echo"))
    times = [job["created_at"], job["started_at"], job["finished_at"]]
    assert [time for time in times if not RFC_3339.fullmatch(time)] == []
    moments = [datetime.fromisoformat(time) for time in times]
    assert moments == sorted(moments)
    assert abs(datetime.now(moments[0].tzinfo) - moments[-1]) < timedelta(seconds=30)


def test_waiting_jobs_have_positions_in_order(server: Server, name: str, gate: Path) -> None:
    """Each job is one position behind the job submitted before it."""
    jobs = [queued_behind(server, name, gate), *(submit(server, "/echo") for _ in range(4))]
    positions = [document(server, job)["position"] for job in jobs]
    assert positions == list(range(positions[0], positions[0] + 5))
    assert positions[0] >= 1


def test_jobs_run_in_the_order_they_were_submitted(server: Server, name: str, gate: Path) -> None:
    """Ten waiting jobs run one after the other, the oldest first."""
    jobs = [submit(server, "/hold", call(f"{name} {number}", gate)) for number in range(10)]
    gate.touch()
    end_of(server, jobs[-1])
    began = [line for line in events(server, name) if line.endswith("starts")]
    assert began == [f"{name} {number} starts" for number in range(10)]


def test_ids_are_not_guessable(server: Server) -> None:
    """The ids of consecutive jobs are long, and mostly different."""
    first, second = (submit(server, "/echo")["id"] for _ in range(2))
    assert len(first) >= 22
    assert sum(a == b for a, b in zip(first, second, strict=True)) < len(first) * 2 / 3


def test_an_id_that_is_none_is_not_found(server: Server) -> None:
    """Every request about an unknown job is answered 404, in the format of every error."""
    with server.client() as http:
        answers = [
            http.get("/jobs/none"),
            http.get("/jobs/none/events"),
            http.get("/jobs/none/deliveries"),
            http.delete("/jobs/none"),
            http.post("/jobs/none/retry"),
        ]
    assert [error(answer) for answer in answers] == [(404, "not_found")] * 5


def test_a_client_may_wait_for_the_end(server: Server, name: str, gate: Path) -> None:
    """With ``Prefer: wait``, the document is answered as soon as the job has ended."""
    job = submit(server, "/hold", call(name, gate))
    reaches(server, job, "running")
    answer = get(server, f"/jobs/{job['id']}", {"Prefer": "wait=0.3"})
    assert answer.json()["status"] == "running"
    gate.touch()
    answer = get(server, f"/jobs/{job['id']}", {"Prefer": "wait=30"})
    assert answer.json()["output"] == name


@pytest.mark.parametrize("path", ["/echo", "/async"])
def test_a_job_returns_what_its_handler_returns(server: Server, path: str) -> None:
    """The output is the handler's result, on the GPU thread and on the event loop."""
    assert end_of(server, submit(server, path, {"a": 1}))["output"] == {"got": {"a": 1}}


def test_a_job_runs_on_the_gpu_thread(server: Server) -> None:
    """A job runs on the GPU thread, unless its handler is a coroutine function."""
    assert end_of(server, submit(server, "/thread"))["output"] == "potassium-gpu"


def test_a_job_has_the_request_that_submitted_it(server: Server) -> None:
    """The handler sees the id, the headers and the body of the original request."""
    job = submit(server, "/headers", {"a": 1}, {"X-Request-Id": "one", "X-Model": "large"})
    assert end_of(server, job)["output"] == {"id": "one", "model": "large", "json": {"a": 1}}


def test_a_body_need_not_be_text(server: Server) -> None:
    """Bytes of any kind reach the handler as they were sent."""
    body = bytes(range(256))
    response = server.post("/raw", content=body, headers={"Content-Type": "image/png"})
    assert end_of(server, response.json())["output"] == list(body)


def test_input_that_is_invalid_is_refused_at_submit(server: Server) -> None:
    """Nobody has to look at a job to learn that its input is invalid."""
    assert error(post(server, "/item", {"number": "x"})) == (422, "invalid_input")
    assert error(server.post("/item", content=b"{")) == (400, "malformed_json")
    assert end_of(server, submit(server, "/item", {"number": 4}))["output"] == 40


def test_progress_is_told(server: Server, gate: Path) -> None:
    """What the handler reports with ``request.progress`` is in the document while it runs."""
    job = submit(server, "/steps", {"gate": str(gate)})
    wait_until(lambda: document(server, job)["progress"] == 0.4, "the progress")
    assert document(server, job)["message"] == "epoch 2"


def test_the_output_of_a_streaming_handler_is_its_chunks(server: Server) -> None:
    """The chunks are kept as a list, in order."""
    assert end_of(server, submit(server, "/stream"))["output"] == ["a", {"b": 1}, 2]


def test_a_mounted_app_tells_where_its_jobs_are(start: Start) -> None:
    """Under a parent, ``Location`` still leads to the job."""
    source = SOURCE + (
        "\n\nfrom fastapi import FastAPI\n"
        "parent = FastAPI(lifespan=app.lifespan)\n"
        "parent.mount('/model', app)\n"
    )
    server = start(source, target="parent", ready="/model/readyz")
    response = post(server, "/model/echo", {"a": 1})
    answer = get(server, response.headers["location"], {"Prefer": "wait=10"})
    assert answer.json()["output"] == {"got": {"a": 1}}
