"""Background jobs."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.flows import Script, problem

from potassium import Jobs, Potassium, Request, Webhooks
from potassium.client import (
    AsyncClient,
    CallFailed,
    Client,
    ConnectionFailed,
    DeadlineExceeded,
    InvalidInput,
    Job,
    JobEvent,
    JobFailed,
    NotFound,
    UnexpectedAnswer,
)
from potassium.client.job_record import JobRecord
from potassium.client.jobs import events, found, pages, started, wait

DOCUMENT = {
    "id": "a1",
    "handler": "/train",
    "status": "queued",
    "created_at": "2026-11-23T12:00:00.250Z",
    "started_at": None,
    "finished_at": None,
    "attempts": 0,
    "progress": None,
    "message": None,
    "position": 2,
}


def shown(status: str = "running", *, waited: bool = True, **members: Any) -> httpx.Response:
    headers = {"preference-applied": "wait=30"} if waited else {}
    return httpx.Response(200, json={**DOCUMENT, "status": status, **members}, headers=headers)


def record(**members: Any) -> JobRecord:
    return JobRecord("/jobs/a1", {**DOCUMENT, **members})


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[AsyncClient]:
    app = Potassium("jobs", jobs=Jobs(path=str(tmp_path / "jobs.db")), webhooks=Webhooks())

    @app.background("/train", attempts=1)
    def train(cache: dict[str, Any], request: Request) -> dict[str, Any]:
        given = request.json
        if given.get("fails"):
            raise RuntimeError
        request.progress(0.5, "half")
        return {"loss": 0.5, "key": given.get("key")}

    @app.handler("/embed")
    def embed(cache: dict[str, Any], json_in: dict[str, Any]) -> list[float]:
        return [0.5]

    transport = httpx.ASGITransport(app)
    async with app.lifespan(), AsyncClient("http://app", transport=transport) as client:
        yield client


async def test_a_job_runs_and_its_output_is_waited_for(client: AsyncClient) -> None:
    """What the handler returned, as the type that is asked for."""
    job = await client.submit("/train", {"key": 1})
    assert (job.handler, job.has_ended) == ("/train", False)
    assert await job.wait(10, into=dict[str, float]) == {"loss": 0.5, "key": 1.0}
    assert (job.status, job.progress, job.attempts) == ("succeeded", 1, 1)
    assert await job.wait() == {"loss": 0.5, "key": 1}


async def test_any_handler_can_run_in_the_background(client: AsyncClient) -> None:
    """The client asks for it."""
    assert await (await client.submit("/embed")).wait(into=list[float]) == [0.5]


async def test_a_job_that_failed_raises_what_a_call_would_have(client: AsyncClient) -> None:
    """The error has the code of the failure, and the job's document."""
    job = await client.submit("/train", {"fails": True})
    with pytest.raises(JobFailed) as caught:
        await job.wait(10)
    assert (caught.value.status, caught.value.code) == (500, "handler_error")
    assert caught.value.job["id"] == job.id

    await job.retry()
    assert job.status in ("queued", "running")
    with pytest.raises(JobFailed):
        await job.wait(10)
    assert job.attempts == 2
    with pytest.raises(CallFailed, match="409 job_has_ended"):
        await job.cancel()


async def test_submissions_with_the_same_key_are_one_job(client: AsyncClient) -> None:
    """Without a key, each submission is a job of its own."""
    one = await client.submit("/train", {"key": 1}, idempotency_key="k")
    same = await client.submit("/train", {"key": 1}, idempotency_key="k")
    other = await client.submit("/train", {"key": 1})
    assert one.id == same.id != other.id
    with pytest.raises(InvalidInput, match="idempotency_key_reused"):
        await client.submit("/train", {"key": 2}, idempotency_key="k")


async def test_a_webhook_url_is_sent(client: AsyncClient) -> None:
    """The server has the last word about it."""
    with pytest.raises(InvalidInput, match="webhook_url_refused"):
        await client.submit("/train", webhook_url="http://example.com/done")


async def test_a_job_is_found_again_by_its_id(client: AsyncClient) -> None:
    """By another process, for example."""
    job = await client.submit("/train")
    found = await client.job(job.id)
    assert await found.wait(10) == {"loss": 0.5, "key": None}
    assert (await job.refresh()).status == "succeeded"
    with pytest.raises(NotFound):
        await client.job("0" * 32)


async def test_the_events_of_a_job_end_with_it(client: AsyncClient) -> None:
    """From its beginning, or behind an event."""
    job = await client.submit("/train")
    await job.wait(10)
    told = [event async for event in job.events()]
    assert [event.id for event in told] == list(range(1, len(told) + 1))
    assert told[0] == JobEvent(id=1, kind="status", data={"status": "queued", "attempts": 0})
    assert told[-1].data["status"] == "succeeded"
    assert JobEvent(id=3, kind="progress", data={"progress": 0.5, "message": "half"}) in told
    assert [event async for event in job.events(after=2)] == told[2:]
    assert [event async for event in job.events(after=len(told))] == []


async def test_jobs_are_listed_page_by_page(client: AsyncClient) -> None:
    """All of them, newest first; or those with a status."""
    submitted = [await client.submit("/train", {"fails": n == 1}) for n in range(3)]
    for job in submitted:
        try:
            await job.wait(10)
        except JobFailed:
            assert job is submitted[1]
    assert [job.id async for job in client.jobs()] == [job.id for job in reversed(submitted)]
    assert [job.id async for job in client.jobs(status="failed")] == [submitted[1].id]


def test_a_page_leads_to_the_next() -> None:
    """With the id that the server says, and the same status."""
    pages_ = [
        {"jobs": [DOCUMENT], "next": "a1"},
        {"jobs": [{**DOCUMENT, "id": "b2"}], "next": None},
    ]
    script = Script(*(httpx.Response(200, json=page) for page in pages_))
    script.run(pages(script.settings(), "queued"))
    assert [job.id for job in script.emitted] == ["a1", "b2"]
    queries = [str(request.url.query, "ascii") for request in script.requests]
    assert queries == ["status=queued", "status=queued&after=a1"]


def test_a_record_shows_what_the_document_says() -> None:
    """With times as datetimes."""
    job = record(status="running", started_at="2026-11-23T12:00:01.000Z", progress=0.5, message="m")
    assert job.started_at is not None
    assert (job.started_at - job.created_at).total_seconds() == 0.75
    assert (job.progress, job.message, job.position, job.finished_at) == (0.5, "m", 2, None)
    assert repr(job) == "<JobRecord a1 /train running>"


@pytest.mark.parametrize(
    ("called", "handler", "path"),
    [
        ("/train", "/train", "/jobs/a1"),
        ("/model/train", "/train", "/model/jobs/a1"),
        ("/model/train/?x=1", "/train", "/model/jobs/a1"),
        ("/", "/", "/jobs/a1"),
        ("/model/", "/", "/model/jobs/a1"),
        ("/rewritten", "/train", "/jobs/a1"),
    ],
)
def test_a_mounted_app_has_its_jobs_beside_its_handlers(
    called: str, handler: str, path: str
) -> None:
    """A proxy may have another idea of the path, so the ``Location`` is not what counts."""
    response = httpx.Response(202, json={**DOCUMENT, "handler": handler})
    assert started(response, called).path == path


async def test_an_app_without_jobs_has_answered_the_call_itself(app: Potassium) -> None:
    """The error says so, and keeps the response."""

    @app.handler("/embed")
    def embed(cache: dict[str, Any], json_in: dict[str, Any]) -> list[float]:
        return [0.5]

    transport = httpx.ASGITransport(app)
    async with app.lifespan(), AsyncClient("http://app", transport=transport) as client:
        with pytest.raises(UnexpectedAnswer, match="its app has no jobs") as caught:
            await client.submit("/embed")
    assert caught.value.response is not None
    assert caught.value.response.json() == [0.5]


def test_a_wait_goes_on_while_the_server_restarts() -> None:
    """Refused connections, broken ones, a proxy without a server: as long as there is time."""
    down = [httpx.ConnectError("refused")] * 12
    script = Script(
        httpx.ReadError("killed"),
        *down,
        httpx.Response(502, html="no server"),
        problem(503, "starting", retry_after="2"),
        shown(),
        shown("succeeded", output=[1, 2**70]),
    )
    job = record()
    assert script.run(wait(script.settings(), job, 300, None)) == [1, 2**70]
    assert job.status == "succeeded"


def test_a_wait_ends_with_its_timeout() -> None:
    """The job goes on; the error says how far it is. The server is asked to wait no longer."""
    script = Script(*[shown()] * 9, took=25)
    job = record()
    with pytest.raises(DeadlineExceeded, match="The job is still running") as caught:
        script.run(wait(script.settings(), job, 75, None))
    assert isinstance(caught.value, TimeoutError)
    sent = [request.headers["prefer"] for request in script.requests]
    assert sent == ["wait=30.000", "wait=30.000", "wait=25.000"]


def test_a_wait_without_time_asks_once() -> None:
    """``timeout=0`` is a question."""
    script = Script(shown("succeeded", output=1))
    assert script.run(wait(script.settings(), record(), 0, int)) == 1


def test_an_output_can_be_had_as_it_is() -> None:
    """As the bytes of its JSON."""
    script = Script(shown("succeeded", output=[1, 2]))
    assert script.run(wait(script.settings(), record(), None, bytes)) == b"[1,2]"


def test_a_server_that_is_gone_for_good_ends_a_wait_without_timeout() -> None:
    """After five minutes without an answer."""
    script = Script(*[httpx.ConnectError("refused")] * 100)
    with pytest.raises(ConnectionFailed):
        script.run(wait(script.settings(), record(), None, None))
    assert 390 < script.now <= 400


def test_a_job_may_take_hours() -> None:
    """It is the silence of the server that ends a wait, not the length of the job."""
    script = Script(*[shown()] * 500, shown("succeeded", output=1), took=30)
    assert script.run(wait(script.settings(), record(), None, None)) == 1


def test_a_server_with_too_many_watchers_is_not_asked_all_the_time() -> None:
    """It answers at once then, without ``Preference-Applied``."""
    script = Script(shown(waited=False), shown(waited=False), shown("succeeded", output=1))
    script.run(wait(script.settings(), record(), None, None))
    assert script.sleeps == [2, 2]


def test_an_output_that_is_a_link_is_fetched() -> None:
    """It is large, or not JSON; the record has the link."""
    link: dict[str, Any] = {
        "output_url": "/prefix/jobs/a1/output",
        "output_type": "image/png",
        "output_size": 3,
    }
    picture = httpx.Response(200, content=b"png", headers={"content-type": "image/png"})
    script = Script(shown("succeeded", **link), httpx.ReadError("cut"), picture)
    job = record()
    assert script.run(wait(script.settings(), job, None, bytes)) == b"png"
    assert script.requests[-1].url.path == "/jobs/a1/output"
    assert job.document["output_url"] == link["output_url"]


@pytest.mark.parametrize("status", ["cancelled", "expired"])
def test_a_job_that_ended_without_an_error_has_failed_too(status: str) -> None:
    """Its status is the code."""
    script = Script(shown(status))
    with pytest.raises(JobFailed, match=f"job_{status}: The job is {status}"):
        script.run(wait(script.settings(), record(), None, None))


def sent(number: int, kind: str, data: str) -> bytes:
    return f"id: {number}\nevent: {kind}\ndata: {data}\n\n".encode()


def test_events_go_on_where_the_connection_broke() -> None:
    """Each event comes once, in order, whatever happens to the connection."""
    final = sent(4, "status", '{"status":"succeeded","attempts":1}')
    script = Script(
        [sent(1, "status", '{"status":"queued","attempts":0}'), httpx.ReadError("killed")],
        httpx.ConnectError("refused"),
        [b": keep-alive\n\n", sent(2, "progress", '{"progress":0.5,"message":null}')],
        problem(503, "draining", retry_after="1"),
        [sent(3, "chunk", '"text"') + sent(4, "status", "{")[:9], httpx.ReadError("again")],
        [final],
    )
    script.run(events(script.settings(), record(), 0))
    assert [event.id for event in script.emitted] == [1, 2, 3, 4]
    assert script.emitted[2].data == "text"
    last = [request.headers["last-event-id"] for request in script.requests]
    assert last == ["0", "1", "1", "2", "2", "3"]


def test_events_of_a_server_that_is_gone_for_good_end() -> None:
    """After five minutes without an answer."""
    script = Script([], *[httpx.ConnectError("refused")] * 100)
    with pytest.raises(ConnectionFailed):
        script.run(events(script.settings(), record(), 0))
    assert script.now > 390


def test_events_are_not_asked_for_where_there_are_none() -> None:
    """Another server, such as a proxy with a page for everything, has none."""
    script = Script(httpx.Response(200, html="<h1>Welcome</h1>"))
    with pytest.raises(UnexpectedAnswer, match="not a stream of events"):
        script.run(events(script.settings(), record(), 0))


@pytest.mark.parametrize("answer", [None, [], {}, {"id": "a1"}, "text"])
def test_an_answer_that_is_no_job_is_an_error(answer: Any) -> None:
    """Another server has answered."""

    def flows(script: Script) -> list[Any]:
        settings = script.settings()
        return [found(settings, "a1"), wait(settings, record(), 1, None), pages(settings, None)]

    for number in range(3):
        script = Script(httpx.Response(200, json=answer))
        with pytest.raises(UnexpectedAnswer, match="background job"):
            script.run(flows(script)[number])
    with pytest.raises(UnexpectedAnswer, match="background job"):
        started(httpx.Response(202, json=answer), "/train")


def test_the_id_of_a_job_leads_nowhere_else() -> None:
    """Whatever is in it: it may come from a user."""
    script = Script(shown())
    job = script.run(found(script.settings(), "../../admin?a=1#b"))
    assert script.requests[0].url.raw_path == b"/jobs/..%2F..%2Fadmin%3Fa%3D1%23b"
    assert job.path == "/jobs/..%2F..%2Fadmin%3Fa%3D1%23b"


def test_events_of_a_job_that_is_gone_are_an_error() -> None:
    """It was deleted meanwhile."""
    script = Script(problem(404, "not_found"))
    with pytest.raises(NotFound):
        script.run(events(script.settings(), record(), 0))


def test_the_blocking_job_does_the_same() -> None:
    """It runs the same flows."""
    final = sent(2, "status", '{"status":"succeeded","attempts":1}')
    accepted = httpx.Response(202, json=DOCUMENT)
    stream = httpx.Response(200, content=final, headers={"content-type": "text/event-stream"})
    listed = httpx.Response(200, json={"jobs": [DOCUMENT], "next": None})
    answers = {
        ("POST", "/train"): accepted,
        ("GET", "/jobs/a1"): shown("succeeded", output=[1]),
        ("GET", "/jobs/a1/events"): stream,
        ("DELETE", "/jobs/a1"): shown("cancelled"),
        ("POST", "/jobs/a1/retry"): shown("queued"),
        ("GET", "/jobs"): listed,
    }
    transport = httpx.MockTransport(lambda request: answers[request.method, request.url.path])
    with Client("http://app", transport=transport) as client:
        job = client.submit("/train")
        assert isinstance(job, Job)
        assert job.wait(1, into=list[int]) == [1]
        assert [event.id for event in job.events()] == [2]
        assert job.cancel().status == "cancelled"
        assert job.retry().status == "queued"
        assert job.refresh().status == "succeeded"
        assert client.job("a1").wait(into=httpx.Response).json()["output"] == [1]
        assert [job.id for job in client.jobs()] == ["a1"]
