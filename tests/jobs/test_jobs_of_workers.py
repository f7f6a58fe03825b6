"""Calls of jobs that are called off because their worker process has died."""

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import orjson
from support.job_bench import Bench, ended, submit

from potassium import Batch, Potassium, Request
from potassium.engine import Engine, State
from potassium.errors import WorkerDied, WorkerFailed
from potassium.jobs.model import Status, StoredJob
from potassium.testing import client

ASYNC = {"Prefer": "respond-async"}


def engine_of(app: Potassium) -> Engine:
    services = app._runtime.services
    assert services is not None
    return services.engine


def end_worker(app: Potassium) -> int:
    """Call off all calls that have begun, as if their worker had died; return how many."""
    engine = engine_of(app)
    begun = [job for job in engine.calls._jobs if job.began_at is not None or job.stream]
    was_alone = sum(job.is_background for job in begun) == 1
    for job in begun:
        engine.call_off(job, WorkerDied(was_alone=was_alone))
    return len(begun)


async def stored(app: Potassium, job: dict[str, Any]) -> StoredJob:
    services = app._runtime.services
    assert services is not None
    assert services.jobs is not None
    return await services.jobs.get(job["id"])


async def statuses(http: httpx.AsyncClient, job: dict[str, Any]) -> list[tuple[str, int]]:
    """Return the status and attempts of each status event, as a client follows them."""
    events = (await http.get(f"/jobs/{job['id']}/events")).text.split("\n\n")
    told = [event.partition("data: ")[2] for event in events if "event: status" in event]
    return [(one["status"], one["attempts"]) for one in map(orjson.loads, told)]


async def test_a_job_whose_worker_dies_has_its_next_attempt() -> None:
    """Although its handler has one attempt: it has not failed."""
    bench = Bench()
    async with bench.client() as http:
        job = await submit(http, "/held", 1)
        await bench.has_begun()
        assert end_worker(bench.app) == 1
        bench.gate.release()
        await bench.has_begun()
        now = await stored(bench.app, job)
        assert (now.attempts, now.crashes, now.is_suspect) == (2, 1, True)
        assert (await http.get(f"/jobs/{job['id']}")).json().get("error") is None
        bench.gate.release()
        assert (await ended(http, job))["output"] == {"held": 1}
        now = await stored(bench.app, job)
        assert (now.attempts, now.crashes, now.is_suspect) == (2, 0, False)
        assert await statuses(http, job) == [
            ("queued", 0),
            ("running", 1),
            ("queued", 1),
            ("running", 2),
            ("succeeded", 2),
        ]


async def test_a_job_that_ends_three_workers_fails_as_interrupted() -> None:
    bench = Bench()
    async with bench.client() as http:
        job = await submit(http, "/held", 1)
        for _ in range(3):
            await bench.has_begun()
            end_worker(bench.app)
            bench.gate.release()
        document = await ended(http, job)
        assert (document["status"], document["attempts"]) == ("failed", 3)
        assert document["error"]["code"] == "interrupted"
        assert document["error"]["status"] == 500


async def test_of_a_batch_the_jobs_run_again_and_the_calls_are_told() -> None:
    """Each job in a batch of its own, as any of them may have ended the worker."""
    bench = Bench()
    batches: list[list[Any]] = []

    @bench.app.handler("/batch", batch=Batch(max_size=3, max_delay=1.0))
    def batch(cache: dict[str, Any], items: list[Any]) -> list[Any]:
        batches.append(items)
        bench.begun.release()
        assert bench.gate.acquire(timeout=10)
        return items

    async with bench.client() as http:
        held = asyncio.create_task(http.post("/gated", json="held"))
        await bench.has_begun()
        jobs = [await submit(http, "/batch", number, **ASYNC) for number in range(2)]
        call = asyncio.create_task(http.post("/batch", json=2))
        await asyncio.sleep(0.02)
        bench.gate.release()
        await held
        await bench.has_begun()
        assert end_worker(bench.app) == 3
        answer = await call
        assert (answer.status_code, answer.json()["code"]) == (503, "worker_failed")
        assert answer.json()["detail"] == "The worker process that ran this call has died."
        assert "Retry-After" not in answer.headers
        for _ in range(3):
            bench.gate.release()
        assert [(await ended(http, job))["output"] for job in jobs] == [0, 1]
    assert [sorted(one) for one in batches] == [[0, 1, 2], [0], [1]]


async def test_a_stream_whose_worker_dies_begins_again() -> None:
    """The output is that of the attempt that came to its end."""
    bench = Bench()

    @bench.app.background("/stream")
    def stream(cache: dict[str, Any], request: Request) -> Iterator[str]:
        yield "a"
        bench.begun.release()
        assert bench.gate.acquire(timeout=10)
        yield "b"

    async with bench.client() as http:
        job = await submit(http, "/stream", {})
        await bench.has_begun()
        assert end_worker(bench.app) == 1
        for _ in range(2):
            bench.gate.release()
        document = await ended(http, job)
        assert (document["output"], document["attempts"]) == (["a", "b"], 2)


async def test_what_a_handler_raises_is_no_death_of_its_worker() -> None:
    """It may come from a call of another handler, whose worker died: its own has not."""
    app = Potassium("test")

    @app.background("/raises")
    def raises(cache: dict[str, Any], request: Request) -> None:
        raise WorkerDied

    async with client(app) as http:
        document = await ended(http, await submit(http, "/raises", {}))
        assert (document["status"], document["attempts"]) == ("failed", 1)
        assert document["error"]["code"] == "worker_failed"


async def test_a_worker_that_dies_in_a_drain_is_no_crash() -> None:
    """The next server runs the job, as any other that did not end in time."""
    bench = Bench()
    async with bench.client() as http:
        job = await submit(http, "/held", 1)
        await bench.has_begun()
        engine_of(bench.app).drain()
        end_worker(bench.app)
        while (now := await stored(bench.app, job)).status is not Status.QUEUED:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        assert (now.crashes, now.attempts_limit, now.is_suspect) == (0, 2, False)


async def test_the_death_of_the_last_worker_is_a_crash() -> None:
    """Otherwise a job that fails every server would be run for ever."""
    bench = Bench()
    async with bench.client() as http:
        job = await submit(http, "/held", 1)
        await bench.has_begun()
        engine = engine_of(bench.app)
        end_worker(bench.app)
        engine.fail("no worker is left")
        assert engine.lifecycle.state is State.FAILED
        while (now := await stored(bench.app, job)).status is not Status.QUEUED:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        assert (now.crashes, now.is_suspect) == (1, True)


def test_the_error_is_one_of_a_worker() -> None:
    """It has the code and the status of ``WorkerFailed``, and no time after which to retry."""
    error = WorkerDied()
    assert isinstance(error, WorkerFailed)
    assert (error.code, error.status, dict(error.headers)) == ("worker_failed", 503, {})
    assert error.was_alone
    assert WorkerDied(retry_after=1).headers["Retry-After"] == "1"
