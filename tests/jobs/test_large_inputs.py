"""Large inputs of jobs are kept on disk, in both stores, for as long as a job needs them."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from support.bodies import nothing_is_left, open_bodies, sent_in_parts
from support.jobs import NOW, new_job

from potassium import Jobs, Potassium, Request
from potassium.errors import IdempotencyKeyReused, StoreFull
from potassium.http.content_hash import content_hash
from potassium.http.spooled import IN_MEMORY, SpooledBody
from potassium.jobs.inputs import size_of
from potassium.jobs.memory_store import MemoryStore
from potassium.jobs.model import NewJob, Status, StoredJob
from potassium.jobs.sqlite.store import SqliteStore
from potassium.jobs.store import JobStore
from potassium.testing import client

HANDLERS = ["/train"]
LARGE = os.urandom(IN_MEMORY + 1)


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[JobStore]:
    """A store for two large inputs and a half."""
    options = Jobs(max_bytes=5 * len(LARGE) // 2)
    store: JobStore = MemoryStore(options)
    if request.param == "sqlite":
        store = SqliteStore(tmp_path / "store" / "jobs.db", options)
    await store.open()
    yield store
    await store.close()
    assert open_bodies() == []


@pytest.fixture(params=["bytes", "on disk"])
def large(request: pytest.FixtureRequest) -> Any:
    """A large input, as it was received; closed as soon as the job is stored."""
    if request.param == "bytes":
        return LARGE
    body = SpooledBody.new()
    body.write(LARGE)
    return body


async def submit(store: JobStore, body: bytes | SpooledBody, **values: Any) -> StoredJob:
    job = await store.submit(new_job(body=body, fingerprint=content_hash(body), **values))
    if isinstance(body, SpooledBody):
        body.close()
    return job


async def run(store: JobStore) -> StoredJob:
    (job,) = await store.claim(handlers=HANDLERS, limit=1, now=NOW)
    return job


def read(job: NewJob) -> bytes:
    assert not isinstance(job.body, bytes)
    shared = job.body.share()
    try:
        return shared.read()
    finally:
        shared.close()


async def test_a_large_input_is_the_same_when_its_job_runs(store: JobStore, large: Any) -> None:
    """However often: it stays until the job needs it no longer."""
    await submit(store, large)
    job = await run(store)
    assert (size_of(job.body), read(job)) == (len(LARGE), LARGE)
    await store.put_back(job, due_at=NOW, error=None)
    job = await run(store)
    await store.end(job, Status.FAILED, now=NOW)
    failed = await store.get(job.id)
    assert failed is not None
    await store.upkeep()
    assert await store.retry(failed, attempts_limit=9, now=NOW)
    assert read(await run(store)) == LARGE


async def test_an_input_on_disk_counts(store: JobStore, large: Any) -> None:
    """Until the job has succeeded."""
    await submit(store, LARGE)
    await submit(store, large)
    with pytest.raises(StoreFull):
        await submit(store, LARGE)
    await store.end(await run(store), Status.SUCCEEDED, now=NOW)
    await submit(store, LARGE)


async def test_one_key_is_one_large_job(store: JobStore, large: Any) -> None:
    """Also if both are submitted at the same time; another content is refused."""
    same = [new_job(body=large, idempotency_key="k", fingerprint=b"1") for _ in range(2)]
    one, other = await asyncio.gather(*map(store.submit, same))
    assert one.id == other.id
    with pytest.raises(IdempotencyKeyReused):
        await store.submit(new_job(body=large, idempotency_key="k", fingerprint=b"2"))
    if isinstance(large, SpooledBody):
        large.close()
    assert read(await run(store)) == LARGE


@pytest.mark.parametrize("status", [Status.SUCCEEDED, Status.CANCELLED, Status.EXPIRED])
async def test_a_running_attempt_keeps_what_it_reads(store: JobStore, status: Status) -> None:
    """The input of a job that was cancelled is removed, and its handler reads on."""
    await submit(store, LARGE)
    job = await run(store)
    assert not isinstance(job.body, bytes)
    shared = job.body.share()
    await store.end(job, status, now=NOW)
    await store.upkeep()
    assert shared.read() == LARGE
    shared.close()


def test_a_fingerprint_leaves_out_what_differs_wherever_it_is() -> None:
    """Also where it spans two of the pieces in which an input is read."""
    boundary = b"--a--b"
    for start in range(IN_MEMORY - 2 * len(boundary), IN_MEMORY - len(boundary) + 1):
        before, behind = LARGE[:start], LARGE[start:]
        body = boundary + before + boundary + behind + boundary
        assert content_hash(body, without=boundary) == content_hash(LARGE)
    assert content_hash(LARGE + b"a") != content_hash(LARGE)


def app_at(path: Path | None) -> Potassium:
    app = Potassium("test", jobs=Jobs(path=None if path is None else str(path)))

    @app.background("/request", body_size=4 * IN_MEMORY, attempts=3, backoff=0.01)
    def whole(cache: dict[str, Any], request: Request) -> Any:
        return [type(request._message.content).__name__, request.body == LARGE]

    @app.background("/bytes", attempts=3, backoff=0.01)
    def raw(cache: dict[str, Any], body: bytes) -> Any:
        return body == LARGE

    return app


@pytest.mark.parametrize("is_durable", [False, True])
async def test_a_handler_gets_the_input_of_its_job(tmp_path: Path, *, is_durable: bool) -> None:
    """On disk, or in memory if it needs it there; nothing is left of it afterwards."""
    app = app_at(tmp_path / "jobs.db" if is_durable else None)
    async with client(app) as http:
        headers = {"Prefer": "wait=10"}
        answer = await http.post("/request", content=sent_in_parts(LARGE), headers=headers)
        assert answer.json() == ["SpooledBody", True]
        answer = await http.post("/bytes", content=sent_in_parts(LARGE), headers=headers)
        assert answer.json() is True
        await nothing_is_left(app)


async def test_a_job_whose_input_is_lost_fails(tmp_path: Path) -> None:
    """With a clear error, once, and the jobs after it run."""
    app = app_at(tmp_path / "jobs.db")
    gate = threading.Event()

    @app.background("/first", attempts=3)
    def first(cache: dict[str, Any], request: Request) -> None:
        assert gate.wait(10)
        for file in (tmp_path / "jobs.db-files").iterdir():
            file.unlink()

    async with client(app) as http:
        answers = [await http.post("/first")]
        answers += [await http.post(path, content=LARGE) for path in ("/request", "/bytes")]
        answers.append(await http.post("/bytes", content=b"small"))
        gate.set()
        ends = [
            (await http.get(answer.headers["location"], headers={"Prefer": "wait=10"})).json()
            for answer in answers
        ]
    assert [end["status"] for end in ends] == ["succeeded", "failed", "failed", "succeeded"]
    assert {end["error"]["code"] for end in ends if "error" in end} == {"input_lost"}
    assert {end["attempts"] for end in ends} == {1}
