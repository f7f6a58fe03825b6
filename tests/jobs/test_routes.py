"""The HTTP routes of background jobs."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from support.asgi import Exchange
from support.job_bench import Bench, ended, submit
from support.sse import Parser, parse

from potassium import Jobs, Limits, Potassium, Request
from potassium.errors import StoreFailed
from potassium.jobs.memory_store import MemoryStore
from potassium.jobs.model import Event, Status
from potassium.jobs.service import JobService
from potassium.testing import client
from potassium.webhooks.model import Delivery, DeliveryAttempt

UNKNOWN = "0" * 32


@pytest.fixture
async def bench() -> AsyncIterator[tuple[Bench, httpx.AsyncClient]]:
    bench = Bench()
    bench.app.background("/fails")(fails)
    bench.app.background("/stream")(stream)
    async with bench.client() as http:
        yield bench, http


Running = tuple[Bench, httpx.AsyncClient]


def fails(cache: dict[str, Any], json_in: Any) -> None:
    raise ValueError("no")


def stream(cache: dict[str, Any], request: Request) -> Iterator[Any]:
    yield "a"
    request.progress(0.5, "half")
    yield {"b": 1}


def service_of(app: Potassium) -> JobService:
    running = app._runtime.services
    assert running is not None
    assert running.jobs is not None
    return running.jobs


async def test_a_call_is_answered_where_its_job_is_found(bench: Running) -> None:
    """The answer is 202 with the job's document, and ``Location`` is the job's page."""
    _, http = bench
    answer = await http.post("/short", json=1)
    document = answer.json()
    assert answer.status_code == 202
    assert answer.headers["location"] == f"/jobs/{document['id']}"
    assert answer.headers["content-type"] == "application/json"
    assert "preference-applied" not in answer.headers
    assert (document["handler"], document["status"], document["position"]) == (
        "/short",
        "queued",
        1,
    )
    page = await http.get(answer.headers["location"])
    assert page.json()["id"] == document["id"]


async def test_a_mounted_app_tells_where_it_is() -> None:
    """``Location`` begins with the path at which the parent has mounted the app."""
    bench = Bench()
    parent = Starlette(routes=[Mount("/model", bench.app)])
    transport = httpx.ASGITransport(parent)
    async with (
        bench.app.lifespan(),
        httpx.AsyncClient(transport=transport, base_url="http://parent") as http,
    ):
        answer = await http.post("/model/short", json=1)
        location = answer.headers["location"]
        assert location == f"/model/jobs/{answer.json()['id']}"
        page = await http.get(location, headers={"Prefer": "wait=5"})
        assert page.json()["output"] == {"direct": 1}


@pytest.mark.parametrize(
    ("prefer", "applied"),
    [
        ("respond-async", "respond-async"),
        ("respond-async, wait=0", "respond-async, wait=0"),
        ("wait=0.5, respond-async", "respond-async, wait=0.5"),
    ],
)
async def test_a_preference_that_was_kept_is_told(prefer: str, applied: str) -> None:
    """Any handler runs in the background if the client prefers that."""
    bench = Bench()
    async with bench.client() as http:
        await submit(http, "/held", 0)
        await bench.has_begun()
        answer = await http.post("/direct", json=1, headers={"Prefer": prefer})
        assert answer.status_code == 202
        assert answer.headers["preference-applied"] == applied


async def test_jobs_are_ordered_by_their_priority(bench: Running) -> None:
    """Jobs have priorities whether or not direct calls have them."""
    app, http = bench
    await submit(http, "/held", 0)
    await app.has_begun()
    jobs = [
        await submit(http, "/short", priority, **{"X-Priority": priority})
        for priority in ("low", "normal", "high")
    ]
    app.gate.release()
    for job in jobs:
        await ended(http, job)
    assert app.ran == [0, "high", "normal", "low"]


async def test_a_page_shows_what_is_preferred_to_be_waited_for(bench: Running) -> None:
    """The page waits for the end of the job as long as the client prefers, but 300 s at most."""
    app, http = bench
    job = await submit(http, "/held", 0)
    await app.has_begun()
    path = f"/jobs/{job['id']}"
    now = await http.get(path)
    assert now.json()["status"] == "running"
    assert "preference-applied" not in now.headers
    soon = await http.get(path, headers={"Prefer": "wait=0.01"})
    assert (soon.json()["status"], soon.headers["preference-applied"]) == ("running", "wait=0.01")
    waiting = asyncio.create_task(http.get(path, headers={"Prefer": "wait=5000"}))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    app.gate.release()
    end = await waiting
    assert (end.json()["status"], end.headers["preference-applied"]) == ("succeeded", "wait=300")


async def test_a_list_is_read_page_by_page(bench: Running) -> None:
    """Jobs come newest first, each once, without outputs; ``next`` is null at the end."""
    _, http = bench
    jobs = [await submit(http, "/short", number) for number in range(5)]
    for job in jobs:
        await ended(http, job)
    seen: list[str] = []
    query: dict[str, Any] = {"limit": 2}
    sizes = []
    while True:
        page = (await http.get("/jobs", params=query)).json()
        sizes.append(len(page["jobs"]))
        seen += [job["id"] for job in page["jobs"]]
        assert all("output" not in job for job in page["jobs"])
        if page["next"] is None:
            break
        query["after"] = page["next"]
    assert seen == [job["id"] for job in reversed(jobs)]
    assert sizes == [2, 2, 1]


async def test_a_page_is_full_without_a_next_one(bench: Running) -> None:
    """If the list just fits, ``next`` is null."""
    _, http = bench
    for number in range(2):
        await submit(http, "/short", number)
    page = (await http.get("/jobs?limit=2")).json()
    assert (len(page["jobs"]), page["next"]) == (2, None)


async def test_a_list_may_be_of_one_status(bench: Running) -> None:
    """The list has only the jobs with that status."""
    _, http = bench
    await ended(http, await submit(http, "/short", 1))
    failed = await ended(http, await submit(http, "/fails", 1))
    assert [job["id"] for job in (await http.get("/jobs?status=failed")).json()["jobs"]] == [
        failed["id"]
    ]
    assert (await http.get("/jobs?status=expired")).json() == {"jobs": [], "next": None}


@pytest.mark.parametrize(
    ("query", "named"),
    [
        (
            "status=done",
            "status must be one of queued, running, succeeded, failed, cancelled, expired",
        ),
        ("status=", "status"),
        ("limit=0", "limit must be a number from 1 to 500"),
        ("limit=501", "limit"),
        ("limit=-1", "limit"),
        ("limit=1.5", "limit"),
        ("limit=", "limit"),
        ("limit=%C2%B2", "limit"),
        ("limit=" + "9" * 5000, "limit"),
        ("after=", "after must be the id of a job"),
        ("after=a'b", "after"),
        ("after=%C3%A9", "after"),
    ],
)
async def test_a_query_that_cannot_be_is_refused(bench: Running, query: str, named: str) -> None:
    """The message names the parameter."""
    answer = await bench[1].get(f"/jobs?{query}")
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")
    assert answer.json()["detail"].startswith(named)


async def test_after_a_job_that_there_is_not_there_is_nothing(bench: Running) -> None:
    """The list is empty, as the job may have been deleted since."""
    _, http = bench
    await submit(http, "/short", 1)
    assert (await http.get(f"/jobs?after={UNKNOWN}")).json() == {"jobs": [], "next": None}


async def test_cancelling_is_answered_by_what_it_came_to(bench: Running) -> None:
    """200 if the job was waiting, 202 if it is running, 409 if it has ended."""
    app, http = bench
    runs = await submit(http, "/held", 0)
    await app.has_begun()
    waits = await submit(http, "/short", 1)
    first = await http.delete(f"/jobs/{waits['id']}")
    assert (first.status_code, first.json()["status"]) == (200, "cancelled")
    again = await http.delete(f"/jobs/{waits['id']}")
    assert (again.status_code, again.json()["code"]) == (409, "job_has_ended")
    asked = await http.delete(f"/jobs/{runs['id']}")
    assert (asked.status_code, asked.json()["status"]) == (202, "running")
    app.gate.release()
    await ended(http, runs)
    assert (await http.delete(f"/jobs/{runs['id']}")).status_code == 409
    assert app.ran == [0]


async def test_a_failed_job_is_retried(bench: Running) -> None:
    """202 with the job, queued again; 409 for one that has not failed."""
    _, http = bench
    job = await ended(http, await submit(http, "/fails", 1))
    answer = await http.post(f"/jobs/{job['id']}/retry")
    assert (answer.status_code, answer.json()["status"]) == (202, "queued")
    assert (await ended(http, job))["attempts"] == 2
    good = await ended(http, await submit(http, "/short", 1))
    refused = await http.post(f"/jobs/{good['id']}/retry")
    assert (refused.status_code, refused.json()["code"]) == (409, "job_has_ended")


async def test_jobs_that_ended_in_one_way_are_deleted(bench: Running) -> None:
    """All others stay, and so do those that have not ended; the answer says how many are gone."""
    app, http = bench
    failed = [await ended(http, await submit(http, "/fails", number)) for number in range(3)]
    good = await ended(http, await submit(http, "/short", 1))
    runs = await submit(http, "/held", 0)
    await app.has_begun()
    answers = [await http.delete("/jobs?status=failed&limit=2") for _ in range(3)]
    assert [answer.json() for answer in answers] == [{"deleted": n} for n in (2, 1, 0)]
    assert (await http.get(f"/jobs/{failed[0]['id']}")).status_code == 404
    left = (await http.get("/jobs")).json()["jobs"]
    assert [job["id"] for job in left] == [runs["id"], good["id"]]
    app.gate.release()


async def test_only_jobs_that_ended_long_enough_ago_are_deleted(bench: Running) -> None:
    """``older_than`` is in seconds since their end."""
    _, http = bench
    job = await ended(http, await submit(http, "/short", 1))
    young = await http.delete("/jobs?status=succeeded&older_than=3600")
    assert young.json() == {"deleted": 0}
    assert (await http.get(f"/jobs/{job['id']}")).status_code == 200
    assert (await http.delete("/jobs?status=succeeded&older_than=0")).json() == {"deleted": 1}


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("", "status must be one of succeeded, failed, cancelled, expired."),
        ("?status=running", "status"),
        ("?status=all", "status"),
        ("?status=failed&older_than=-1", "older_than must be a whole number of seconds"),
        ("?status=failed&older_than=1.5", "older_than"),
        ("?status=failed&older_than=" + "9" * 13, "older_than"),
        ("?status=failed&limit=501", "limit must be a number from 1 to 500"),
    ],
)
async def test_what_does_not_say_which_jobs_deletes_none(
    bench: Running, query: str, named: str
) -> None:
    """A request to cancel a job that has lost its id does not delete all of them."""
    _, http = bench
    job = await ended(http, await submit(http, "/fails", 1))
    for path in ("/jobs", "/jobs/"):
        answer = await http.request("DELETE", f"{path}{query}", follow_redirects=True)
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")
        assert answer.json()["detail"].startswith(named)
    assert (await http.get(f"/jobs/{job['id']}")).status_code == 200


@pytest.mark.parametrize(
    ("method", "page"),
    [
        ("GET", ""),
        ("DELETE", ""),
        ("POST", "/retry"),
        ("GET", "/events"),
        ("GET", "/deliveries"),
    ],
)
async def test_a_job_that_there_is_not_is_404(bench: Running, method: str, page: str) -> None:
    """All pages of a job answer 404 if it does not exist."""
    answer = await bench[1].request(method, f"/jobs/{UNKNOWN}{page}", headers={"Prefer": "wait=1"})
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_events_tell_all_that_has_happened(bench: Running) -> None:
    """For a job that has ended, the stream has every event from first to last, and then ends."""
    _, http = bench
    job = await submit(http, "/stream", 1)
    await ended(http, job)
    answer = await http.get(f"/jobs/{job['id']}/events")
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"
    events = [(one.id, one.type, json.loads(one.data)) for one in parse(answer.content)]
    assert [int(number) for number, _, _ in events] == [1, 2, 3, 4, 5, 6]
    told = [(kind, data) for _, kind, data in events]
    # Chunks take a different path from progress; each keeps its own order.
    assert [one for one in told if one[0] != "progress"] == [
        ("status", {"status": "queued", "attempts": 0}),
        ("status", {"status": "running", "attempts": 1}),
        ("chunk", "a"),
        ("chunk", {"b": 1}),
        ("status", {"status": "succeeded", "attempts": 1}),
    ]
    assert ("progress", {"progress": 0.5, "message": "half"}) in told


@pytest.mark.parametrize("seen", [1, 2, 3, 6, 999])
async def test_a_stream_goes_on_after_the_last_event_seen(bench: Running, seen: int) -> None:
    """Events keep their ids, so a client misses none and sees none twice."""
    _, http = bench
    job = await submit(http, "/stream", 1)
    await ended(http, job)
    path = f"/jobs/{job['id']}/events"
    whole = parse((await http.get(path)).content)
    rest = parse((await http.get(path, headers={"Last-Event-ID": str(seen)})).content)
    assert rest == whole[seen:]


@pytest.mark.parametrize("last", ["-1", "one", "1.0", "²", "9" * 20, "9" * 19, str(2**63), ""])
async def test_a_last_event_that_cannot_be_is_refused(bench: Running, last: str) -> None:
    """``Last-Event-ID`` must be a number, and one that a store can count to."""
    _, http = bench
    job = await submit(http, "/short", 1)
    headers = {b"Last-Event-ID": last.encode()}
    answer = await http.get(f"/jobs/{job['id']}/events", headers=headers)
    assert answer.status_code == 422
    assert answer.json()["detail"] == "Last-Event-ID must be the number of an event."


async def test_who_has_seen_the_end_is_told_not_to_come_back(bench: Running) -> None:
    """An EventSource that gets 204 does not reconnect (WHATWG HTML, section 9.2)."""
    _, http = bench
    job = await submit(http, "/stream", 1)
    await ended(http, job)
    path = f"/jobs/{job['id']}/events"
    last = parse((await http.get(path)).content)[-1].id
    answer = await http.get(path, headers={"Last-Event-ID": last})
    assert (answer.status_code, answer.content) == (204, b"")
    before = await http.get(path, headers={"Last-Event-ID": str(int(last) - 1)})
    assert [one.id for one in parse(before.content)] == [last]


async def test_a_job_that_runs_is_followed_after_any_last_event(bench: Running) -> None:
    """Also after one that there is not yet: the client may have seen it before a loss of data."""
    app, http = bench
    job = await submit(http, "/held", 0)
    await app.has_begun()
    stream = Stream(app.app, job, last_event_id="999")
    assert (await stream.exchange.next())["status"] == 200
    app.gate.release()
    assert (await stream.rest())[-1] == ("status", {"status": "succeeded", "attempts": 1})


async def test_many_who_follow_a_job_read_its_events_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A change costs the store as little as with one of them."""
    reads = Counter[int]()

    class CountingStore(MemoryStore):
        async def events(self, job_id: str, *, after: int = 0, limit: int = 1) -> Sequence[Event]:
            reads[after] += 1
            return await super().events(job_id, after=after, limit=limit)

    monkeypatch.setattr("potassium.jobs.memory_store.MemoryStore", CountingStore)
    bench = Bench()
    async with bench.client() as http:
        job = await submit(http, "/held", 0)
        await bench.has_begun()
        await asyncio.sleep(0.01)
        streams = [Stream(bench.app, job) for _ in range(200)]
        for stream in streams:
            await stream.exchange.next()
            while not (await stream.next())[-1][1].get("attempts"):
                pass
        await asyncio.sleep(0)
        reads.clear()
        bench.gate.release()
        ends = [(await stream.rest())[-1][1]["status"] for stream in streams]
    assert ends == ["succeeded"] * 200
    assert sum(reads.values()) == 1


async def test_events_that_are_too_large_for_one_page_are_all_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A store returns fewer where they are large, and those that follow are sent at once."""
    monkeypatch.setattr("potassium.jobs.event_stream.EVENTS_BYTES", 1)

    class PagedStore(MemoryStore):
        async def events(self, job_id: str, *, after: int = 0, limit: int = 1) -> Sequence[Event]:
            return await super().events(job_id, after=after, limit=min(limit, 1))

    monkeypatch.setattr("potassium.jobs.memory_store.MemoryStore", PagedStore)
    bench = Bench()
    async with bench.client() as http:
        job = await submit(http, "/held", 0)
        await bench.has_begun()
        service = service_of(bench.app)
        running = await service.store.get(job["id"])
        assert running is not None
        async with asyncio.timeout(5):
            while (last := await service.store.last_event(job["id"])) < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        chunks = [Event(id=last + n, kind="chunk", data=b"%d" % n) for n in range(1, 6)]
        await service.store.note(running, progress=None, message=None, events=chunks)
        stream = Stream(bench.app, job)
        await stream.exchange.next()
        seen: list[Any] = []
        async with asyncio.timeout(5):
            while len(seen) < 5:
                seen += [data for kind, data in await stream.next() if kind == "chunk"]
        stream.exchange.leave()
        await stream.exchange.task
        bench.gate.release()
    assert seen == [1, 2, 3, 4, 5]


async def test_a_client_that_follows_a_job_waits_for_a_store_that_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The stream goes on once the store works again; no event is missing."""
    monkeypatch.setattr("potassium.jobs.event_stream.RETRY_STORE", 0.001)
    failures = 3

    class FailingStore(MemoryStore):
        async def events(self, job_id: str, *, after: int = 0, limit: int = 1) -> Sequence[Event]:
            nonlocal failures
            if failures:
                failures -= 1
                raise StoreFailed("The database is away.")
            return await super().events(job_id, after=after, limit=limit)

    monkeypatch.setattr("potassium.jobs.memory_store.MemoryStore", FailingStore)
    bench = Bench()
    async with bench.client() as http:
        job = await submit(http, "/short", 1)
        await ended(http, job)
        answer = await http.get(f"/jobs/{job['id']}/events")
        assert [int(one.id) for one in parse(answer.content) if one.id] == [1, 2, 3]
    assert failures == 0


async def test_no_more_clients_follow_jobs_than_may() -> None:
    """One more is refused; one that only wants to wait for a job is answered at once."""
    bench = Bench(max_watchers=2)
    async with bench.client() as http:
        job = await submit(http, "/held", 0)
        await bench.has_begun()
        streams = [Stream(bench.app, job) for _ in range(2)]
        for stream in streams:
            await stream.exchange.next()
        refused = await http.get(f"/jobs/{job['id']}/events")
        assert (refused.status_code, refused.json()["code"]) == (503, "too_many_watchers")
        assert refused.headers["retry-after"] == "5"
        answer = await http.get(f"/jobs/{job['id']}", headers={"Prefer": "wait=60"})
        assert (answer.status_code, answer.json()["status"]) == (200, "running")
        assert "preference-applied" not in answer.headers
        streams[0].exchange.leave()
        await streams[0].exchange.task
        another = Stream(bench.app, job)
        assert (await another.exchange.next())["status"] == 200
        bench.gate.release()
        assert (await another.rest())[-1][1]["status"] == "succeeded"


async def test_the_stream_of_a_job_that_was_deleted_ends(bench: Running) -> None:
    """Its reader may be slower than the job's retention."""
    app, http = bench
    job = await submit(http, "/held", 0)
    await app.has_begun()
    stream = Stream(app.app, job)
    await stream.exchange.next()
    service = service_of(app.app)
    del service.store._jobs[job["id"]]  # type: ignore[attr-defined]
    service.store._events.clear()  # type: ignore[attr-defined]
    service.watch.tell(job["id"])
    await stream.rest()
    service.store._lines.clear()  # type: ignore[attr-defined]


class Stream:
    """The events of a job as they arrive."""

    def __init__(self, app: Potassium, job: dict[str, Any], **headers: str) -> None:
        self.exchange = Exchange(app, b"", f"/jobs/{job['id']}/events", "GET", **headers)
        self.parser = Parser()

    async def next(self) -> list[tuple[str, Any]]:
        """Return the events in the next piece of the body; a comment is not an event."""
        found = self.parser.feed(await self.exchange.body())
        return [(one.type, json.loads(one.data)) for one in found]

    async def rest(self) -> list[tuple[str, Any]]:
        found = self.parser.feed(await self.exchange.rest())
        return [(one.type, json.loads(one.data)) for one in found]


async def test_events_are_sent_as_they_happen(bench: Running) -> None:
    """The first event, ``queued``, is sent at once; the last one when the job ends."""
    app, http = bench
    held = await submit(http, "/held", 0)
    await app.has_begun()
    stream = Stream(app.app, await submit(http, "/short", 1))
    assert (await stream.exchange.next())["status"] == 200
    assert await stream.next() == [("status", {"status": "queued", "attempts": 0})]
    await asyncio.sleep(0.01)
    app.gate.release()
    assert (await stream.rest())[-1] == ("status", {"status": "succeeded", "attempts": 1})
    await ended(http, held)


async def test_a_silent_stream_shows_that_it_is_alive(
    bench: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It sends comments, which are not events."""
    monkeypatch.setattr("potassium.http.sse.KEEP_ALIVE_INTERVAL", 0.005)
    app, http = bench
    await submit(http, "/held", 0)
    await app.has_begun()
    stream = Stream(app.app, await submit(http, "/short", 1))
    await stream.exchange.next()
    await stream.next()
    assert await stream.next() == await stream.next() == []
    assert stream.parser.comments == ["keep-alive", "keep-alive"]
    app.gate.release()
    assert (await stream.rest())[-1][1]["status"] == "succeeded"


async def test_a_drain_ends_the_streams_of_what_waits() -> None:
    """Nothing more happens to a waiting job before the next start."""
    bench = Bench(limits=Limits(grace_period=0.05))
    async with bench.client() as http:
        await submit(http, "/held", 0)
        await bench.has_begun()
        stream = Stream(bench.app, await submit(http, "/short", 1))
        await stream.exchange.next()
        await stream.next()
        bench.app._runtime.drain()
        assert await stream.rest() == []


async def test_a_stream_that_is_opened_during_a_drain_ends_with_what_there_is() -> None:
    """The job waits for its next attempt, which the next server makes."""
    bench = Bench(attempts=2, backoff=60)
    bench.app.background("/fails")(fails)
    async with bench.client() as http:
        job = await submit(http, "/fails", 0)
        stream = Stream(bench.app, job)
        await stream.exchange.next()
        while ("status", {"status": "queued", "attempts": 1}) not in await stream.next():
            pass
        bench.app._runtime.drain()
        answer = await asyncio.wait_for(http.get(f"/jobs/{job['id']}/events"), 5)
        assert [one.id for one in parse(answer.content)] == ["1", "2", "3"]
        assert await stream.rest() == []


async def test_who_leaves_a_stream_is_not_watched_for(bench: Running) -> None:
    """When a client leaves, the job goes on, and nothing is kept for that client."""
    app, http = bench
    job = await submit(http, "/held", 0)
    await app.has_begun()
    stream = Stream(app.app, job)
    await stream.exchange.next()
    await stream.next()
    stream.exchange.leave()
    await stream.exchange.task
    assert not service_of(app.app).watch._changes
    app.gate.release()
    assert (await ended(http, job))["status"] == "succeeded"


async def test_deliveries_are_shown_with_their_attempts(bench: Running) -> None:
    """Each delivery is shown once, with its attempts in order, and no credentials from its URL."""
    app, http = bench
    job = await ended(http, await submit(http, "/short", 1))
    assert (await http.get(f"/jobs/{job['id']}/deliveries")).json() == {"deliveries": []}
    store = service_of(app.app).store
    for name, failures in (("msg_b", 2), ("msg_a", 1)):
        delivery = Delivery(
            id=name,
            url=f"https://user:hush@{name[-1]}.test/x?token=hush",
            body=b"{}",
            request_id="r-1",
            job_id=job["id"],
            created_at=0.0,
            due_at=4e9,
        )
        await store.add(delivery)
        for number in range(1, failures + 1):
            attempt = DeliveryAttempt(
                delivery_id=name,
                url=delivery.shown_url,
                number=number,
                at=1e9 + number,
                duration=0.12345,
                status=500,
                error="the receiver answered 500",
                next_at=4e9,
            )
            await store.tried(delivery, attempt)
            delivery = delivery.tried(4e9)
    answer = await http.get(f"/jobs/{job['id']}/deliveries")
    assert "hush" not in answer.text
    first, second = answer.json()["deliveries"]
    assert (first["id"], first["url"]) == ("msg_a", "https://a.test")
    assert first["attempts"] == [
        {
            "number": 1,
            "at": "2001-09-09T01:46:41.000Z",
            "duration": 0.123,
            "status": 500,
            "error": "the receiver answered 500",
            "next_at": "2096-10-02T07:06:40.000Z",
        }
    ]
    assert [attempt["number"] for attempt in second["attempts"]] == [1, 2]


async def test_all_pages_need_a_key_where_there_are_keys() -> None:
    """A job's id does not stand in for an API key."""
    app = Potassium("test", jobs=Jobs(path=None), api_keys=["key"])
    app.background("/short")(lambda cache, json_in: json_in)
    async with client(app) as http:
        key = {"X-Api-Key": "key"}
        job = (await http.post("/short", json={}, headers=key)).json()["id"]
        await ended_with(http, job, key)
        for method, path in (
            ("POST", "/short"),
            ("GET", "/jobs"),
            ("DELETE", "/jobs?status=expired"),
            ("GET", f"/jobs/{job}"),
            ("DELETE", f"/jobs/{job}"),
            ("POST", f"/jobs/{job}/retry"),
            ("GET", f"/jobs/{job}/events"),
            ("GET", f"/jobs/{job}/deliveries"),
        ):
            for headers, refused in ((None, True), (key, False)):
                answer = await http.request(method, path, json={}, headers=headers)
                assert (answer.status_code == 401) is refused, path
        assert await service_of(app).store.count(Status.QUEUED) == 0


async def ended_with(http: httpx.AsyncClient, job: str, key: dict[str, str]) -> None:
    await http.get(f"/jobs/{job}", headers={**key, "Prefer": "wait=10"})


async def test_pages_start_an_app_that_nobody_has_started() -> None:
    """Like a handler, a page starts the app if no parent has entered its lifespan."""
    app = Potassium("test", jobs=Jobs(path=None))
    app.background("/short")(lambda cache, json_in: json_in)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        assert (await http.get("/jobs")).json() == {"jobs": [], "next": None}
    lazy = app._runtime._lazy
    assert lazy is not None
    lazy.cancel()
    await asyncio.wait([lazy])


async def test_a_full_store_is_503_with_a_time_to_come_back() -> None:
    """Direct calls and jobs that are stored already go on."""
    bench = Bench(max_queued=1)
    async with bench.client() as http:
        running = await submit(http, "/held", 1)
        await bench.has_begun()
        await submit(http, "/held", 2)
        for path, prefer in (("/held", ""), ("/direct", "respond-async")):
            answer = await http.post(path, json=3, headers={"Prefer": prefer})
            assert (answer.status_code, answer.json()["code"]) == (503, "store_full")
            assert int(answer.headers["Retry-After"]) > 0
        bench.gate.release()
        assert (await ended(http, running))["status"] == "succeeded"
        await bench.has_begun()
        await submit(http, "/held", 3)
