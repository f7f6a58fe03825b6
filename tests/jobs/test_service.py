"""The service of background jobs, as the rest of the server sees it."""

import asyncio
import time
from dataclasses import replace
from typing import Any

import orjson
import pytest
from support.job_service import ServiceBench, new_handler, new_request
from support.jobs import new_job, take_due

from potassium.config import Webhooks
from potassium.engine import Priority
from potassium.errors import (
    Draining,
    IdempotencyKeyReused,
    InvalidInput,
    JobHasEnded,
    JobNotFound,
    StoreFailed,
)
from potassium.jobs.model import Event, Status, StoredJob
from potassium.jobs.outcome import Cancelled, Done, Failed, NotDone
from potassium.webhooks.memory_store import MemoryDeliveries
from potassium.webhooks.model import Full
from potassium.webhooks.service import WebhookService
from potassium.webhooks.steady_clock import SteadyClock

PROBLEM = b'{"status":500}'


async def test_a_job_is_stored_as_it_was_asked_for() -> None:
    """Body, headers and request id are those of the call; the options decide the rest."""
    bench = ServiceBench(attempts=4, expire_after=60)
    request = new_request(b"[1]", x_own="a", content_type="application/json")
    job = await bench.submit(request=request, webhook_url="https://a.test/")
    assert await bench.store.get(job.id) == job.light
    assert (job.handler, job.body, job.request_id) == ("/train", b"[1]", "r-1")
    assert dict(job.headers) == {"x-own": "a", "content-type": "application/json"}
    assert (job.status, job.attempts_limit, job.webhook_url) == (
        Status.QUEUED,
        4,
        "https://a.test/",
    )
    assert job.expires_at == pytest.approx(time.time() + 60, abs=5)
    assert len(job.id) == 32


@pytest.mark.parametrize(
    "name",
    ["authorization", "cookie", "proxy-authorization", "x-api-key", "x-banana-api-key"],
)
async def test_credentials_are_not_stored(name: str) -> None:
    """Headers with credentials are for this request alone."""
    bench = ServiceBench()
    job = await bench.submit(request=new_request(**{name: "secret", "x_own": "a"}))
    assert dict(job.headers) == {"x-own": "a"}


async def test_a_handlers_attempts_go_before_those_of_all_jobs() -> None:
    """``attempts=`` of the decorator overrides that of ``Jobs``."""
    bench = ServiceBench({"/train": new_handler(attempts=7)}, attempts=2)
    assert (await bench.submit()).attempts_limit == 7


async def test_a_new_job_is_told_its_place() -> None:
    """Positions count from 1; a job of high priority may go before those that wait."""
    bench = ServiceBench()
    places = [(await bench.submitted())[1] for _ in range(3)]
    assert places == [1, 2, 3]
    assert (await bench.submitted(priority=Priority.HIGH))[1] == 1
    assert (await bench.submitted(priority=Priority.LOW))[1] == 5


@pytest.mark.parametrize("length", [1, 255])
async def test_a_key_names_a_job(length: int) -> None:
    """The same call again returns the same job, at its current position."""
    bench = ServiceBench()
    job, _ = await bench.submitted(idempotency_key="k" * length)
    await bench.submitted(priority=Priority.HIGH)
    assert await bench.submitted(idempotency_key="k" * length) == (job.light, 2)
    assert await bench.store.count(Status.QUEUED) == 2


async def test_a_key_of_a_job_that_runs_has_no_place() -> None:
    """Only a queued job has a position."""
    bench = ServiceBench()
    async with bench.running():
        await bench.submit(idempotency_key="k")
        await bench.begun()
        job, position = await bench.submitted(idempotency_key="k")
        assert (job.status, position) == (Status.RUNNING, None)


@pytest.mark.parametrize("length", [0, 256])
async def test_a_key_has_1_to_255_characters(length: int) -> None:
    """Nothing is stored for a key of any other length."""
    bench = ServiceBench()
    with pytest.raises(InvalidInput, match="Idempotency-Key must have 1 to 255 characters"):
        await bench.submit(idempotency_key="k" * length)
    assert await bench.store.count(Status.QUEUED) == 0


async def test_a_key_with_another_body_is_refused() -> None:
    """It is a mistake, not a second job."""
    bench = ServiceBench()
    await bench.submit(b"1", idempotency_key="k")
    with pytest.raises(IdempotencyKeyReused):
        await bench.submit(b"2", idempotency_key="k")


async def test_what_is_not_stored_is_not_accepted() -> None:
    """The caller gets the store's error."""
    bench = ServiceBench()
    bench.store.failures["submit"] = 1
    with pytest.raises(StoreFailed):
        await bench.submit()


async def test_a_job_that_there_is_not_is_not_found() -> None:
    """The message repeats what was asked for only if that looks like an id."""
    bench = ServiceBench()
    with pytest.raises(JobNotFound, match="There is no job abc123"):
        await bench.service.get("abc123")
    with pytest.raises(JobNotFound, match="No such job"):
        await bench.service.get("<script>")
    for asked in (
        bench.service.wait("abc123", 1),
        bench.service.cancel("abc123"),
        bench.service.retry("abc123"),
        bench.service.deliveries("abc123"),
    ):
        with pytest.raises(JobNotFound):
            await asked


async def test_who_waits_gets_the_job_when_it_has_ended() -> None:
    """It does not wait until its time is over."""
    bench = ServiceBench()
    async with bench.running() as service:
        job = await bench.submit()
        waiting = asyncio.create_task(service.wait(job.id, 60))
        run = await bench.begun()
        await asyncio.sleep(0.001)
        assert not waiting.done()
        bench.work.end(run, Done(b"1"))
        assert (await waiting).status is Status.SUCCEEDED


async def test_who_waits_for_a_job_in_the_queue_is_told_of_its_end() -> None:
    """It ends there if somebody cancels it."""
    bench = ServiceBench()
    async with bench.running() as service:
        await bench.submit()
        job = await bench.submit()
        waiting = asyncio.create_task(service.wait(job.id, 60))
        await asyncio.sleep(0.001)
        await service.cancel(job.id)
        async with asyncio.timeout(5):
            assert (await waiting).status is Status.CANCELLED


async def test_who_has_waited_long_enough_gets_the_job_as_it_is() -> None:
    """This includes a caller that does not wait at all."""
    bench = ServiceBench()
    job = await bench.submit()
    assert (await bench.service.wait(job.id, 0.01)).status is Status.QUEUED
    assert (await bench.service.wait(job.id, 0)).status is Status.QUEUED


async def test_a_drain_answers_who_waits_for_what_has_not_begun() -> None:
    """A running job may still end, so the wait for it goes on."""
    bench = ServiceBench()
    async with bench.running() as service:
        runs, queued = await bench.submit(), await bench.submit()
        run = await bench.begun()
        waiting = [asyncio.create_task(service.wait(job.id, 60)) for job in (runs, queued)]
        await asyncio.sleep(0)
        service.drain()
        assert (await waiting[1]).status is Status.QUEUED
        assert not waiting[0].done()
        bench.work.end(run, Done(b"1"))
        assert (await waiting[0]).status is Status.SUCCEEDED


async def test_the_document_of_a_waiting_job_tells_its_place() -> None:
    """The document of any other job has no position."""
    bench = ServiceBench()
    async with bench.running() as service:
        first, second = await bench.submit(), await bench.submit()
        await bench.begun()
        assert "position" not in await service.document(await service.get(first.id), "")
        assert (await service.document(second, ""))["position"] == 1


async def test_a_waiting_job_is_cancelled_at_once() -> None:
    """It ends with a problem document that says so, and never runs."""
    bench = ServiceBench()
    job = await bench.submit()
    cancelled = await bench.service.cancel(job.id)
    assert cancelled.status is Status.CANCELLED
    assert orjson.loads(cancelled.error or b"")["code"] == "job_cancelled"
    assert orjson.loads(cancelled.error or b"")["request_id"] == "r-1"
    async with bench.running():
        await asyncio.sleep(0.01)
    assert bench.work.started == []


async def test_a_running_job_is_asked_to_end() -> None:
    """It ends when its handler notices."""
    bench = ServiceBench()
    async with bench.running() as service:
        job = await bench.submit()
        run = await bench.begun()
        assert (await service.cancel(job.id)).status is Status.RUNNING
        assert run.is_cancelled
        bench.work.end(run, Cancelled(PROBLEM))
        assert (await service.wait(job.id, 5)).status is Status.CANCELLED


@pytest.mark.parametrize("outcome", [Done(b"1"), Failed(PROBLEM, may_retry=False)])
async def test_an_ended_job_cannot_be_cancelled(outcome: Done | Failed) -> None:
    """It keeps its outcome."""
    bench = ServiceBench()
    async with bench.running() as service:
        job = await bench.submit()
        bench.work.end(await bench.begun(), outcome)
        ended = await service.wait(job.id, 5)
        with pytest.raises(JobHasEnded, match=rf"The job has already ended \({ended.status}\)"):
            await service.cancel(job.id)


async def test_a_job_that_begins_as_it_is_cancelled_is_asked_to_end() -> None:
    """It is claimed after ``cancel`` has read it, and before ``cancel`` ends it."""
    bench = ServiceBench()
    async with bench.running() as service:
        await bench.submit()
        held = await bench.begun()
        job = await bench.submit()
        last_event = bench.store.last_event

        async def claimed_meanwhile(job_id: str) -> int:
            bench.store.last_event = last_event  # type: ignore[method-assign]
            bench.work.end(held, Done(b"1"))
            await bench.work.next()
            return await last_event(job_id)

        bench.store.last_event = claimed_meanwhile  # type: ignore[method-assign]
        assert (await service.cancel(job.id)).status is Status.RUNNING


async def test_a_claim_that_has_not_come_to_its_run_is_waited_for() -> None:
    """``cancel`` waits out the moment in which the job is claimed but nobody runs it."""
    bench = ServiceBench()
    job = await bench.submit()
    (claimed,) = await bench.store.claim(handlers=["/train"], limit=1, now=time.time())
    cancelling = asyncio.create_task(bench.service.cancel(job.id))
    await asyncio.sleep(0.01)
    assert not cancelling.done()
    await bench.store.put_back(claimed, due_at=time.time(), error=None)
    assert (await cancelling).status is Status.CANCELLED


async def test_what_could_not_be_stored_is_not_cancelled_in_a_drain() -> None:
    """The next server runs it; ``cancel`` does not wait for that, or report that it has ended."""
    bench = ServiceBench()
    async with bench.running() as service:
        job = await bench.submit()
        run = await bench.begun()
        bench.store.failures["end"] = 1000
        service.drain()
        bench.work.end(run, Done(b"1"))
        await asyncio.sleep(0.01)
        with pytest.raises(Draining):
            await service.cancel(job.id)


async def test_a_store_that_is_shared_keeps_the_request_to_end_a_job() -> None:
    """Another server may have taken up what still seems to run here; it must learn of it too."""
    bench = ServiceBench()
    asked: list[str] = []

    async def keep(job: StoredJob) -> bool:
        asked.append(job.id)
        return True

    bench.store.is_shared = True
    bench.store.ask_to_end = keep  # type: ignore[method-assign]
    async with bench.running() as service:
        job = await bench.submit()
        run = await bench.begun()
        await service.cancel(job.id)
        assert (asked, run.is_cancelled) == ([job.id], True)


async def failed_job(bench: ServiceBench) -> StoredJob:
    job = await bench.submit()
    run = await bench.begun()
    await run.chunk(b"1")
    await asyncio.sleep(0.001)
    bench.work.end(run, Failed(PROBLEM, may_retry=False))
    job = await bench.service.wait(job.id, 5)
    assert job.status is Status.FAILED
    return job


async def test_a_suspect_that_is_queued_again_runs() -> None:
    """The runner, which had no suspects any more, looks for it."""
    bench = ServiceBench()
    async with bench.running() as service:
        job = await failed_job(bench)
        bench.store._set(replace(job, is_suspect=True))
        await service.retry(job.id)
        assert (await bench.begun()).job.id == job.id


async def test_a_failed_job_is_queued_again() -> None:
    """It gets as many attempts as it had at first, and its next event; its watchers are woken."""
    bench = ServiceBench(attempts=3)
    async with bench.running() as service:
        job = await failed_job(bench)
        with service.watch.over(job.id) as change:
            again = await service.retry(job.id)
            assert await change.wait(0)
        assert again.attempts_limit == 4
        assert again.finished_at is None
        run = await bench.begun()
        assert run.job.attempts == 2
        async with asyncio.timeout(5):
            while await bench.store.last_event(job.id) < 6:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        told = await bench.store.events(job.id)
    assert [event.id for event in told] == list(range(2, 7))
    assert told[3] == Event(id=5, kind="status", data=b'{"status":"queued","attempts":1}')


async def test_only_a_failed_job_is_queued_again() -> None:
    """The error says which status the job has instead."""
    bench = ServiceBench()
    job = await bench.submit()
    with pytest.raises(JobHasEnded, match="this one is queued"):
        await bench.service.retry(job.id)
    await bench.service.cancel(job.id)
    with pytest.raises(JobHasEnded, match="this one is cancelled"):
        await bench.service.retry(job.id)


async def test_a_job_without_its_handler_may_be_queued_again() -> None:
    """If the app has changed since, the job gets the attempts of ``Jobs``."""
    bench = ServiceBench({"/train": new_handler(attempts=9)}, attempts=2)
    async with bench.running() as service:
        job = await failed_job(bench)
        bench.handlers.clear()
        assert (await service.retry(job.id)).attempts_limit == 3


async def test_jobs_expire() -> None:
    """A job that has not begun in time ends as expired, and its error says why."""
    bench = ServiceBench(expire_after=0.001)
    job = await bench.submit()
    await asyncio.sleep(0.005)
    async with bench.running() as service:
        ended = await service.wait(job.id, 5)
    assert ended.status is Status.EXPIRED
    assert orjson.loads(ended.error or b"")["code"] == "deadline_exceeded"


@pytest.mark.parametrize(
    ("options", "given", "waits"),
    [({}, {"backoff": 100}, [100, 200, 400]), ({"backoff": 10}, {"backoff": 100}, [10, 20, 40])],
)
async def test_the_time_to_the_next_attempt_doubles(
    options: Any, given: Any, waits: list[float]
) -> None:
    """It starts with the handler's ``backoff=``, or else with that of ``Jobs``."""
    bench = ServiceBench({"/train": new_handler(**options)}, attempts=9, **given)
    async with bench.running() as service:
        job = await bench.submit()
        for wait in waits:
            with service.watch.over(job.id) as change:
                bench.work.end(await bench.begun(), Failed(PROBLEM, may_retry=True))
                while (failed := await service.get(job.id)).status is not Status.QUEUED:
                    await change.wait(5)
            assert failed.due_at - time.time() == pytest.approx(wait, abs=5)
            bench.store._set(replace(failed, due_at=time.time()))
            service._runner.wake()


async def posted(bench: ServiceBench) -> list[tuple[str, Any, bool]]:
    """Return the URL and body of each due delivery, and whether the URL is a client's."""
    due = await take_due(bench.store, now=time.time() + 1)
    return [(one.url, orjson.loads(one.body), one.is_guarded) for one in due]


async def test_a_client_is_posted_the_document() -> None:
    """It goes to the URL that the client named, which is checked again when it is posted to."""
    bench = ServiceBench()
    async with bench.running() as service:
        job = await bench.submit(webhook_url="https://client.test/")
        bench.work.end(await bench.begun(), Failed(PROBLEM, may_retry=False))
        await service.wait(job.id, 5)
        ((url, document, is_guarded),) = await posted(bench)
    assert (url, is_guarded) == ("https://client.test/", True)
    assert (document["id"], document["status"], document["error"]) == (
        job.id,
        "failed",
        {"status": 500},
    )
    assert document["finished_at"]
    assert bench.webhooks.woken == 1


async def test_a_result_webhook_is_posted_the_output() -> None:
    """The output is posted as it is, in addition to what the client is posted."""
    handler = new_handler(webhook_url="http://own.test/")
    bench = ServiceBench({"/train": handler})
    async with bench.running() as service:
        job = await bench.submit(webhook_url="https://client.test/")
        bench.work.end(await bench.begun(), Done(b'{"a":1}'))
        await service.wait(job.id, 5)
        found = await posted(bench)
    assert sorted(url for url, *_ in found) == ["http://own.test/", "https://client.test/"]
    assert ("http://own.test/", {"a": 1}, False) in found


async def test_of_a_failure_there_is_no_result_to_post() -> None:
    """A result webhook gets only results."""
    handler = new_handler(webhook_url="http://own.test/")
    bench = ServiceBench({"/train": handler})
    async with bench.running() as service:
        job = await bench.submit()
        bench.work.end(await bench.begun(), Failed(PROBLEM, may_retry=False))
        await service.wait(job.id, 5)
        assert await posted(bench) == []
    assert bench.webhooks.woken == 0


async def test_a_start_fails_where_the_store_cannot_be_read() -> None:
    """The service can still be closed."""
    bench = ServiceBench()
    bench.store.failures["left_behind"] = 1
    with pytest.raises(StoreFailed):
        await bench.service.start()
    await bench.service.close()


async def test_a_stop_waits_until_what_ran_is_stored() -> None:
    """A job that did not end is queued again."""
    bench = ServiceBench()
    async with bench.running() as service:
        job = await bench.submit()
        run = await bench.begun()
        service.drain()
        closing = asyncio.create_task(service.close())
        await asyncio.sleep(0.005)
        assert not closing.done()
        bench.work.end(run, NotDone())
        await closing
        assert (await service.get(job.id)).status is Status.QUEUED


async def test_jobs_that_no_handler_is_there_for_are_told_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """They stay queued, and the log names their path, once at the start."""
    bench = ServiceBench()
    await bench.store.submit(new_job(id="gone", handler="/gone", created_at=time.time()))
    async with bench.running() as service:
        assert (await service.get("gone")).status is Status.QUEUED
    (record,) = caplog.records
    assert record.getMessage().startswith("1 jobs are queued for POST /gone, which has no handler ")


class Apart(WebhookService):
    """Keeps deliveries in a store of its own, and posts nothing."""

    def wake(self) -> None:
        pass


async def test_what_is_posted_from_another_store_goes_by_its_clock() -> None:
    """The clock of the jobs may be hours ahead of it, or behind."""
    deliveries = MemoryDeliveries()
    deliveries.clock = SteadyClock(wall=lambda: time.time() - 10_000)
    webhooks = Apart(deliveries, Webhooks(), is_durable=False)
    bench = ServiceBench(webhooks=webhooks)
    async with bench.running() as service:
        await bench.submit(webhook_url="https://a.test/")
        bench.work.end(await bench.begun(), Done(b"1"))
        await service.close()
        await webhooks.outbox.close()
    side: dict[str, Any] = {"is_guarded": True, "limit": 9, "full": Full()}
    (due,) = await deliveries.take_due(now=deliveries.clock(), **side)
    assert due.url == "https://a.test/"
