"""Running background jobs beside direct calls, and their outcomes."""

import asyncio
import gc
import logging
import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import httpx
import pydantic
import pytest
from support.job_bench import Bench, ended, submit

from potassium import Batch, HTTPException, Jobs, Limits, Potassium, Request, Response
from potassium.errors import DeadlineExceeded, InvalidInput, StoreFailed
from potassium.http.message import Message
from potassium.jobs import lanes
from potassium.jobs.attempt import Attempt
from potassium.jobs.memory_store import MemoryStore
from potassium.jobs.model import NewJob, StoredJob
from potassium.testing import client

ASYNC = {"Prefer": "respond-async"}


async def test_a_direct_call_goes_before_jobs_that_wait() -> None:
    """With ten jobs in the store, a call waits for the one that runs, and for no other."""
    bench = Bench()
    async with bench.client() as http:
        for number in range(10):
            await submit(http, "/held", number)
        await bench.has_begun()
        call = asyncio.create_task(http.post("/direct", json="call"))
        await asyncio.sleep(0.01)
        bench.gate.release()
        assert (await call).json() == {"direct": "call"}
        assert bench.ran[:2] == [0, "call"]


async def test_short_jobs_that_were_claimed_ahead_let_direct_calls_go_first() -> None:
    """Direct calls overtake even the jobs that are already in the engine's queue."""
    bench = Bench()
    async with bench.client() as http:
        short = [await submit(http, "/short", "warm-up") for _ in range(3)]
        for job in short:
            await ended(http, job)
        held = asyncio.create_task(http.post("/held", json="held", headers={"Prefer": "wait=9"}))
        await bench.has_begun()
        bench.ran.clear()
        jobs = [await submit(http, "/short", number) for number in range(5)]
        await asyncio.sleep(0.01)
        call = asyncio.create_task(http.post("/direct", json="call"))
        await asyncio.sleep(0.01)
        bench.gate.release()
        assert (await call).status_code == (await held).status_code == 200
        for job in jobs:
            await ended(http, job)
        assert bench.ran == ["call", 0, 1, 2, 3, 4]


async def test_a_job_that_is_next_is_overtaken_by_as_many_calls_as_the_queue_takes() -> None:
    """With a queue of 4, the job runs before the fifth later call."""
    bench = Bench(limits=Limits(queue_size=4))
    async with bench.client() as http:
        for _ in range(3):
            await ended(http, await submit(http, "/short", "warm-up"))
        bench.ran.clear()
        held = asyncio.create_task(http.post("/gated", json="first"))
        await bench.has_begun()
        job = await submit(http, "/short", "job")
        await asyncio.sleep(0.01)
        calls = [held]
        for number in range(6):
            calls.append(asyncio.create_task(http.post("/gated", json=number)))
            await asyncio.sleep(0.01)
            bench.gate.release()
            await bench.has_begun()
        bench.gate.release()
        assert {(await call).status_code for call in calls} == {200}
        await ended(http, job)
        assert bench.ran.index("job") <= 6
        assert bench.ran.index("job") >= 2


async def test_short_jobs_are_claimed_ahead_however_slow_the_store_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each claim, also one for an async handler, takes longer than many short jobs."""
    claimed: list[int] = []

    class SlowStore(MemoryStore):
        async def claim(self, **options: Any) -> Sequence[StoredJob]:
            await asyncio.sleep(0.01)
            jobs = await super().claim(**options)
            claimed.append(len(jobs))
            return jobs

    monkeypatch.setattr("potassium.jobs.memory_store.MemoryStore", SlowStore)
    bench = Bench()

    @bench.app.background("/async", concurrency=1)
    async def on_loop(cache: dict[str, Any], json_in: Any) -> None: ...

    async with bench.client() as http:
        jobs = await asyncio.gather(*(submit(http, "/short", number) for number in range(40)))
        for job in jobs:
            await ended(http, job)
    assert max(claimed) > 10


async def test_the_next_job_runs_while_the_one_before_is_being_stored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """This holds even if only one job may run at a time."""
    stored = asyncio.Event()

    class StuckStore(MemoryStore):
        async def end(self, *args: Any, **options: Any) -> bool:
            await stored.wait()
            return await super().end(*args, **options)

    monkeypatch.setattr("potassium.jobs.memory_store.MemoryStore", StuckStore)
    bench = Bench()
    async with bench.client() as http:
        for number in range(2):
            await submit(http, "/held", number)
        try:
            await bench.has_begun()
            bench.gate.release()
            await bench.has_begun()
        finally:
            stored.set()
    assert bench.ran == [0, 1]


async def test_a_batched_handler_batches_jobs_with_direct_calls() -> None:
    """Jobs and direct calls that wait for the same handler run in one batch."""
    bench = Bench()
    sizes: list[int] = []

    @bench.app.handler("/batch", batch=Batch(max_size=4, max_delay=1.0))
    def batch(cache: dict[str, Any], items: list[Any]) -> list[Any]:
        sizes.append(len(items))
        return items

    async with bench.client() as http:
        await submit(http, "/held", 0)
        await bench.has_begun()
        jobs = [
            (await http.post("/batch", json=number, headers=ASYNC)).json() for number in range(2)
        ]
        calls = [asyncio.create_task(http.post("/batch", json=number)) for number in (2, 3)]
        await asyncio.sleep(0.02)
        bench.gate.release()
        assert [(await call).json() for call in calls] == [2, 3]
        assert [(await ended(http, job))["output"] for job in jobs] == [0, 1]
    assert sizes == [4]


async def test_a_suspect_of_a_batched_handler_is_a_batch_of_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Direct calls that wait beside it are a batch of their own: nobody may die with it."""

    class Suspicious(MemoryStore):
        async def submit(self, job: NewJob) -> StoredJob:
            return self._set(replace(await super().submit(job), is_suspect=True))

    monkeypatch.setattr("potassium.jobs.memory_store.MemoryStore", Suspicious)
    bench = Bench()
    batches: list[list[Any]] = []

    @bench.app.handler("/batch", batch=Batch(max_size=4, max_delay=1.0))
    def batch(cache: dict[str, Any], items: list[Any]) -> list[Any]:
        batches.append(items)
        return items

    async with bench.client() as http:
        held = asyncio.create_task(http.post("/gated", json="held"))
        await bench.has_begun()
        jobs = [await submit(http, "/batch", f"job {n}", **ASYNC) for n in range(2)]
        services = bench.app._runtime.services
        assert services is not None
        assert services.jobs is not None
        services.jobs._runner.wake(for_suspect=True)
        calls = [asyncio.create_task(http.post("/batch", json=f"call {n}")) for n in range(2)]
        await asyncio.sleep(0.02)
        bench.gate.release()
        for job in jobs:
            await ended(http, job)
        await asyncio.gather(held, *calls)
    assert sorted(batches) == [["call 0", "call 1"], ["job 0"], ["job 1"]]


async def test_a_run_that_takes_longer_than_its_timeout_fails() -> None:
    """The timeout counts from the beginning of the run, not while the job waits."""
    bench = Bench()

    @bench.app.background("/slow", timeout=0.05)
    def slow(cache: dict[str, Any], request: Request) -> None:
        while not request.cancelled:
            time.sleep(0.001)

    async with bench.client() as http:
        await submit(http, "/held", 0)
        await bench.has_begun()
        job = await submit(http, "/slow", 0)
        await asyncio.sleep(0.08)
        assert (await http.get(f"/jobs/{job['id']}")).json()["status"] == "queued"
        bench.gate.release()
        document = await ended(http, job)
        assert document["status"] == "failed"
        assert document["error"]["code"] == "deadline_exceeded"


@pytest.fixture
def app() -> Potassium:
    return Potassium("test", jobs=Jobs(path=None, attempts=2, backoff=0.01))


@pytest.mark.parametrize(
    ("fault", "attempts", "code"),
    [
        (ValueError("no"), 2, "handler_error"),
        (HTTPException(503, "later"), 2, "service_unavailable"),
        (HTTPException(503, headers={"Retry-After": 5}), 2, "service_unavailable"),  # type: ignore[dict-item]
        (HTTPException(404, "never"), 1, "not_found"),
        ({"a": object()}, 1, "unserializable_output"),
        (Response(status=409, json={}), 1, "conflict"),
        (
            Response(body=b"{", headers={"Content-Type": "application/json"}),
            1,
            "unserializable_output",
        ),
        ("\ud800", 1, "unserializable_output"),
    ],
)
async def test_what_may_go_better_another_time_is_tried_again(
    app: Potassium, fault: Any, attempts: int, code: str
) -> None:
    """The handler's own errors are retried; refusals and results that cannot be stored are not."""

    @app.background
    def handler(cache: dict[str, Any], json_in: Any) -> Any:
        if isinstance(fault, Exception):
            raise fault
        return fault

    async with client(app) as http:
        document = await ended(http, await submit(http, "/", {}))
    assert document["status"] == "failed"
    assert document["attempts"] == attempts
    assert document["error"]["code"] == code


async def test_the_time_between_attempts_doubles(
    app: Potassium, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``backoff=`` of the handler overrides that of ``Jobs``."""
    times: list[float] = []

    @app.background(attempts=4, backoff=0.02)
    def handler(cache: dict[str, Any], json_in: Any) -> Any:
        times.append(time.monotonic())
        raise ValueError("always")

    async with client(app) as http:
        document = await ended(http, await submit(http, "/", {}))
    assert document["attempts"] == 4
    gaps = [after - before for before, after in pairwise(times)]
    assert all(gap >= least for gap, least in zip(gaps, (0.02, 0.04, 0.08), strict=True))


@pytest.mark.parametrize(
    ("result", "output"),
    [
        (None, None),
        ({"a": float("nan")}, {"a": None}),
        (Response(status=204), None),
        (Response(status=201, json=[1]), [1]),
        (Response(body="[2]", headers={"Content-Type": "application/json"}), [2]),
        (iter(["a", {"b": 1}]), ["a", {"b": 1}]),
        (Response(body=iter(["a"]), headers={"Content-Type": "text/plain"}), ["a"]),
    ],
)
async def test_the_output_is_what_the_handler_returned(
    app: Potassium, result: Any, output: Any
) -> None:
    """The output is JSON; that of a generator is the list of its chunks."""

    @app.background
    def handler(cache: dict[str, Any], json_in: Any) -> Any:
        return result

    async with client(app) as http:
        document = await ended(http, await submit(http, "/", {}))
    assert document["status"] == "succeeded", document
    assert document["output"] == output


async def test_an_async_handler_runs_its_jobs_on_the_loop(app: Potassium) -> None:
    """As many jobs run at a time as ``concurrency=`` allows."""
    inside = most = 0

    @app.background("/async", concurrency=3)
    async def handler(cache: dict[str, Any], json_in: Any) -> Any:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        await asyncio.sleep(0.02)
        inside -= 1
        return json_in

    async with client(app) as http:
        jobs = [await submit(http, "/async", number) for number in range(9)]
        assert [(await ended(http, job))["output"] for job in jobs] == list(range(9))
    assert most == 3


async def test_a_handler_sees_the_request_but_no_credentials(app: Potassium) -> None:
    """Headers with credentials are not stored."""
    seen: dict[str, str] = {}

    @app.background
    def handler(cache: dict[str, Any], request: Request) -> Any:
        seen.update(request.headers)
        return request.id

    async with client(app) as http:
        headers = {"X-Request-Id": "mine", "Authorization": "Bearer a", "X-Own": "b", "Cookie": "c"}
        job = await submit(http, "/", {}, **headers)
        assert (await ended(http, job))["output"] == "mine"
    assert seen["x-own"] == "b"
    assert not seen.keys() & {"authorization", "cookie"}


async def test_progress_is_shown_and_checked(app: Potassium) -> None:
    """A share outside 0 to 1 is the handler's mistake, and fails the job."""

    @app.background
    def handler(cache: dict[str, Any], request: Request) -> Any:
        request.progress(request.json["share"], "on the way")

    async with client(app) as http:
        good = await ended(http, await submit(http, "/", {"share": 0.25}))
        bad = await ended(http, await submit(http, "/", {"share": 25}))
    assert (good["status"], good["progress"], good["message"]) == ("succeeded", 1, "on the way")
    assert (bad["status"], bad["progress"]) == ("failed", None)


async def test_the_progress_of_a_success_is_1(app: Potassium) -> None:
    """Whether its handler reports progress or not; of a failure, it stays as it was."""

    @app.background
    def handler(cache: dict[str, Any], request: Request) -> Any:
        if request.json["reports"]:
            request.progress(0.25)
        if request.json["fails"]:
            raise HTTPException(404)

    async with client(app) as http:
        shown = [
            (await ended(http, await submit(http, "/", {"reports": reports, "fails": fails})))
            for reports in (False, True)
            for fails in (False, True)
        ]
    assert [one["progress"] for one in shown] == [1, None, 1, 0.25]


@pytest.mark.parametrize(
    ("fault", "logged", "is_traced"),
    [
        (ValueError("no"), "handler_error", True),
        (HTTPException(404, "never"), "not_found", True),
        (HTTPException(204), "handler_error", True),
        (Response(status=409, json={}), "conflict", True),
        (InvalidInput("not this"), "invalid_input: not this", False),
        (DeadlineExceeded(), "deadline_exceeded: The call did not finish in time.", False),
        ({"a": object()}, "unserializable_output", True),
    ],
)
async def test_every_failed_attempt_is_logged_with_the_id_of_its_job(
    app: Potassium, caplog: pytest.LogCaptureFixture, fault: Any, logged: str, is_traced: bool
) -> None:
    """Also one that a direct call's client would be told of: nobody waits for the answer."""

    @app.background(attempts=1)
    def handler(cache: dict[str, Any], json_in: Any) -> Any:
        if isinstance(fault, Exception):
            raise fault
        return fault

    async with client(app) as http:
        document = await ended(http, await submit(http, "/", {}))
    assert document["error"]["code"] == logged.partition(":")[0]
    [record] = caplog.records
    request_id = document["error"]["request_id"]
    assert record.getMessage() == (
        f"/ failed: {logged} (job {document['id']}, attempt 1 of 1, request {request_id})"
    )
    assert (record.__dict__["job_id"], record.levelno) == (document["id"], logging.ERROR)
    assert bool(record.exc_info and record.exc_info[1]) is is_traced


async def test_a_job_that_failed_holds_on_to_nothing(app: Potassium) -> None:
    """Its input and what its handler made of it are freed at once, not at the next collection."""
    made: list[weakref.ref[Any]] = []

    class Item(pydantic.BaseModel):
        n: int

    class Fault(Exception):
        """Refers to what it was raised about, as many do."""

    @app.background("/plain")
    def plain(cache: dict[str, Any], item: Item) -> Any:
        made.append(weakref.ref(item))
        raise HTTPException(422) from Fault(item)

    @app.background("/async")
    async def on_loop(cache: dict[str, Any], item: Item) -> Any:
        made.append(weakref.ref(item))
        raise Fault(item)

    @app.background("/stream")
    def stream(cache: dict[str, Any], item: Item) -> Any:
        made.append(weakref.ref(item))
        yield 1
        raise Fault(item)

    @app.handler("/batch", batch=Batch(max_size=2))
    def batch(cache: dict[str, Any], items: list[Item]) -> Any:
        made.append(weakref.ref(items[0]))
        raise Fault(items)

    def left() -> set[int]:
        kinds = (Message, Attempt)
        return {id(one) for one in gc.get_objects() if type(one) in kinds}

    logging.disable()  # pytest keeps what is logged
    gc.collect()
    gc.disable()
    before = left()
    try:
        async with client(app) as http:
            for path in ("/plain", "/async", "/stream", "/batch"):
                document = await ended(http, await submit(http, path, {"n": 1}, **ASYNC))
                assert document["status"] == "failed"
                async with asyncio.timeout(5):  # the thread may not have got to its next line
                    while left() - before or any(one() for one in made):  # noqa: ASYNC110
                        await asyncio.sleep(0.001)
    finally:
        gc.enable()
        logging.disable(logging.NOTSET)


async def test_a_message_of_progress_has_to_be_text(app: Potassium) -> None:
    """A lone surrogate cannot be stored: ``progress`` raises in the handler that passes one."""

    @app.background
    def handler(cache: dict[str, Any], request: Request) -> Any:
        request.progress(0.5, "\ud800")

    async with client(app) as http:
        document = await ended(http, await submit(http, "/", {}))
    assert (document["status"], document["error"]["code"]) == ("failed", "handler_error")


async def test_a_stop_puts_what_runs_back() -> None:
    """The job is queued again, and runs at the server's next start."""
    bench = Bench(limits=Limits(grace_period=0.05))
    async with bench.client() as http:
        job = await submit(http, "/held", 0)
        await bench.has_begun()
        running = bench.app._runtime.services
        assert running is not None
        assert running.jobs is not None
        store = running.jobs.store
        bench.app._runtime.drain()
        refused = await http.post("/held", json=1)
        assert (refused.status_code, refused.json()["code"]) == (503, "draining")
        deadline = time.monotonic() + 5
        stored = await store.get(job["id"])
        while stored is not None and stored.status == "running" and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
            stored = await store.get(job["id"])
    assert stored is not None
    assert (stored.status, stored.attempts) == ("queued", 1)


async def test_without_jobs_the_preference_is_ignored() -> None:
    """RFC 7240 lets a server ignore preferences: the call is answered directly."""
    app = Potassium("test")
    app.handler(lambda cache, json_in: json_in)
    async with client(app) as http:
        answer = await http.post("/", json={}, headers=ASYNC)
        assert (answer.status_code, answer.json()) == (200, {})
        assert (await http.get("/jobs")).status_code == 404


async def test_a_stream_ends_as_soon_as_it_is_cancelled(
    app: Potassium, caplog: pytest.LogCaptureFixture
) -> None:
    """Its generator is closed, and what it had sent is not a result."""
    closed = []
    begun = threading.Event()

    @app.background
    def handler(cache: dict[str, Any], json_in: Any) -> Iterator[int]:
        begun.set()
        try:
            while True:
                time.sleep(0.001)
                yield 1
        finally:
            closed.append(True)

    caplog.set_level(logging.WARNING)
    async with client(app) as http:
        job = await submit(http, "/", {})
        assert await asyncio.to_thread(begun.wait, 10)
        assert (await http.delete(f"/jobs/{job['id']}")).status_code == 202
        document = await ended(http, job)
    assert (document["status"], document["error"]["code"]) == ("cancelled", "job_cancelled")
    assert closed == [True]
    assert not caplog.records


async def test_a_stream_without_an_end_is_cancelled_while_the_store_fails(
    app: Potassium, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it yields does not pile up in memory meanwhile: the generator waits."""
    monkeypatch.setattr("potassium.jobs.attempt.MOST_UNSAVED", 10)
    attempts: list[Attempt] = []

    class FullStore(MemoryStore):
        async def note(self, *args: Any, **options: Any) -> None:
            raise StoreFailed("The disk is full.")

    class Watched(Attempt):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            attempts.append(self)

    monkeypatch.setattr("potassium.jobs.memory_store.MemoryStore", FullStore)
    monkeypatch.setattr("potassium.jobs.runner.Attempt", Watched)

    @app.background
    def handler(cache: dict[str, Any], json_in: Any) -> Iterator[str]:
        while True:
            yield "x" * 10_000

    async with client(app) as http:
        job = await submit(http, "/", {})
        await asyncio.sleep(0.2)
        [attempt] = attempts
        assert len(attempt._events) <= 10
        assert (await http.delete(f"/jobs/{job['id']}")).status_code == 202
        async with asyncio.timeout(0.8):  # before the store is asked again
            assert (await ended(http, job))["status"] == "cancelled"


async def test_a_job_that_was_claimed_does_not_begin_after_the_drain() -> None:
    """It waits for a direct call when the drain begins, and is left to the next server."""
    bench = Bench()
    async with bench.client() as http:
        call = asyncio.create_task(http.post("/gated", json="call"))
        await bench.has_begun()
        job = await submit(http, "/short", "job")
        await asyncio.sleep(0.02)
        running = bench.app._runtime.services
        assert running is not None
        assert running.jobs is not None
        bench.app._runtime.drain()
        bench.gate.release()
        assert (await call).status_code == 200
        await asyncio.sleep(0.02)
        assert (await running.jobs.get(job["id"])).status == "queued"
    assert bench.ran == ["call"]


async def test_a_server_that_has_failed_does_not_use_its_jobs_up() -> None:
    """The hung job and the waiting one are left to the next server, and not tried again here."""
    bench = Bench(limits=Limits(hang_timeout=0.05))
    async with bench.client() as http:
        jobs = [await submit(http, "/held", number) for number in range(2)]
        await bench.has_begun()
        running = bench.app._runtime.services
        assert running is not None
        assert running.jobs is not None
        await asyncio.sleep(0.2)
        assert (await http.get("/healthz")).status_code == 503
        stored = [await running.jobs.get(job["id"]) for job in jobs]
        bench.gate.release()
    assert [(job.status, job.attempts) for job in stored] == [("queued", 1), ("queued", 0)]


@pytest.mark.parametrize("result", ["x" * 100, iter(["x" * 60] * 2)], ids=["value", "stream"])
async def test_a_result_that_no_store_can_keep_is_a_failure(
    result: Any,
) -> None:
    """The job fails at once: storing it again and again would hold up all other jobs for ever."""
    app = Potassium("test", jobs=Jobs(path=None, max_output=100))

    @app.background
    def handler(cache: dict[str, Any], json_in: Any) -> Any:
        return result

    async with client(app) as http:
        document = await ended(http, await submit(http, "/", {}))
    assert (document["status"], document["attempts"]) == ("failed", 1)
    assert document["error"]["code"] == "unserializable_output"


async def test_a_stream_without_an_end_fails_where_it_is_too_long() -> None:
    """It is ended as soon as it is longer than allowed; then other jobs run."""
    app = Potassium("test", jobs=Jobs(path=None, max_output=10_000))
    steps = []

    @app.background("/endless")
    def endless(cache: dict[str, Any], json_in: Any) -> Iterator[str]:
        while True:
            steps.append(1)
            yield "x"

    @app.background("/short")
    def short(cache: dict[str, Any], json_in: Any) -> int:
        return 1

    async with client(app) as http:
        document = await ended(http, await submit(http, "/endless", {}))
        assert (await ended(http, await submit(http, "/short", {})))["output"] == 1
        made = len(steps)
        await ended(http, await submit(http, "/short", {}))
        assert len(steps) == made
    assert (document["status"], document["attempts"]) == ("failed", 1)
    assert document["error"]["code"] == "unserializable_output"
    assert "10000 bytes" in document["error"]["detail"]


async def fill(bench: Bench, http: httpx.AsyncClient) -> list[asyncio.Task[httpx.Response]]:
    """Fill the queue with direct calls; all but three are refused."""
    calls = []
    for number in range(6):
        calls.append(asyncio.create_task(http.post("/gated", json=number)))
        await asyncio.sleep(0.002)
    await bench.has_begun()
    return calls


async def test_a_job_enters_a_queue_that_direct_calls_have_filled() -> None:
    """It begins behind those that wait, before any that comes later."""
    bench = Bench(limits=Limits(queue_size=2))
    async with bench.client() as http:
        calls = await fill(bench, http)
        job = await submit(http, "/short", "job")
        await asyncio.sleep(0.01)
        bench.gate.release()
        await bench.has_begun()
        await asyncio.sleep(0.01)
        calls.append(asyncio.create_task(http.post("/gated", json="late")))
        await asyncio.sleep(0.01)
        bench.gate.release(6)
        document = await ended(http, job)
        assert (document["status"], document["attempts"]) == ("succeeded", 1)
        codes = [(await call).status_code for call in calls]
        assert codes == [200, 200, 200, 503, 503, 503, 200]
    assert bench.ran == [0, 1, 2, "job", "late"]


async def test_jobs_take_no_places_of_direct_calls() -> None:
    """A batch of jobs waits in the queue of the engine; as many calls as ever fit beside it."""
    bench = Bench(limits=Limits(queue_size=2))

    @bench.app.handler("/batch", batch=Batch(max_size=8))
    def batch(cache: dict[str, Any], items: list[Any]) -> list[Any]:
        return items

    async with bench.client() as http:
        calls = [asyncio.create_task(http.post("/gated", json=0))]
        await bench.has_begun()
        jobs = [await submit(http, "/batch", number, **ASYNC) for number in range(8)]
        await asyncio.sleep(0.01)
        calls += [asyncio.create_task(http.post("/gated", json=number)) for number in (1, 2)]
        await asyncio.sleep(0.01)
        bench.gate.release(3)
        assert [(await call).status_code for call in calls] == [200, 200, 200]
        for job in jobs:
            assert (await ended(http, job))["status"] == "succeeded"


@pytest.mark.parametrize("options", [{}, {"batch": Batch(max_size=8)}], ids=["plain", "batched"])
async def test_jobs_whose_results_pile_up_are_claimed_no_further(options: Any) -> None:
    """The thread goes on while results are finished in the pool, but not without end."""
    bench = Bench()
    finished = threading.Semaphore(0)
    begun: list[Any] = []

    def finish(result: Any) -> Any:
        finished.acquire(timeout=10)
        return result

    def handler(cache: dict[str, Any], given: Any) -> Any:
        begun.extend(given if options else [given])
        return given

    handler.__annotations__["given"] = list[Any] if options else Any
    bench.app.background("/finished", finish=finish, **options)(handler)

    async with bench.client() as http:
        jobs = await asyncio.gather(*(submit(http, "/finished", n) for n in range(400)))
        for _ in range(20):  # so that the jobs are known to be short
            finished.release()
            await asyncio.sleep(0.005)
        await asyncio.sleep(0.3)
        assert len(begun) <= lanes.MOST_CLAIMED + 20
        finished.release(400)
        for job in jobs:
            assert (await ended(http, job))["status"] == "succeeded"


async def test_a_job_that_waits_for_direct_calls_is_cancelled() -> None:
    """The job never begins."""
    bench = Bench(limits=Limits(queue_size=2))
    async with bench.client() as http:
        calls = await fill(bench, http)
        job = await submit(http, "/short", "job")
        await asyncio.sleep(0.01)
        assert (await http.delete(f"/jobs/{job['id']}")).status_code == 202
        assert (await ended(http, job))["status"] == "cancelled"
        bench.gate.release(6)
        await asyncio.gather(*calls)
        assert "job" not in bench.ran


async def test_a_validator_that_breaks_later_fails_the_job(
    app: Potassium, caplog: pytest.LogCaptureFixture
) -> None:
    """The input was valid when it was submitted; the log says what went wrong later."""
    calls = 0

    class Item(pydantic.BaseModel):
        n: int

        @pydantic.field_validator("n")
        @classmethod
        def check(cls, n: int) -> int:
            nonlocal calls
            calls += 1
            if calls > 1:
                raise RuntimeError("the tokenizer is gone")
            return n

    @app.background
    def handler(cache: dict[str, Any], item: Item) -> int:
        return item.n

    async with client(app) as http:
        document = await ended(http, await submit(http, "/", {"n": 1}))
    assert (document["status"], document["error"]["status"]) == ("failed", 500)
    assert document["attempts"] == 2
    assert "tokenizer" not in str(document)
    assert "the tokenizer is gone" in caplog.text


async def test_bytes_of_a_stream_are_the_text_of_its_job() -> None:
    """A character may be cut between two chunks, but not at the end."""
    whole, cut = "é".encode(), "é".encode()[:1]
    app = Potassium("test", jobs=Jobs(path=None))
    app.background("/whole")(lambda cache, json_in: iter([whole[:1], whole[1:]]))
    app.background("/cut")(lambda cache, json_in: iter([b"a", cut]))
    async with client(app) as http:
        jobs = [await ended(http, await submit(http, path, {})) for path in ("/whole", "/cut")]
    assert jobs[0]["output"] == ["", "é"]
    assert (jobs[1]["status"], jobs[1]["error"]["code"]) == ("failed", "unserializable_output")
