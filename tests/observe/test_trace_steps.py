"""Traces of the steps of calls: what each took, and what the app's own code adds."""

import asyncio
import gc
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.sampling import Decision, ParentBased, Sampler, SamplingResult
from opentelemetry.trace import StatusCode
from support.asgi import Exchange
from support.calls import until
from support.traces import Recorded, id_of, link_ids, mine, recording

from potassium import Batch, Jobs, Limits, Potassium, Traces
from potassium.engine import End, Job, Operation
from potassium.errors import ClientLeft
from potassium.observe.tracing import AppTraces
from potassium.observe.tracing.call import Call
from potassium.observe.tracing.spans import Spans
from potassium.testing import client

Value = dict[str, Any]


def attributes_of(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def times_of(span: ReadableSpan) -> tuple[float, float]:
    return span.start_time or 0, span.end_time or 0


def plain(cache: Value, json_in: Value) -> Value:
    with mine():
        return json_in


async def on_loop(cache: Value, json_in: Value) -> Value:
    with mine():
        await asyncio.sleep(0)
        return json_in


def streams(cache: Value, json_in: Value) -> Iterator[str]:
    yield "a"
    with mine():
        yield "b"


async def streams_on_loop(cache: Value, json_in: Value) -> AsyncIterator[str]:
    yield "a"
    with mine():
        yield "b"


def step(value: Any) -> Any:
    with mine():
        return value


def taken(cache: Value, value: Any) -> Any:
    return value


@pytest.mark.parametrize(
    ("function", "options", "steps"),
    [
        (plain, {}, ["mine", "queue", "run"]),
        (on_loop, {}, ["mine", "queue", "run"]),
        (streams, {}, ["mine", "queue", "run", "stream"]),
        (streams_on_loop, {}, ["mine", "queue", "run", "stream"]),
        (taken, {"prepare": step}, ["mine", "prepare", "queue", "run"]),
        (taken, {"finish": step}, ["finish", "mine", "queue", "run"]),
    ],
    ids=["plain", "async", "stream", "async stream", "prepare", "finish"],
)
async def test_steps_and_spans_of_the_apps_own_are_children_of_the_call(
    spans: Recorded, function: Any, options: dict[str, Any], steps: list[str]
) -> None:
    """On whatever thread the app's code runs; its spans have no other parent between."""
    app = Potassium("test", traces=True)
    app.handler("/embed", **options)(function)
    async with client(app) as http:
        assert (await http.post("/embed", json={})).status_code == 200
    assert spans.children(spans.one("POST /embed")) == steps


async def test_steps_follow_one_another_inside_of_the_call(spans: Recorded) -> None:
    """Their times come from the engine's clock, through one offset to the time of day."""
    app = Potassium("test", traces=True)
    app.handler("/embed", prepare=step, finish=step)(taken)
    async with client(app) as http:
        await http.post("/embed", json={})
    call = spans.one("POST /embed")
    steps = [spans.one(name) for name in ("prepare", "queue", "run", "finish")]
    times = [call.start_time]
    for one in steps:
        times += [one.start_time, one.end_time]
    times.append(call.end_time)
    assert times == sorted(times, key=lambda at: at or 0)
    assert steps[0].end_time == steps[1].start_time
    assert steps[1].end_time == steps[2].start_time


def test_times_are_those_of_the_day(spans: Recorded) -> None:
    """Monotonic seconds become nanoseconds since the epoch, by one offset for each call."""
    now = 50.0
    traces = AppTraces(Traces(), Spans(clock=lambda: now, wall=lambda: 1_000_000_000_000))
    with traces.submitting("/train"):
        now = 51.5
    span = spans.one("submit /train")
    assert (span.start_time, span.end_time) == (1_000_000_000_000, 1_001_500_000_000)


async def test_a_step_that_fails_has_the_exception(spans: Recorded) -> None:
    """A call whose preparation failed was never queued, and never ran."""
    app = Potassium("test", traces=True)

    def fails(value: Any) -> Any:
        raise ValueError(value)

    app.handler("/prepare", prepare=fails)(taken)
    app.handler("/finish", finish=fails)(taken)
    async with client(app) as http:
        await http.post("/prepare", json={})
        await http.post("/finish", json={})
    assert spans.children(spans.one("POST /prepare")) == ["prepare"]
    assert spans.children(spans.one("POST /finish")) == ["finish", "queue", "run"]
    for name in ("prepare", "finish"):
        assert spans.one(name).status.status_code is StatusCode.ERROR
        assert attributes_of(spans.one(name))["error.type"] == "ValueError"
    assert spans.one("run").status.status_code is StatusCode.UNSET


async def test_a_stream_says_when_its_first_chunk_came_and_how_many_there_were(
    spans: Recorded,
) -> None:
    """The event is on the call, the number on the stream."""
    app = Potassium("test", traces=True)
    app.handler("/chat")(streams)
    async with client(app) as http:
        await http.post("/chat", json={})
    call, stream = spans.one("POST /chat"), spans.one("stream")
    (event,) = call.events
    assert (event.name, event.timestamp) == ("first chunk", stream.start_time)
    assert attributes_of(call)["gen_ai.response.time_to_first_chunk"] > 0
    assert attributes_of(stream) == {"potassium.stream.chunks": 2, "potassium.stream.stalls": 0}
    assert attributes_of(spans.one("run"))["potassium.run.seconds"] > 0


async def test_a_stream_that_breaks_is_an_error_although_its_status_was_200(
    spans: Recorded,
) -> None:
    """The exception is recorded with the run."""
    app = Potassium("test", traces=True)

    @app.handler("/chat")
    def handler(cache: Value, json_in: Value) -> Iterator[str]:
        yield "a"
        raise ValueError("broke")

    async with app.lifespan():
        exchange = Exchange(app, path="/chat", accept="text/event-stream")
        await asyncio.wait({exchange.task})
    call = spans.one("POST /chat")
    assert attributes_of(call)["http.response.status_code"] == 200
    assert attributes_of(call)["error.type"] == "handler_error"
    assert call.status.status_code is StatusCode.ERROR
    assert [event.name for event in spans.one("run").events] == ["exception"]


class Chosen(Sampler):
    """Keeps the spans with these names."""

    def __init__(self, *names: str) -> None:
        self.names = names
        self.asked: list[str] = []

    def should_sample(  # noqa: PLR0913, PLR0917 - as inherited
        self,
        parent_context: Any,
        trace_id: int,
        name: str,
        kind: Any = None,
        attributes: Any = None,
        links: Any = None,
        trace_state: Any = None,
    ) -> SamplingResult:
        self.asked.append(name)
        return SamplingResult(Decision.RECORD_AND_SAMPLE if name in self.names else Decision.DROP)

    def get_description(self) -> str:
        return "chosen"


class Held:
    """An app whose handler runs until it is let go."""

    def __init__(self, **options: Any) -> None:
        self.app = Potassium("test", traces=True, limits=Limits(queue_size=1))
        self.begun = threading.Semaphore(0)
        self.go = threading.Event()
        self.app.handler("/embed", **options)(self.handler)

    def handler(self, cache: Value, value: Any) -> Any:
        self.begun.release()
        assert self.go.wait(10)
        return value

    async def has_begun(self) -> None:
        assert await asyncio.to_thread(self.begun.acquire, timeout=10)


async def test_a_call_whose_client_has_left_has_its_run(spans: Recorded) -> None:
    """As the GPU thread runs it to its end; it is no error."""
    held = Held()
    async with held.app.lifespan():
        exchange = Exchange(held.app, path="/embed")
        await held.has_begun()
        exchange.leave()
        await asyncio.wait({exchange.task})
        call = spans.one("POST /embed")
        assert spans.children(call) == []
        held.go.set()
        (run,) = await spans.wait_for("run")
    assert spans.children(call) == ["queue", "run"]
    assert (run.end_time or 0) > (call.end_time or 0)
    assert attributes_of(call)["potassium.code"] == "client_left"
    for one in (call, run):
        assert one.status.status_code is StatusCode.UNSET


async def test_a_run_that_begins_while_its_call_is_given_up_has_one_wait(spans: Recorded) -> None:
    """The GPU thread has taken it before it could see that nobody wants it any more."""
    traces = AppTraces(Traces())
    with traces.calling("/embed"):
        job = Job(Operation("/embed", print), None, asyncio.get_running_loop().create_future())
    job.call_off(ClientLeft())
    traces.jobs.closed(job, End.CANCELLED)
    job.began_at, job.ended_at, job.outcome = 1.0, 2.0, None
    traces.jobs.ran([job])
    assert sorted(span.name for span in spans.all()) == ["call /embed", "queue", "run"]


@pytest.mark.parametrize("why", ["left", "late"])
async def test_an_async_handler_that_is_made_to_stop_is_no_error(spans: Recorded, why: str) -> None:
    """It is cancelled, as its client has left or its time is up; it has done nothing wrong."""
    app = Potassium("test", traces=True)

    @app.handler("/embed", timeout=0.01 if why == "late" else 10)
    async def handler(cache: Value, json_in: Value) -> None:
        begun.set()
        await asyncio.Event().wait()

    begun = asyncio.Event()
    async with app.lifespan():
        exchange = Exchange(app, path="/embed")
        await begun.wait()
        if why == "left":
            exchange.leave()
        await asyncio.wait({exchange.task})
        (run,) = await spans.wait_for("run")
    assert run.status.status_code is StatusCode.UNSET
    assert run.events == ()


async def test_what_an_async_handler_raises_when_it_is_made_to_stop_is_an_error(
    spans: Recorded,
) -> None:
    """Its clean-up has failed."""
    app = Potassium("test", traces=True)
    begun = asyncio.Event()

    @app.handler("/embed")
    async def handler(cache: Value, json_in: Value) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            raise OSError("no disk")

    async with app.lifespan():
        exchange = Exchange(app, path="/embed")
        await begun.wait()
        exchange.leave()
        (run,) = await spans.wait_for("run")
    assert attributes_of(run)["error.type"] == "OSError"


async def test_a_call_that_leaves_the_queue_has_its_wait(spans: Recorded) -> None:
    """Here, as its time is up before its turn comes."""
    held = Held()
    async with client(held.app) as http:
        first = asyncio.create_task(http.post("/embed", json={}))
        await held.has_begun()
        late = await http.post("/embed", json={}, headers={"Prefer": "wait=0.05"})
        assert late.status_code == 504
        (call,) = spans.named("POST /embed")
        assert spans.children(call) == ["queue"]
        assert attributes_of(call)["error.type"] == "deadline_exceeded"
        held.go.set()
        await first


async def test_a_call_that_was_prepared_and_leaves_the_queue_has_both(spans: Recorded) -> None:
    """Neither step has failed."""
    held = Held(prepare=lambda value: value)
    async with client(held.app) as http:
        first = asyncio.create_task(http.post("/embed", json={}))
        await held.has_begun()
        await http.post("/embed", json={}, headers={"Prefer": "wait=0.05"})
        (call,) = spans.named("POST /embed")
        assert spans.children(call) == ["prepare", "queue"]
        assert {one.status.status_code for one in spans.named("prepare")} == {StatusCode.UNSET}
        held.go.set()
        await first


async def test_a_call_that_leaves_while_it_is_prepared_has_that(spans: Recorded) -> None:
    """Until then; it was never queued."""
    begun, go = threading.Semaphore(0), threading.Event()

    def prepare(value: Any) -> Any:
        begun.release()
        assert go.wait(10)
        return value

    app = Potassium("test", traces=True)
    app.handler("/embed", prepare=prepare)(taken)
    async with app.lifespan():
        exchange = Exchange(app, path="/embed")
        assert await asyncio.to_thread(begun.acquire, timeout=10)
        exchange.leave()
        await asyncio.wait({exchange.task})
        assert spans.children(spans.one("POST /embed")) == ["prepare"]
        go.set()


async def test_a_refused_call_has_no_steps(spans: Recorded) -> None:
    """The code says why."""
    held = Held()
    async with client(held.app) as http:
        calls = [asyncio.create_task(http.post("/embed", json={})) for _ in range(2)]
        await held.has_begun()
        await until(lambda: held.app._runtime.services.engine.capacity.free == 0)  # type: ignore[union-attr]
        assert (await http.post("/embed", json={})).status_code == 503
        (call,) = spans.named("POST /embed")
        assert spans.children(call) == []
        assert attributes_of(call)["error.type"] == "queue_full"
        held.go.set()
        await asyncio.gather(*calls)


def batched(cache: Value, items: list[Any]) -> list[Any]:
    with mine():
        return [ValueError(item) if item == {"n": 2} else item for item in items]


async def test_a_batch_is_one_span_linked_to_its_calls(spans: Recorded) -> None:
    """It is a trace of its own; the run of each call is linked to it, and has its outcome."""
    app = Potassium("test", traces=True)
    app.handler("/embed", batch=Batch(max_size=3, max_delay=5))(batched)
    async with client(app) as http:
        bodies = [{"n": n} for n in range(3)]
        answers = await asyncio.gather(*(http.post("/embed", json=body) for body in bodies))
    assert [answer.status_code for answer in answers] == [200, 200, 500]
    batch, calls, runs = spans.one("batch /embed"), spans.named("POST /embed"), spans.named("run")
    assert batch.parent is None
    assert set(link_ids(batch)) == {id_of(call) for call in calls}
    assert [set(link_ids(run)) for run in runs] == [{id_of(batch)}] * 3
    assert sorted(run.status.status_code.name for run in runs) == ["ERROR", "UNSET", "UNSET"]
    found = {"potassium.handler": "/embed", "potassium.batch.size": 3}
    assert attributes_of(batch) == {**found, "potassium.batch.failed": 1}
    assert attributes_of(runs[0])["potassium.batch.size"] == 3
    assert batch.status.status_code is StatusCode.UNSET
    assert spans.children(batch) == ["mine"]
    began, ended = times_of(runs[0])[0], max(times_of(run)[1] for run in runs)
    assert times_of(batch) == pytest.approx((began, ended), abs=1e7)


async def test_a_batch_whose_clients_have_left_ends_too(spans: Recorded) -> None:
    """It fails, and no part of it is run again; each call has its run."""
    app = Potassium("test", traces=True)
    begun, go = threading.Semaphore(0), threading.Event()

    @app.handler("/embed", batch=Batch(max_size=2, max_delay=5))
    def handler(cache: Value, items: list[Any]) -> None:
        begun.release()
        assert go.wait(10)
        raise ValueError

    async with app.lifespan():
        exchanges = [Exchange(app, path="/embed") for _ in range(2)]
        assert await asyncio.to_thread(begun.acquire, timeout=10)
        for one in exchanges:
            one.leave()
        await asyncio.wait({one.task for one in exchanges})
        go.set()
        await spans.wait_for("run", 2)
    assert attributes_of(spans.one("batch /embed"))["potassium.batch.failed"] == 2
    assert {one.status.status_code for one in spans.named("run")} == {StatusCode.UNSET}


async def test_the_steps_of_a_call_that_is_dropped_cost_no_spans() -> None:
    """Nobody is even asked about them."""
    sampler = Chosen()
    with recording(sampler):
        app = Potassium("test", traces=True)
        app.handler("/embed", prepare=step)(taken)
        async with client(app) as http:
            await http.post("/embed", json={})
    assert sampler.asked == ["POST /embed", "mine"]


async def test_what_a_batch_does_for_nobody_who_is_traced_is_not_traced() -> None:
    """Spans of the app's own in it are dropped as those of its calls are."""
    with recording(ParentBased(Chosen("mine"))) as spans:
        app = Potassium("test", traces=True)
        app.handler("/embed", batch=Batch())(batched)
        async with client(app) as http:
            await http.post("/embed", json={})
        assert spans.all() == []


async def test_a_handler_says_on_the_span_of_the_call_what_only_it_knows(spans: Recorded) -> None:
    """Such as the model and the tokens, by the conventions for generative AI."""
    app = Potassium("test", traces=True)

    @app.handler("/chat")
    def handler(cache: Value, json_in: Value) -> Value:
        trace.get_current_span().set_attribute("gen_ai.request.model", "tiny")
        return json_in

    async with client(app) as http:
        await http.post("/chat", json={})
    assert attributes_of(spans.one("POST /chat"))["gen_ai.request.model"] == "tiny"


async def test_calls_in_the_process_are_children_of_the_current_span(spans: Recorded) -> None:
    """Whether a handler makes them or other code; what they raise is recorded."""
    app = Potassium("test", traces=True)
    app.handler("/embed")(plain)
    app.handler("/chat")(streams)

    @app.handler("/fails")
    def fails(cache: Value, json_in: Value) -> None:
        raise ValueError

    @app.handler("/outer")
    async def outer(cache: Value, json_in: Value) -> Any:
        with mine("outer"):
            await app.call("/embed", {})
            [chunk async for chunk in app.stream("/chat", {})]
            await asyncio.gather(app.call("/fails", {}), return_exceptions=True)
            await asyncio.gather(app.call("/embed", "no object"), return_exceptions=True)

    async with client(app) as http:
        assert (await http.post("/outer", json={})).status_code == 200
    made = ["call /chat", "call /embed", "call /embed", "call /fails"]
    assert spans.children(spans.one("outer")) == made
    first, invalid = spans.named("call /embed")
    assert spans.children(first) == ["mine", "queue", "run"]
    assert spans.children(spans.one("call /chat")) == ["mine", "queue", "run", "stream"]
    assert spans.children(invalid) == []
    assert spans.one("call /fails").status.status_code is StatusCode.ERROR


async def test_a_stream_in_the_process_that_is_dropped_ends_its_span(spans: Recorded) -> None:
    """That nobody reads on is no error."""
    app = Potassium("test", traces=True)
    app.handler("/chat")(streams)
    async with app.lifespan():
        async with app.stream("/chat", {}) as chunks:
            assert await anext(chunks) == "a"
        assert spans.one("call /chat").status.status_code is StatusCode.UNSET


@pytest.mark.parametrize("how", ["request", "call", "job"])
async def test_nothing_of_a_call_is_left_to_the_garbage_collector(
    spans: Recorded, how: str
) -> None:
    """Context variables may be large: what refers to them goes with the call."""
    app = Potassium("test", traces=True, jobs=Jobs(path=None))
    app.handler("/embed", batch=Batch(max_size=2))(batched)

    @app.background("/train")
    def train(cache: Value, json_in: Value) -> None: ...

    async with client(app) as http:
        gc.collect()
        gc.disable()
        try:
            for number in range(1, 6):
                if how == "call":
                    await app.call("/embed", {})
                elif how == "request":
                    await http.post("/embed", json={})
                else:
                    await app.submit("/train", {})
                    await spans.wait_for("process /train", number)
            await asyncio.sleep(0.01)
            left = [one for one in gc.get_objects() if type(one) is Call]
            assert len(left) <= 1  # which is referred to until the next one comes
        finally:
            gc.enable()
