"""Calls by their outcome, and the seconds of their phases."""

import asyncio
import threading
import time
from typing import Any

import pytest
from support.engine import Gate
from support.metrics import scrape
from support.operations import operation_on

from potassium import Jobs, Potassium
from potassium.engine import End, Failure, Job, Stream
from potassium.engine.bridge import Bridge
from potassium.errors import ClientLeft, DeadlineExceeded, PotassiumError, WorkerFailed
from potassium.observe.metrics.calls import CallMetrics
from potassium.observe.metrics.histogram import SECONDS, Histogram
from potassium.testing import client

CALLS = "potassium_calls_total"
RUN = "potassium_run_duration_seconds"
QUEUE = "potassium_queue_duration_seconds"

UNUSED: Bridge[Stream[Job]] = Bridge(lambda _: None, lambda _: None)


async def test_each_phase_of_a_call_is_timed_for_itself() -> None:
    """Preparing, waiting after that, running and finishing."""
    calls, operation = CallMetrics(), operation_on("/", lambda _: None)
    calls.begin([operation])
    job = Job(operation, None, asyncio.get_running_loop().create_future())
    job.admitted_at, job.preparation = 10.0, (10.25, 11.25)
    job.began_at, job.ended_at, job.finishing = 11.75, 13.75, (14.0, 18.0)
    calls.ran([job])
    calls.closed(job, End.SUCCEEDED)
    figures = calls.handlers["/"]
    assert (figures.prepare.sum, figures.queue.sum) == (1.0, 0.5)
    assert (figures.run.sum, figures.finish.sum) == (2.0, 4.0)


async def test_only_the_phases_that_a_handler_has_are_shown() -> None:
    """One with ``prepare=`` and ``finish=`` has them all, as they were measured."""
    app, pause = Potassium("test", metrics=True), 0.02

    def slow(value: Any) -> Any:
        time.sleep(pause)
        return value

    def prepare(json_in: dict[str, Any]) -> Any:
        return slow(json_in)

    app.handler("/all", prepare=prepare, finish=slow)(lambda cache, item: slow(item))
    app.handler("/plain")(lambda cache, json_in: json_in)
    async with client(app) as http:
        for path in ("/all", "/all", "/plain"):
            assert (await http.post(path, json={})).status_code == 200
        seen = await scrape(http)
    for phase in ("prepare", "run", "finish"):
        name = f"potassium_{phase}_duration_seconds"
        assert seen.value(f"{name}_count", handler="/all") == 2
        assert seen.value(f"{name}_sum", handler="/all") >= 2 * pause
    for phase in ("prepare", "finish"):
        assert seen.values(f"potassium_{phase}_duration_seconds_count", handler="/plain") == {}


async def test_the_time_in_the_queue_is_that_of_waiting() -> None:
    """A call that waits behind another one has waited for as long as that ran."""
    app, gate = Potassium("test", metrics=True), Gate()
    app.handler(lambda cache, json_in: gate.run(json_in))
    async with client(app) as http, asyncio.TaskGroup() as group:
        group.create_task(http.post("/", json={}))
        await gate.has_begun()
        second = group.create_task(http.post("/", json={}))
        await asyncio.sleep(0.03)
        gate.open(2)
        await second
        seen = await scrape(http)
        assert seen.value(f"{QUEUE}_count", handler="/") == 2
        assert seen.value(f"{QUEUE}_sum", handler="/") >= 0.02


async def test_buckets_are_from_a_millisecond_to_ten_minutes() -> None:
    """And each bucket has what the one below it has."""
    app = Potassium("test", metrics=True)
    app.handler(lambda cache, json_in: json_in)
    async with client(app) as http:
        await http.post("/", json={})
        seen = await scrape(http)
    buckets = seen.values(f"{RUN}_bucket", handler="/")
    bounds = sorted(float(bound) for (bound,) in buckets)
    assert (bounds[0], bounds[-2:]) == (0.001, [600.0, float("inf")])
    counts = [count for _, count in sorted(buckets.items(), key=lambda one: float(one[0][0]))]
    assert counts == sorted(counts)
    assert counts[-1] == 1


async def test_a_bucket_has_what_is_as_long_as_its_bound() -> None:
    """``le`` means less or equal, in each place where something is counted."""
    calls, operation = CallMetrics(), operation_on("/", lambda _: None)
    calls.begin([operation])
    job = Job(operation, None, asyncio.get_running_loop().create_future())
    job.admitted_at, job.began_at, job.ended_at = 10.0, 11.0, 12.0
    calls.ran([job])
    one = Histogram()
    one.add(1.0)
    figures = calls.handlers["/"]
    for histogram in (one, figures.queue, figures.run):
        assert histogram.counts[SECONDS.index(1.0)] == 1


async def test_a_call_that_runs_alone_counts_for_its_handler() -> None:
    """A job that may have crashed the server has an operation of its own, with the same name."""
    calls, alone = CallMetrics(), operation_on("/", lambda _: None)
    calls.begin([operation_on("/", lambda _: None)])
    job = Job(alone, None, asyncio.get_running_loop().create_future())
    job.began_at = job.ended_at = 1.0
    calls.ran([job])
    calls.closed(job, End.SUCCEEDED)
    assert (calls.handlers["/"].succeeded, sum(calls.handlers["/"].run.counts)) == (1, 1)


async def test_in_a_batch_only_the_share_of_the_call_was_in_vain() -> None:
    """Of four items, one was called off: the others have used the rest."""
    calls, operation = CallMetrics(), operation_on("/", lambda _: None)
    calls.begin([operation])
    job = Job(operation, None, asyncio.get_running_loop().create_future())
    job.began_at, job.ended_at, job.batch_size = 10.0, 12.0, 4
    job.call_off(ClientLeft())
    calls.ran([job])
    assert calls.handlers["/"].wasted == 0.5


async def test_init_is_no_call_of_a_handler() -> None:
    """It is the first job of the thread, and counts nowhere; nor does a handler of that name."""
    app = Potassium("test", metrics=True)
    app.init(lambda: {"model": 1})
    app.handler("/init")(lambda cache, json_in: json_in)
    async with client(app) as http:
        seen = await scrape(http)
        assert seen.values(f"{RUN}_count") == {("/init",): 0}
        await http.post("/init", json={})
        assert (await scrape(http)).values(f"{RUN}_count") == {("/init",): 1}
        assert (await scrape(http)).values(CALLS) == {("/init", "succeeded"): 1}


async def test_calls_are_counted_by_what_became_of_them() -> None:
    """A failure, a deadline, a client that left and a refusal are told apart."""
    app, gate = Potassium("test", metrics=True), Gate()

    @app.handler
    def handler(cache: dict[str, Any], json_in: dict[str, Any]) -> Any:
        if json_in.get("fail"):
            raise ValueError
        return gate.run(json_in) if json_in.get("wait") else json_in

    async with client(app) as http:
        await http.post("/", json={})
        await http.post("/", json={"fail": True})
        late = asyncio.create_task(
            http.post("/", json={"wait": True}, headers={"Prefer": "wait=0.5"})
        )
        await gate.has_begun()
        leaving = asyncio.create_task(http.post("/", json={}))
        await asyncio.sleep(0.01)
        leaving.cancel()
        assert (await late).status_code == 504
        gate.open()
        await http.post("/", json={})
        seen = await scrape(http)
    assert seen.values(CALLS, handler="/") == {
        ("succeeded",): 2,
        ("failed",): 1,
        ("deadline_exceeded",): 1,
        ("client_left",): 1,
    }


async def test_a_deadline_that_the_thread_notices_first_is_one() -> None:
    """It fails the job before the loop's timer has called it off."""
    calls, operation = CallMetrics(), operation_on("/", lambda _: None)
    calls.begin([operation])
    job = Job(operation, None, asyncio.get_running_loop().create_future())
    job.future.set_result(Failure(DeadlineExceeded()))
    calls.closed(job, End.FAILED)
    assert calls.handlers["/"].outcomes == {"deadline_exceeded": 1}


@pytest.mark.parametrize("error", [DeadlineExceeded, WorkerFailed])
async def test_what_the_thread_notices_first_is_told_apart_for_streams_too(
    error: type[PotassiumError],
) -> None:
    """A stream keeps its failure for its reader; that of a plain call is its outcome."""
    calls, operation = CallMetrics(), operation_on("/", lambda _: None)
    calls.begin([operation])
    for streams in (False, True):
        job = Job(operation, None, asyncio.get_running_loop().create_future())
        failure = Failure(error())
        if streams:
            job.stream = Stream(job, UNUSED)
            job.stream.failure = failure
        job.future.set_result(job.stream or failure)
        calls.closed(job, End.FAILED)
    assert calls.handlers["/"].outcomes == {error.code: 2}


async def test_a_caller_that_leaves_as_the_result_comes_is_one_that_left() -> None:
    """The call is not called off any more, but nobody has its result."""
    calls, operation = CallMetrics(), operation_on("/", lambda _: None)
    calls.begin([operation])
    job = Job(operation, None, asyncio.get_running_loop().create_future())
    job.began_at = job.ended_at = 1.0
    calls.closed(job, End.CANCELLED)
    assert calls.handlers["/"].outcomes == {"client_left": 1}


async def test_errors_that_an_app_invents_are_failures() -> None:
    """Their codes are no labels: there may be any number of them."""
    app = Potassium("test", metrics=True)

    @app.handler
    def handler(cache: dict[str, Any], json_in: dict[str, Any]) -> Any:
        raise type("Own", (PotassiumError,), {"code": json_in["code"]})

    async with client(app) as http:
        for number in range(5):
            await http.post("/", json={"code": f"own-{number}"})
        assert (await scrape(http)).values(CALLS) == {("/", "succeeded"): 0, ("/", "failed"): 5}


async def test_calls_from_the_same_process_are_counted_but_no_requests() -> None:
    """``app.call`` goes through the same queue."""
    app = Potassium("test", metrics=True)
    app.handler(lambda cache, json_in: json_in)
    async with client(app) as http:
        await app.call("/", {})
        seen = await scrape(http)
    assert seen.value(CALLS, handler="/", outcome="succeeded") == 1
    assert seen.value("potassium_requests_total", handler="/", status="200") == 0


async def test_time_spent_on_results_that_nobody_took_is_counted() -> None:
    """The call was called off while it ran; one that never ran wastes nothing."""
    app, gate = Potassium("test", metrics=True), Gate()
    app.handler(lambda cache, json_in: gate.run(json_in))
    app.handler("/taken")(lambda cache, json_in: json_in)
    async with client(app) as http:
        running = asyncio.create_task(http.post("/", json={}))
        await gate.has_begun()
        waiting = asyncio.create_task(http.post("/taken", json={}))
        await asyncio.sleep(0.03)
        for task in (running, waiting):
            task.cancel()
        await asyncio.wait([running, waiting])
        gate.open()
        assert (await http.post("/taken", json={})).status_code == 200
        seen = await scrape(http)
    assert seen.value("potassium_wasted_gpu_seconds_total", handler="/") >= 0.02
    assert seen.value("potassium_wasted_gpu_seconds_total", handler="/taken") == 0


async def test_a_result_that_comes_too_late_from_finish_was_in_vain() -> None:
    """The thread has run the call; its deadline passes while the result is finished."""
    app, go, held = Potassium("test", metrics=True), threading.Event(), 0.05
    app.handler("/", finish=lambda result: go.wait(10) and result)(
        lambda cache, json_in: time.sleep(held)
    )
    async with client(app) as http:
        late = await http.post("/", json={}, headers={"Prefer": "wait=0.2"})
        assert late.status_code == 504
        seen = await scrape(http)
        go.set()
    assert seen.value("potassium_wasted_gpu_seconds_total", handler="/") >= held


async def test_a_stream_that_nobody_has_read_was_in_vain() -> None:
    """It had ended before its reader left."""
    calls, operation = CallMetrics(), operation_on("/", lambda _: None)
    calls.begin([operation])
    job = Job(operation, None, asyncio.get_running_loop().create_future())
    job.stream = Stream(job, UNUSED)
    job.began_at, job.ended_at, job.stream.is_reported = 10.0, 12.0, True
    calls.ran([job])
    job.call_off(ClientLeft())
    calls.closed(job, End.CANCELLED)
    assert calls.handlers["/"].wasted == 2.0


@pytest.mark.parametrize("finishing", [None, (12.0, 13.0)])
async def test_no_second_is_in_vain_twice(finishing: tuple[float, float] | None) -> None:
    """The caller has left before the call ends; by then, its result may have been finished."""
    calls, operation = CallMetrics(), operation_on("/", lambda _: None)
    calls.begin([operation])
    job = Job(operation, None, asyncio.get_running_loop().create_future())
    job.call_off(ClientLeft())
    job.began_at, job.ended_at = 10.0, 12.0
    calls.ran([job])
    job.finishing, job.in_pool = finishing, finishing is None
    calls.closed(job, End.CANCELLED)
    assert calls.handlers["/"].wasted == 2.0


async def test_a_call_that_is_called_off_once_it_is_finished_was_in_vain() -> None:
    """Before its caller hears of the result."""
    calls, operation = CallMetrics(), operation_on("/", lambda _: None)
    calls.begin([operation])
    job = Job(operation, None, asyncio.get_running_loop().create_future())
    job.began_at, job.ended_at = 10.0, 12.0
    calls.ran([job])
    job.call_off(ClientLeft())
    job.finishing = 12.0, 13.0
    calls.closed(job, End.CANCELLED)
    assert calls.handlers["/"].wasted == 2.0


async def test_a_result_that_cannot_be_finished_is_a_failure_but_was_wanted() -> None:
    """Its caller waits for it."""
    calls, operation = CallMetrics(), operation_on("/", lambda _: None)
    calls.begin([operation])
    job = Job(operation, None, asyncio.get_running_loop().create_future())
    job.began_at, job.ended_at, job.finishing = 10.0, 12.0, (12.0, 13.0)
    calls.ran([job])
    job.future.set_result(Failure(ValueError()))
    calls.closed(job, End.FAILED)
    assert (calls.handlers["/"].wasted, calls.handlers["/"].outcomes) == (0, {"failed": 1})


async def test_a_stream_whose_first_step_still_runs_is_in_vain_once_it_ends() -> None:
    """All of that step, which is not over when the reader leaves."""
    calls, operation = CallMetrics(), operation_on("/", lambda _: None)
    calls.begin([operation])
    job = Job(operation, None, asyncio.get_running_loop().create_future())
    job.stream, job.began_at = Stream(job, UNUSED), 10.0
    job.call_off(ClientLeft())
    calls.closed(job, End.CANCELLED)
    job.ended_at = 12.0
    calls.ran([job])
    assert calls.handlers["/"].wasted == 2.0


async def test_a_call_that_leaves_the_queue_without_running_has_waited() -> None:
    """If those that ran were all that count, a queue that nobody gets through would look empty."""
    app, gate = Potassium("test", metrics=True), Gate()
    app.handler(lambda cache, json_in: gate.run(json_in))
    async with client(app) as http:
        running = asyncio.create_task(http.post("/", json={}))
        await gate.has_begun()
        late = await http.post("/", json={}, headers={"Prefer": "wait=0.5"})
        assert late.json()["code"] == "deadline_exceeded"
        seen = await scrape(http)
        gate.open()
        await running
    assert seen.value(f"{QUEUE}_count", handler="/") == 1
    assert seen.value(f"{QUEUE}_sum", handler="/") >= 0.05  # the deadline began before the wait


@pytest.mark.parametrize("preparation", [None, (1.0, 2.0)])
async def test_a_call_that_was_never_queued_has_not_waited(
    preparation: tuple[float, float] | None,
) -> None:
    """It was called off, or it failed, while it was prepared."""
    calls = CallMetrics()
    operation = operation_on("/", lambda _: None, prepare=lambda argument: argument)
    calls.begin([operation])
    job = Job(operation, None, asyncio.get_running_loop().create_future())
    job.preparation = preparation
    if preparation is None:
        job.call_off(ClientLeft())
    else:
        job.future.set_result(Failure(ValueError()))
    calls.closed(job, End.FAILED if preparation else End.CANCELLED)
    assert sum(calls.handlers["/"].queue.counts) == 0


async def test_the_time_of_an_async_handler_is_not_the_gpus() -> None:
    """It runs on the loop, so nothing of the GPU thread was in vain."""
    app, begun = Potassium("test", metrics=True), asyncio.Event()

    @app.handler
    async def handler(cache: dict[str, Any], json_in: Any) -> None:
        begun.set()
        await asyncio.sleep(10)

    async with client(app) as http:
        calling = asyncio.create_task(http.post("/", json={}))
        await begun.wait()
        calling.cancel()
        await asyncio.wait([calling])
        await asyncio.sleep(0.01)
        seen = await scrape(http)
    assert seen.value(f"{RUN}_count", handler="/") == 1
    assert seen.value("potassium_wasted_gpu_seconds_total", handler="/") == 0


async def test_background_jobs_are_calls_of_their_handlers() -> None:
    """Their runs are measured like all others."""
    app = Potassium("test", metrics=True, jobs=Jobs(path=None))
    app.background("/train")(lambda cache, json_in: json_in)
    async with client(app) as http:
        job = (await http.post("/train", json={}, headers={"Prefer": "wait=5"})).json()
        assert job is not None
        seen = await scrape(http)
    assert seen.value(CALLS, handler="/train", outcome="succeeded") == 1
    assert seen.value(f"{RUN}_count", handler="/train") == 1


async def test_figures_go_on_where_an_app_starts_again() -> None:
    """A counter does not fall, and the same handlers are counted."""
    app = Potassium("test", metrics=True)
    app.handler(lambda cache, json_in: json_in)
    for times in (1, 2):
        async with client(app) as http:
            await http.post("/", json={})
            seen = await scrape(http)
        assert seen.value(CALLS, handler="/", outcome="succeeded") == times
        assert seen.value(f"{RUN}_count", handler="/") == times
