"""Accepting a call as a background job."""

import asyncio
from typing import Any

import orjson
import pytest
from starlette.types import Message
from support.asgi import scope
from support.job_service import ServiceBench, new_request

from potassium.engine import Priority
from potassium.errors import ClientLeft, InvalidInput, StoreFailed, WebhookUrlRefused
from potassium.http.reply import Reply
from potassium.jobs.model import Status
from potassium.jobs.outcome import Cancelled, Done, Failed, Outcome
from potassium.jobs.submit import Submissions

PROBLEM = b'{"status":503,"code":"service_unavailable"}'


class Bench(ServiceBench):
    """A service, and the ``Submissions`` in front of it."""

    def __init__(self, check_url: Any = None, **options: Any) -> None:
        super().__init__(**options)
        self.intake = Submissions(self.service, check_url)
        self.leaves = asyncio.Event()

    async def answer(
        self, priority: Priority = Priority.NORMAL, root: str = "", **headers: str
    ) -> Reply:
        asked = {**scope(**headers), "root_path": root}
        stored = await self.intake.submit(self.handlers["/train"], new_request(), asked, priority)
        return await self.intake.answer(*stored, asked, self.receive)

    async def receive(self) -> Message:
        await self.leaves.wait()
        return {"type": "http.disconnect"}

    async def only_job(self) -> Any:
        (job,) = await self.store.find(limit=9)
        return job


def headers_of(reply: Reply) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in reply.headers}


async def test_a_call_is_accepted() -> None:
    """The answer has the job's document, page and position."""
    bench = Bench()
    reply = await bench.answer(root="/model")
    job = await bench.only_job()
    assert (reply.status, headers_of(reply)["location"]) == (202, f"/model/jobs/{job.id}")
    assert orjson.loads(reply.body)["position"] == 1
    assert "preference-applied" not in headers_of(reply)


async def test_priority_and_key_are_the_jobs() -> None:
    """They are stored as the client gave them."""
    bench = Bench()
    await bench.answer(Priority.HIGH, idempotency_key=" k ")
    job = await bench.only_job()
    assert (job.priority, job.idempotency_key) == (2, "k")


async def test_an_empty_key_is_a_mistake() -> None:
    """A client that sends the header wants a key."""
    bench = Bench()
    with pytest.raises(InvalidInput):
        await bench.answer(idempotency_key="")


async def test_who_waits_too_short_is_answered_202() -> None:
    """The answer has the job as it is then, and the preference that was applied."""
    bench = Bench()
    reply = await bench.answer(prefer="wait=0.01")
    assert reply.status == 202
    assert orjson.loads(reply.body)["status"] == "queued"
    assert headers_of(reply)["preference-applied"] == "wait=0.01"


@pytest.mark.parametrize(
    ("outcome", "status", "body", "media_type"),
    [
        (Done(b'{"a":1}'), 200, b'{"a":1}', "application/json"),
        (Failed(PROBLEM, may_retry=False), 503, PROBLEM, "application/problem+json"),
        (Cancelled(b'{"status":499}'), 499, b'{"status":499}', "application/problem+json"),
        (Failed(b"{}", may_retry=False), 500, b"{}", "application/problem+json"),
    ],
)
async def test_who_waits_long_enough_gets_what_a_direct_call_would(
    outcome: Outcome, status: int, body: bytes, media_type: str
) -> None:
    """It gets the output or the error, and in either case the job's ``Location``."""
    bench = Bench()
    async with bench.running():
        asking = asyncio.create_task(bench.answer(prefer="respond-async, wait=60"))
        bench.work.end(await bench.begun(), outcome)
        reply = await asking
    sent = headers_of(reply)
    assert (reply.status, reply.body, sent["content-type"]) == (status, body, media_type)
    assert sent["location"] == f"/jobs/{(await bench.only_job()).id}"
    assert sent["preference-applied"] == "respond-async, wait=60"


async def test_a_result_that_cannot_be_read_is_fetched_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The job is there and has succeeded, so the answer is its document, not an error."""
    bench = Bench()

    async def fails(job_id: str) -> bytes:
        raise StoreFailed("The disk is gone.")

    async with bench.running():
        asking = asyncio.create_task(bench.answer(prefer="wait=60", idempotency_key="k"))
        bench.work.end(await bench.begun(), Done(b"1"))
        assert (await asking).status == 200
        monkeypatch.setattr(bench.store, "output", fails)
        reply = await bench.answer(prefer="wait=60", idempotency_key="k")
    assert reply.status == 202
    assert orjson.loads(reply.body)["status"] == "succeeded"


async def test_who_cannot_wait_is_answered_at_once() -> None:
    """If too many wait already, the job is accepted, and the preference is not applied."""
    bench = Bench(max_watchers=1)
    async with bench.running() as service:
        with service.watch.over("another"):
            reply = await bench.answer(prefer="respond-async, wait=60")
        assert reply.status == 202
        assert headers_of(reply)["preference-applied"] == "respond-async"
        assert (await bench.only_job()).id in headers_of(reply)["location"]


async def test_who_leaves_leaves_the_job() -> None:
    """The job was accepted, and its result can be fetched later."""
    bench = Bench()
    asking = asyncio.create_task(bench.answer(prefer="wait=60"))
    await asyncio.sleep(0.005)
    asking.cancel()
    await asyncio.wait([asking])
    assert (await bench.only_job()).status is Status.QUEUED
    assert not bench.service.watch._ends


async def test_clients_name_no_webhooks_unless_they_may() -> None:
    """Nothing is stored for a call that names one."""
    bench = Bench()
    with pytest.raises(WebhookUrlRefused, match="does not accept webhook URLs from clients"):
        await bench.answer(webhook_url="https://a.test/")
    assert await bench.store.count(Status.QUEUED) == 0


async def test_a_clients_webhook_is_stored_as_it_was_checked() -> None:
    """The URL that the check returns is the one that is posted to."""
    checked: list[str] = []

    async def check(url: str) -> str:
        checked.append(url)
        return "https://xn--e1afmkfd.test/"

    bench = Bench(check)
    await bench.answer(webhook_url=" https://A.test/ ")
    assert checked == ["https://A.test/"]
    assert (await bench.only_job()).webhook_url == "https://xn--e1afmkfd.test/"


async def test_a_known_job_has_its_webhook_already() -> None:
    """A call that is repeated is answered whether or not its webhook's name resolves by now."""
    names = ["https://a.test/"]

    async def check(url: str) -> str:
        if not names:
            raise WebhookUrlRefused("The webhook URL's host does not resolve.")
        return names.pop()

    bench = Bench(check)
    first = await bench.answer(idempotency_key="k", webhook_url="https://a.test/")
    again = await bench.answer(idempotency_key="k", webhook_url="https://a.test/")
    assert again.status == 202
    assert headers_of(again)["location"] == headers_of(first)["location"]
    assert orjson.loads(again.body)["position"] == 1
    assert (await bench.only_job()).webhook_url == "https://a.test/"
    with pytest.raises(WebhookUrlRefused):
        await bench.answer(idempotency_key="other", webhook_url="https://a.test/")
    assert await bench.store.count(Status.QUEUED) == 1


async def test_without_a_webhook_nothing_is_checked() -> None:
    """Most jobs have none."""

    async def check(url: str) -> str:
        raise AssertionError(url)

    bench = Bench(check)
    await bench.answer()
    assert (await bench.only_job()).webhook_url is None


async def test_a_webhook_that_is_refused_stores_nothing() -> None:
    """The answer is the check's own error."""

    async def check(url: str) -> str:
        raise WebhookUrlRefused("not there")

    bench = Bench(check)
    with pytest.raises(WebhookUrlRefused, match="not there"):
        await bench.answer(webhook_url="http://10.0.0.1/")
    assert await bench.store.count(Status.QUEUED) == 0


async def test_a_client_that_leaves_is_not_waited_for() -> None:
    """The job goes on: it is acknowledged by being stored, not by being waited for."""
    bench = Bench()
    asking = asyncio.create_task(bench.answer(prefer="wait=60"))
    bench.leaves.set()
    async with asyncio.timeout(5):
        with pytest.raises(ClientLeft):
            await asking
    assert (await bench.only_job()).status is Status.QUEUED
