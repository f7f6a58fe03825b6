"""Starting and stopping, by a lifespan or by the first request."""

import asyncio
import gc
import logging
import sys
import threading
import weakref
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from fastapi import FastAPI
from starlette.applications import Starlette

import potassium.serving.disconnects
from potassium import Jobs, Limits, Potassium, UsageError
from potassium.engine import LoopWatch, State
from potassium.errors import StoreFailed, WorkerFailed
from potassium.jobs.memory_store import MemoryStore
from potassium.jobs.sqlite.store import SqliteStore
from potassium.serving.startup import Startup
from potassium.testing import client

Fault = Callable[[Potassium, pytest.MonkeyPatch], None]


class Counting:
    """An app that counts how often init runs, and can block it or make it fail."""

    def __init__(self, *, queue_size: int = 256, fail: bool = False) -> None:
        self.app = Potassium("test", limits=Limits(queue_size=queue_size))
        self.inits = 0
        self.go = threading.Event()
        self.go.set()
        self.fail = fail
        self.app.init(self._init)
        self.app.handler(self._handler)

    def _init(self) -> None:
        self.inits += 1
        assert self.go.wait(10)
        if self.fail:
            raise ValueError("no model")

    def _handler(self, cache: dict[str, Any], json_in: dict[str, Any]) -> dict[str, Any]:
        return json_in

    def http(self, app: Any = None) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(app or self.app)
        return httpx.AsyncClient(transport=transport, base_url="http://test")

    @property
    def state(self) -> State:
        return self.app._runtime.lifecycle.state


async def test_the_lifespan_of_a_fastapi_parent() -> None:
    """FastAPI(lifespan=app.lifespan) runs init before anything is served."""
    counting = Counting()
    parent = FastAPI(lifespan=counting.app.lifespan)
    parent.mount("/model", counting.app)
    async with parent.router.lifespan_context(parent), counting.http(parent) as http:
        assert counting.inits == 1
        assert (await http.post("/model/", json={"x": 1})).json() == {"x": 1}
    assert counting.state is State.STOPPED


async def test_entered_inside_of_a_parents_own_lifespan() -> None:
    """A parent with its own lifespan enters app.lifespan() in it."""
    counting = Counting()

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with counting.app.lifespan():
            yield

    parent = Starlette(lifespan=lifespan)
    parent.mount("/model", counting.app)
    async with parent.router.lifespan_context(parent), counting.http(parent) as http:
        assert (await http.post("/model/", json={"x": 1})).json() == {"x": 1}
    assert (counting.inits, counting.state) == (1, State.STOPPED)


def test_the_first_request_starts_an_app_that_nobody_started(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A hundred simultaneous first requests run init once, and the log says how to preload."""
    counting = Counting()

    async def main() -> list[int]:
        counting.go.clear()
        async with counting.http() as http:
            calls = [asyncio.create_task(http.post("/", json={"x": n})) for n in range(100)]
            await asyncio.sleep(0.02)
            counting.go.set()
            return [(await call).status_code for call in calls]

    with caplog.at_level(logging.WARNING, "potassium"):
        assert set(asyncio.run(main())) == {200}
    assert counting.inits == 1
    (record,) = [record for record in caplog.records if record.name == "potassium"]
    assert "lifespan=app.lifespan" in record.getMessage()
    assert counting.state is State.STOPPED


def test_an_app_starts_anew_on_another_event_loop() -> None:
    """An app that ended with one event loop can be used on the next."""
    counting = Counting()

    async def main() -> int:
        async with counting.http() as http:
            return (await http.post("/", json={})).status_code

    assert [asyncio.run(main()) for _ in range(3)] == [200] * 3
    assert counting.inits == 3


def test_a_loop_that_ends_before_the_start_has_begun_does_no_harm() -> None:
    """An app whose start never reached its first step is started by the next request."""
    counting = Counting()

    async def begin() -> None:
        counting.app._runtime.begin()

    async def call() -> int:
        async with counting.http() as http:
            return (await http.post("/", json={})).status_code

    asyncio.run(begin())
    assert asyncio.run(call()) == 200
    assert counting.inits == 1


def test_a_start_that_is_called_off_before_its_first_step_does_no_harm() -> None:
    """An app whose starting task was cancelled at once is started by the next request."""
    counting = Counting()

    async def begin() -> None:
        counting.app._runtime.begin()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    async def call() -> int:
        async with asyncio.timeout(5), counting.http() as http:
            return (await http.post("/", json={})).status_code

    asyncio.run(begin())
    assert counting.inits == 0
    assert asyncio.run(call()) == 200


def test_requests_that_wait_for_the_start_are_bounded() -> None:
    """While init runs, as many requests wait as the queue takes; more get 503 starting."""
    counting = Counting(queue_size=5)

    async def main() -> list[tuple[int, str | None]]:
        counting.go.clear()
        async with counting.http() as http:
            calls = [asyncio.create_task(http.post("/", json={"x": n})) for n in range(8)]
            await asyncio.sleep(0.02)
            counting.go.set()
            answers = [await call for call in calls]
        return [(answer.status_code, answer.json().get("code")) for answer in answers]

    answers = asyncio.run(main())
    assert answers[:5] == [(200, None)] * 5
    assert answers[5:] == [(503, "starting")] * 3


def test_requests_that_leave_before_the_start_give_their_places_back() -> None:
    """While init runs, requests whose clients have left no longer count as waiting."""
    counting = Counting(queue_size=5)

    async def main() -> list[int]:
        counting.go.clear()
        async with counting.http() as http:
            for _ in range(3):
                calls = [asyncio.create_task(http.post("/", json={})) for _ in range(5)]
                await asyncio.sleep(0.01)
                for call in calls[:-1]:
                    call.cancel()
                await asyncio.wait(calls[:-1])
                calls[-1].cancel()
            last = [asyncio.create_task(http.post("/", json={})) for _ in range(5)]
            await asyncio.sleep(0.01)
            counting.go.set()
            return [(await call).status_code for call in last]

    assert asyncio.run(main()) == [200] * 5


def test_an_init_that_fails_on_the_first_request_answers_503(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The parent lives on; calls get worker_failed, liveness fails, one traceback is logged."""
    counting = Counting(fail=True)

    async def main() -> list[tuple[int, str]]:
        async with counting.http() as http:
            answers = await asyncio.gather(*(http.post("/", json={}) for _ in range(10)))
            answers.append(await http.get("/_k/warmup"))
            assert (await http.get("/healthz")).status_code == 503
            assert (await http.get("/readyz")).json() == {"ready": False, "reason": "failed"}
        return [(answer.status_code, answer.json()["code"]) for answer in answers]

    assert set(asyncio.run(main())) == {(503, "worker_failed")}
    assert counting.inits == 1
    assert len([record for record in caplog.records if record.exc_info]) == 1


def with_a_file_in_use(app: Potassium, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(_: SqliteStore) -> None:
        raise UsageError("The file is in use.")

    app.background("/job")(lambda cache, json_in: None)
    monkeypatch.setattr(SqliteStore, "open", fails)


def with_a_store_that_cannot_be_read(app: Potassium, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(_: MemoryStore) -> None:
        raise StoreFailed("The disk is gone.")

    app._parts.keep_jobs(Jobs(path=None), app)
    monkeypatch.setattr(MemoryStore, "left_behind", fails)


def with_an_init_that_exits(app: Potassium, monkeypatch: pytest.MonkeyPatch) -> None:
    app.init(lambda: sys.exit(3))


def with_a_registration_that_is_incomplete(app: Potassium, monkeypatch: pytest.MonkeyPatch) -> None:
    app.result_webhook("https://example.com")(lambda cache, json_in: None)


def with_a_watch_that_gets_no_thread(app: Potassium, monkeypatch: pytest.MonkeyPatch) -> None:
    @app.handler("/async")
    async def handler(cache: dict[str, Any], json_in: dict[str, Any]) -> None: ...

    def fails(_: LoopWatch) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(LoopWatch, "start", fails)


def with_a_ledger_that_cannot_be_told(app: Potassium, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: Startup) -> None:
        raise ValueError("a fault of ours")

    monkeypatch.setattr(Startup, "ready", fails)


def with_processes_that_cannot_be_told(app: Potassium, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(**_: Any) -> None:
        raise RuntimeError("the device is lost")

    monkeypatch.setattr("potassium.serving.services.tell_processes", fails)


FAULTS = [
    with_a_file_in_use,
    with_a_store_that_cannot_be_read,
    with_an_init_that_exits,
    with_a_registration_that_is_incomplete,
    with_a_watch_that_gets_no_thread,
    with_a_ledger_that_cannot_be_told,
    with_processes_that_cannot_be_told,
]


async def assert_failed(http: httpx.AsyncClient) -> None:
    """Check that a server says, for ever, that only a new process helps."""
    for path in ("/", "/_k/warmup"):
        answer = await http.post(path, json={})
        assert (answer.status_code, answer.json()["code"]) == (503, "worker_failed")
    live = await http.get("/healthz")
    assert (live.status_code, live.json()["activity"]) == (503, "stuck")
    assert (await http.get("/readyz")).json() == {"ready": False, "reason": "failed"}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
async def test_a_start_by_the_first_request_that_fails_is_a_failed_server(
    fault: Fault, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever it fails with: liveness is 503, and calls do not wait for a stop that never ends."""
    app = Potassium("mine")
    app.handler(lambda cache, json_in: None)
    fault(app, monkeypatch)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        await assert_failed(http)
    assert not [one for one in threading.enumerate() if one.name.startswith("potassium-gpu")]
    starts = [one for one in caplog.records if "mine could not start" in one.getMessage()]
    assert [record.levelno for record in starts] == [logging.CRITICAL]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
async def test_a_start_by_a_lifespan_that_fails_is_a_failed_server(
    fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If its parent goes on without it."""
    app = Potassium("mine")
    app.handler(lambda cache, json_in: None)
    fault(app, monkeypatch)
    with pytest.raises((UsageError, StoreFailed, SystemExit, RuntimeError, ValueError)):
        async with app.lifespan():
            pass
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        await assert_failed(http)


async def test_two_mounted_apps_on_one_default_file_are_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The log names both and what to type; the first one goes on."""
    monkeypatch.chdir(tmp_path)
    parent, apps = Starlette(), [Potassium(name) for name in ("first", "second")]
    for app in apps:
        app.background("/job")(lambda cache, json_in: None)
        parent.mount(f"/{app.name}", app)
    transport = httpx.ASGITransport(parent)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        statuses = [(await http.post(f"/{app.name}/job", json={})).status_code for app in apps]
        live = [(await http.get(f"/{app.name}/healthz")).status_code for app in apps]
    assert (statuses, live) == ([202, 503], [200, 503])
    (record,) = [one for one in caplog.records if one.levelno == logging.CRITICAL]
    assert record.exc_info is not None
    told = str(record.exc_info[1])
    assert 'The apps "first" and "second" in this process both keep background jobs in' in told
    assert 'Potassium("second", jobs=Jobs(path=".potassium/second.db"))' in told
    await end_lazy(apps[0])


async def test_a_readiness_probe_starts_an_app_that_nobody_started() -> None:
    """A client that waits for readiness before its first call does not wait forever."""
    counting = Counting()
    async with counting.http() as http:
        response = await http.get("/readyz")
        assert (response.status_code, response.json()["reason"]) == (503, "starting")
        for _ in range(200):
            if (await http.get("/readyz")).status_code == 200:
                break
            await asyncio.sleep(0.01)
        assert (await http.get("/readyz")).json() == {"ready": True}
        assert (await http.get("/healthz")).json()["state"] == "ready"
    await end_lazy(counting.app)


async def test_a_start_that_reads_its_jobs_is_still_starting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The model is loaded, but nothing is admitted before the jobs are there."""
    app, go, begun = Potassium("test", jobs=Jobs(path=None)), asyncio.Event(), asyncio.Event()
    app.handler(lambda cache, json_in: json_in)

    async def slow(_: MemoryStore) -> list[Any]:
        begun.set()
        await go.wait()
        return []

    monkeypatch.setattr(MemoryStore, "left_behind", slow)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        assert (await http.get("/readyz")).json()["reason"] == "starting"
        await begun.wait()
        answer = await http.get("/readyz")
        assert (answer.status_code, answer.json()) == (503, {"ready": False, "reason": "starting"})
        assert (await http.get("/ping")).status_code == 503
        go.set()
        assert await until_ready(http, 200) == {"ready": True}
    await end_lazy(app)


async def test_a_server_that_cannot_store_jobs_is_not_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reason is named, the process stays alive, and direct calls are served."""
    app = Potassium("test", jobs=Jobs(path=str(tmp_path / "jobs.db")))
    app.handler("/direct")(lambda cache, json_in: json_in)
    async with client(app) as http:
        (tmp_path / "jobs.db").rename(tmp_path / "aside.db")
        (tmp_path / "jobs.db").write_bytes(b"another")
        answer = await http.post("/direct", json={}, headers={"Prefer": "respond-async"})
        assert answer.json()["code"] == "store_failed"
        answer = await http.get("/readyz")
        assert (answer.status_code, answer.json()["reason"]) == (503, "store_failed")
        assert (await http.get("/healthz")).status_code == 200
        assert (await http.post("/direct", json={})).status_code == 200
        (tmp_path / "aside.db").replace(tmp_path / "jobs.db")
        for _ in range(500):
            if (await http.get("/readyz")).status_code == 200:
                break
            await asyncio.sleep(0.01)
        assert (await http.get("/readyz")).json() == {"ready": True}


async def test_a_lost_store_turns_readiness_red_and_green_by_itself(tmp_path: Path) -> None:
    """Nobody submits a job: the first one that does would otherwise be the one to find out."""
    app = Potassium("test", jobs=Jobs(path=str(tmp_path / "jobs.db")))
    app.handler("/direct")(lambda cache, json_in: json_in)
    async with client(app) as http:
        (tmp_path / "jobs.db").rename(tmp_path / "aside.db")
        (tmp_path / "jobs.db").write_bytes(b"another")
        assert await until_ready(http, 503) == {
            "ready": False,
            "reason": "store_failed",
            "detail": "the database file was replaced by another one",
        }
        (tmp_path / "aside.db").replace(tmp_path / "jobs.db")
        assert await until_ready(http, 200) == {"ready": True}


async def until_ready(http: httpx.AsyncClient, status: int) -> Any:
    """Ask for readiness until its status is ``status``; return what it says then."""
    for _ in range(1000):
        if (answer := await http.get("/readyz")).status_code == status:
            break
        await asyncio.sleep(0.01)
    return answer.json()


async def test_warmup_waits_for_init() -> None:
    """Warm-up starts the app and answers when init has finished."""
    counting = Counting()
    async with counting.http() as http:
        assert (await http.post("/_k/warmup")).json() == {"warm": True}
        assert (await http.get("/_k/warmup")).json() == {"warm": True}
    assert counting.inits == 1
    await end_lazy(counting.app)


async def test_a_liveness_probe_starts_nothing() -> None:
    """Liveness is green before any call, and init has not run."""
    counting = Counting()
    async with counting.http() as http:
        assert (await http.get("/healthz")).status_code == 200
        assert (await http.get("/_k/status")).json()["state"] == "starting"
    assert counting.inits == 0


async def test_after_the_lifespan_requests_are_refused() -> None:
    """A request after the stop gets 503 draining, and init does not run again."""
    counting = Counting()
    async with counting.app.lifespan():
        pass
    async with counting.http() as http:
        response = await http.post("/", json={})
    assert (response.status_code, response.json()["code"]) == (503, "draining")
    assert counting.inits == 1


async def test_entering_the_lifespan_twice_at_once_is_a_mistake() -> None:
    """The second one is refused; the first goes on."""
    counting = Counting()
    async with counting.app.lifespan():
        with pytest.raises(UsageError, match="once at a time"):
            async with counting.app.lifespan():
                pass
        async with counting.http() as http:
            assert (await http.post("/", json={})).status_code == 200


async def test_an_app_can_be_started_again_after_its_stop() -> None:
    """Each lifespan runs init again."""
    counting = Counting()
    for _ in range(2):
        async with counting.app.lifespan(), counting.http() as http:
            assert (await http.post("/", json={})).status_code == 200
    assert counting.inits == 2


async def test_what_init_raises_comes_out_of_the_lifespan() -> None:
    """The parent sees the error itself; the app cannot be entered again."""
    counting = Counting(fail=True)
    with pytest.raises(ValueError, match="no model"):
        async with counting.app.lifespan():
            pass
    with pytest.raises(WorkerFailed):
        async with counting.app.lifespan():
            pass


async def test_what_the_parent_raises_comes_out_unchanged() -> None:
    """An error inside the lifespan is not wrapped, and the app is stopped."""
    counting = Counting()
    with pytest.raises(KeyError, match="mine"):
        async with counting.app.lifespan():
            raise KeyError("mine")
    assert counting.state is State.STOPPED


async def test_a_scope_that_is_cancelled_does_not_cut_the_stop_short() -> None:
    """A parent's cancel scope ends the serving, but admitted calls are still answered."""
    app = Potassium("test")
    begun, go = asyncio.Event(), asyncio.Event()

    @app.handler
    async def handler(cache: dict[str, Any], json_in: dict[str, Any]) -> str:
        begun.set()
        await go.wait()
        return "answered"

    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        with anyio.CancelScope() as scope:
            async with app.lifespan():
                call = asyncio.create_task(http.post("/", json={}))
                await begun.wait()
                asyncio.get_running_loop().call_later(0.02, go.set)
                scope.cancel()
                await anyio.sleep_forever()
        assert app._runtime.lifecycle.state is State.STOPPED
        assert (await call).json() == "answered"


async def test_nothing_is_kept_of_calls_after_the_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a loop that keeps running, no timer for calls outlives the app."""
    monkeypatch.setattr(potassium.serving.disconnects, "PATIENCE", 60.0)

    class Client:
        async def receive(self) -> dict[str, Any]:
            return {"type": "http.request", "body": b"{}"}

        async def send(self, _: Any) -> None: ...

    counting = Counting()
    client = Client()
    alive = weakref.ref(client)
    headers = [(b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": "/", "headers": headers}
    async with counting.app.lifespan():
        await counting.app(scope, client.receive, client.send)
    del client
    gc.collect()
    assert alive() is None


async def test_a_hundred_apps_leave_nothing_behind() -> None:
    """Starting and stopping 100 apps leaks no thread and no task."""
    for warm_up in (True, False):
        threads, tasks = threading.active_count(), len(asyncio.all_tasks())
        for _ in range(1 if warm_up else 100):
            counting = Counting()
            async with counting.app.lifespan(), counting.http() as http:
                assert (await http.post("/", json={})).status_code == 200
    gc.collect()
    assert threading.active_count() == threads
    assert len(asyncio.all_tasks()) == tasks


def test_what_the_first_request_set_is_not_there_for_others() -> None:
    """In a lazily started app too: each call sees those of its own request, and init of none."""
    user: ContextVar[str] = ContextVar("user", default="nobody")
    app = Potassium("test")
    app.init(lambda: {"loaded_by": user.get()})
    app.handler(lambda cache, json_in: [cache["loaded_by"], user.get()])

    async def main() -> list[list[str]]:
        answers = []
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
            for name in ("alice", "bob"):
                user.set(name)
                answers.append((await http.post("/", json={})).json())
        return answers

    assert asyncio.run(main()) == [["nobody", "alice"], ["nobody", "bob"]]


async def end_lazy(app: Potassium) -> None:
    """End an app that the first request started, as the end of its event loop would."""
    task = app._runtime._lazy
    assert task is not None
    task.cancel()
    await asyncio.wait({task})
    assert app._runtime.lifecycle.state is State.STOPPED
