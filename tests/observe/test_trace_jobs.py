"""Traces of background jobs and webhooks, which go on after the request, or the process."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

import pytest
from opentelemetry import baggage
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind, StatusCode
from pydantic import AfterValidator, BaseModel
from support.traces import PARENT, TRACE, Recorded, id_of, link_ids, mine
from webhooks.receivers import Receiver, receiving

from potassium import Jobs, Potassium, Request, Webhooks, send_webhook
from potassium.testing import client
from potassium.webhooks.service import WebhookService

Value = dict[str, Any]
NOW = {"Prefer": "wait=5"}


def attributes_of(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def trace_of(span: ReadableSpan) -> str:
    assert span.context is not None
    return f"{span.context.trace_id:032x}"


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


def app_with(function: Any, *, path: Path | None = None, **options: Any) -> Potassium:
    app = Potassium("test", traces=True, jobs=Jobs(path=path), **options)
    app.background("/train", attempts=2, backoff=0.001)(function)
    return app


def plain(cache: Value, json_in: Value) -> Value:
    with mine():
        return json_in


async def test_the_run_of_a_job_is_a_trace_of_its_own_linked_to_its_submit(
    spans: Recorded,
) -> None:
    """Not a child: it may begin hours later, and run several times."""
    async with client(app_with(plain)) as http:
        job = await http.post("/train", json={}, headers={"traceparent": PARENT})
        run = await spans.wait_for("process /train")
    submit, (process,) = spans.one("POST /train"), run
    assert trace_of(submit) == TRACE
    assert process.parent is None
    assert set(link_ids(process)) == {id_of(submit)}
    assert process.kind is SpanKind.CONSUMER
    assert attributes_of(process) == {
        "potassium.handler": "/train",
        "potassium.job.attempt": 1,
        "potassium.job.outcome": "succeeded",
        "potassium.request.id": job.headers["x-request-id"],
        "messaging.system": "potassium",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": "/train",
        "messaging.message.id": job.json()["id"],
    }
    assert spans.children(process) == ["mine", "queue", "run"]
    assert spans.children(submit) == []
    assert attributes_of(submit)["messaging.message.id"] == job.json()["id"]


def validated(value: int) -> int:
    with mine("validated"):
        return value


class Item(BaseModel):
    padding: str = ""
    value: Annotated[int, AfterValidator(validated)]


@pytest.mark.parametrize("size", [10, 1_000_000], ids=["at once", "on the intake's thread"])
async def test_each_step_of_an_attempt_belongs_to_its_run(spans: Recorded, size: int) -> None:
    """Its input is validated again when it runs; `prepare=` and `finish=` are its steps, too."""
    app = Potassium("test", traces=True, jobs=Jobs(path=None))

    def prepare(item: Item) -> int:
        with mine():
            return item.value

    def finish(value: int) -> int:
        with mine():
            return value

    @app.background("/train", prepare=prepare, finish=finish)
    def train(cache: Value, value: int) -> int:
        return value

    async with client(app) as http:
        await http.post("/train", json={"value": 1, "padding": "x" * size})
        (process,) = await spans.wait_for("process /train")
    steps = ["finish", "mine", "mine", "prepare", "queue", "run", "validated"]
    assert spans.children(process) == steps
    assert spans.children(spans.one("POST /train")) == ["validated"]


async def test_each_attempt_is_linked_to_the_submit_also_after_a_restart(
    spans: Recorded, tmp_path: Path
) -> None:
    """The trace is stored with the job; the last attempt says that the job has failed."""
    tried: list[int] = []

    def fails(cache: Value, json_in: Value) -> None:
        tried.append(1)
        raise ValueError

    path = tmp_path / "jobs.db"
    app = Potassium("test", traces=True, jobs=Jobs(path=path))

    @app.background("/elsewhere")
    def elsewhere(cache: Value, json_in: Value) -> None: ...

    app.handler("/train")(fails)
    async with client(app) as http:
        app._runtime.services.jobs.drain()  # type: ignore[union-attr]
        asked = {"Prefer": "respond-async", "traceparent": PARENT}
        assert (await http.post("/train", json={}, headers=asked)).status_code == 202
    assert tried == []
    async with client(app_with(fails, path=path)):
        attempts = await spans.wait_for("process /train", 1)
    submit = spans.one("POST /train")
    assert [set(link_ids(one)) for one in attempts] == [{id_of(submit)}] * len(attempts)
    assert attempts[0].status.status_code is StatusCode.ERROR
    assert attributes_of(attempts[0])["error.type"] == "handler_error"
    assert attributes_of(attempts[0])["potassium.job.outcome"] == "failed"


async def test_attempts_are_traces_of_their_own(spans: Recorded) -> None:
    """With the number of each."""
    tried: list[int] = []

    def fails_once(cache: Value, json_in: Value) -> None:
        tried.append(1)
        if len(tried) == 1:
            raise ValueError

    async with client(app_with(fails_once)) as http:
        await http.post("/train", json={}, headers=NOW)
        attempts = await spans.wait_for("process /train", 2)
    assert [attributes_of(one)["potassium.job.attempt"] for one in attempts] == [1, 2]
    assert len({trace_of(one) for one in attempts}) == 2


async def test_baggage_goes_with_a_job(spans: Recorded) -> None:
    """It is stored with the trace; other context variables are not."""
    seen: list[object] = []

    def handler(cache: Value, request: Request) -> None:
        seen.extend((baggage.get_baggage("tenant"), request.headers["traceparent"]))

    async with client(app_with(handler)) as http:
        asked = {**NOW, "traceparent": PARENT, "baggage": "tenant=acme"}
        await http.post("/train", json={}, headers=asked)
    submit = spans.one("POST /train")
    assert seen == ["acme", f"00-{TRACE}-{id_of(submit):016x}-01"]


async def test_submitting_in_the_process_is_a_child_of_the_current_span(spans: Recorded) -> None:
    """The run is linked to it."""
    app = app_with(plain)
    async with app.lifespan():
        with mine("outer"):
            job = await app.submit("/train", {})
        (process,) = await spans.wait_for("process /train")
    submit = spans.one("submit /train")
    assert spans.children(spans.one("outer")) == ["submit /train"]
    assert submit.kind is SpanKind.PRODUCER
    assert attributes_of(submit)["messaging.message.id"] == job["id"]
    assert set(link_ids(process)) == {id_of(submit)}


async def test_without_traces_a_job_keeps_the_headers_of_its_client() -> None:
    """They are the app's own then."""
    seen: list[str] = []

    def handler(cache: Value, request: Request) -> None:
        seen.append(request.headers["traceparent"])

    app = Potassium("test", jobs=Jobs(path=None))
    app.background("/train")(handler)
    async with client(app) as http:
        await http.post("/train", json={}, headers={**NOW, "traceparent": PARENT})
    assert seen == [PARENT]


def continues(request: Any, span: ReadableSpan) -> bool:
    return bool(request.headers["traceparent"][:-2] == f"00-{trace_of(span)}-{id_of(span):016x}-")


async def is_below(request: Any, spans: Recorded, name: str) -> bool:
    """Return whether a webhook continues the span of its attempt, and that the one of ``name``."""
    (attempt,) = await spans.wait_for("POST")
    parent = attempt.parent
    return (
        continues(request, attempt)
        and parent is not None
        and parent.span_id == id_of(spans.one(name))
    )


async def test_the_webhook_of_a_call_continues_its_trace(
    spans: Recorded, receiver: Receiver
) -> None:
    """With its state and its baggage, as the URL is the app's own."""
    app = Potassium("test", traces=True)
    app.result_webhook(url=receiver.url)(plain)
    app.handler("/embed")(plain)
    asked = {"traceparent": PARENT, "tracestate": "vendor=x", "baggage": "tenant=acme"}
    async with client(app) as http:
        await http.post("/embed", json={}, headers=asked)
        posted = await receiver.next()
    assert await is_below(posted, spans, "POST /embed")
    assert (posted.headers["tracestate"], posted.headers["baggage"]) == ("vendor=x", "tenant=acme")


async def test_a_webhook_that_a_handler_sends_continues_the_span_that_sends_it(
    spans: Recorded, receiver: Receiver
) -> None:
    """Which may be one of its own."""
    app = Potassium("test", traces=True)

    @app.handler("/embed")
    def handler(cache: Value, json_in: Value) -> None:
        with mine():
            send_webhook(receiver.url, {})

    async with client(app) as http:
        await http.post("/embed", json={}, headers={"traceparent": PARENT})
        posted = await receiver.next()
    assert await is_below(posted, spans, "mine")


@pytest.mark.parametrize("store", [None, "jobs"])
async def test_the_webhook_of_a_job_belongs_to_its_run(
    spans: Recorded, receiver: Receiver, tmp_path: Path, store: Any
) -> None:
    """Kept with the job, or apart from it."""
    app = Potassium(
        "test",
        traces=True,
        jobs=Jobs(path=tmp_path / "jobs.db"),
        webhooks=Webhooks() if store else Webhooks(store=None),
    )
    app.result_webhook(url=receiver.url)(plain)
    app.background("/train")(plain)
    async with client(app) as http:
        await http.post("/train", json={}, headers=NOW)
        posted = await receiver.next()
    assert await is_below(posted, spans, "process /train")


async def test_a_webhook_that_waits_keeps_its_trace_over_a_restart(
    spans: Recorded, receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is stored with the delivery, and posted by a server that need not trace anything."""
    app = Potassium("test", traces=True, jobs=Jobs(path=tmp_path / "jobs.db"))
    app.result_webhook(url=receiver.url)(plain)
    app.background("/train")(plain)
    with monkeypatch.context() as context:
        context.setattr(WebhookService, "wake", lambda _: None)
        async with client(app) as http:
            await http.post("/train", json={}, headers=NOW)
    assert receiver.requests == []
    app = Potassium("test", jobs=Jobs(path=tmp_path / "jobs.db"))
    app.background("/train")(plain)
    async with client(app):
        posted = await receiver.next()
    assert continues(posted, spans.one("process /train"))


async def test_a_clients_url_gets_no_baggage(spans: Recorded, receiver: Receiver) -> None:
    """The app's own code may have put something into it that is no business of the client's."""
    app = app_with(plain, webhooks=Webhooks(client_urls=True, allow=["127.0.0.0/8"]))
    asked = {**NOW, "Webhook-Url": receiver.url, "baggage": "tenant=acme"}
    async with client(app) as http:
        await http.post("/train", json={}, headers=asked)
        posted = await receiver.next()
    assert await is_below(posted, spans, "process /train")
    assert "baggage" not in posted.headers


async def test_headers_that_are_too_long_to_keep_are_left_out(
    spans: Recorded, receiver: Receiver
) -> None:
    """What is stored with each delivery is bounded."""
    app = Potassium("test", traces=True)
    app.result_webhook(url=receiver.url)(plain)
    app.handler("/embed")(plain)
    async with client(app) as http:
        await http.post("/embed", json={}, headers={"baggage": f"tenant={'a' * 1000}"})
        posted = await receiver.next()
    assert await is_below(posted, spans, "POST /embed")
    assert "baggage" not in posted.headers
