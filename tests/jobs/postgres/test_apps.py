"""Two servers of an app: what clients of one learn and do about jobs that run on the other."""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import pytest
from support import postgres, sse
from support.job_bench import ended, submit
from support.jobs import new_job
from support.postgres_proxy import Proxy
from support.postgres_servers import LEASE, Servers, eventually
from webhooks.receivers import Receiver, receiving

from potassium import Jobs, Potassium, Webhooks
from potassium.jobs import sweeper
from potassium.jobs.postgres.store import PostgresStore
from potassium.testing import client

if TYPE_CHECKING:
    import httpx


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeper, "PAUSE", 0.05)


class Server:
    """One server: it runs the jobs of some handlers, each of which waits for ``gate``."""

    def __init__(self, url: str, schema: str, *paths: str, **options: Any) -> None:
        jobs = {"lease": LEASE, "backoff": 0.01, "max_watchers": 9, **options}
        webhooks = Webhooks(client_urls=True, allow=["127.0.0.0/8"])
        self.app = Potassium("test", jobs=Jobs(url=url, schema=schema, **jobs), webhooks=webhooks)
        self.ran: list[Any] = []
        self.begun = threading.Semaphore(0)
        self.gate = threading.Semaphore(0)
        for path in (*paths, "/unused"):
            self.app.background(path)(self.run)
        self.fails = 0  # times
        self.http: httpx.AsyncClient

    def run(self, cache: dict[str, Any], json_in: Any) -> Any:
        self.ran.append(json_in)
        self.begun.release()
        assert self.gate.acquire(timeout=10)
        if self.fails:
            self.fails -= 1
            raise ValueError("as the test wants")
        return {"ran": json_in}

    async def has_begun(self) -> None:
        assert await asyncio.to_thread(self.begun.acquire, timeout=10)

    async def live(self, ready: asyncio.Event, until: asyncio.Event) -> None:
        async with client(self.app) as self.http:
            ready.set()
            try:
                await until.wait()
            finally:
                for _ in range(100):
                    self.gate.release()

    @property
    def store(self) -> PostgresStore:
        services = self.app._runtime.services
        assert services is not None
        assert services.jobs is not None
        store = services.jobs.store
        assert isinstance(store, PostgresStore)
        return store


class Cluster:
    """Servers on one schema; the first one is behind a proxy."""

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy
        self.servers = Servers()  # to look at the tables with
        self._schema = self.servers.options.schema
        self._until = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, *paths: str, url: str | None = None, **options: Any) -> Server:
        server = Server(url or self.proxy.url, self._schema, *paths, **options)
        ready = asyncio.Event()
        self._tasks.append(asyncio.create_task(server.live(ready, self._until)))
        async with asyncio.timeout(10):
            await ready.wait()
        return server

    async def other(self, *paths: str, **options: Any) -> Server:
        return await self.start(*paths, url=postgres.server().url, **options)

    async def submitted(self, handler: str = "/train") -> dict[str, str]:
        """Submit a job at yet another server."""
        store = await self.servers.one()
        given = {"headers": [("content-type", "application/json")], "created_at": store.clock()}
        job = await store.submit(new_job(handler=handler, body=b"1", **given))
        return {"id": job.id}

    async def close(self) -> None:
        self.proxy.come_back()
        self._until.set()
        await asyncio.gather(*self._tasks)
        await self.servers.close()


@pytest.fixture
async def cluster(proxy: Proxy) -> AsyncIterator[Cluster]:
    cluster = Cluster(proxy)
    yield cluster
    await cluster.close()


@pytest.mark.parametrize("is_deaf", [False, True])
async def test_a_client_waits_for_a_job_that_runs_elsewhere(
    cluster: Cluster, proxy: Proxy, is_deaf: bool
) -> None:
    """It learns of the end at once; without notifications within about a second."""
    proxy.is_deaf = is_deaf
    here, there = await cluster.start(), await cluster.other("/train")
    job = await submit(there.http, "/train", 1)
    await there.has_begun()
    waiting = asyncio.create_task(ended(here.http, job))
    await asyncio.sleep(0.02)
    assert not waiting.done()
    there.gate.release()
    assert (await waiting)["output"] == {"ran": 1}


@pytest.mark.parametrize("is_deaf", [False, True])
async def test_events_are_followed_from_any_server(
    cluster: Cluster, proxy: Proxy, is_deaf: bool
) -> None:
    """With the same numbers, so that a client can go on at another one."""
    proxy.is_deaf = is_deaf
    here, there = await cluster.start(), await cluster.other("/train", attempts=2)
    there.fails = 1
    job = await submit(there.http, "/train", 1)
    await there.has_begun()
    following = asyncio.create_task(here.http.get(f"/jobs/{job['id']}/events"))
    for _ in range(2):
        there.gate.release()
    seen = sse.parse((await following).content)
    assert [event.id for event in seen] == [str(number) for number in range(1, 6)]
    assert '"succeeded"' in seen[-1].data
    for last, server in ((2, there), (3, here)):
        rest = await server.http.get(
            f"/jobs/{job['id']}/events", headers={"Last-Event-ID": str(last)}
        )
        assert sse.parse(rest.content) == seen[last:]


@pytest.mark.parametrize("is_deaf", [False, True])
async def test_a_job_that_runs_elsewhere_is_cancelled(
    cluster: Cluster, proxy: Proxy, is_deaf: bool
) -> None:
    proxy.is_deaf = is_deaf
    there, here = await cluster.start("/train"), await cluster.other()
    job = await submit(there.http, "/train", 1)
    await there.has_begun()
    answer = await here.http.delete(f"/jobs/{job['id']}")
    assert (answer.status_code, answer.json()["status"]) == (202, "running")
    jobs = there.app._runtime.services.jobs  # type: ignore[union-attr]
    assert jobs is not None
    attempt = jobs._runner._attempts[job["id"]]
    await eventually(lambda: _is_cancelled(attempt))
    there.gate.release()
    assert (await ended(here.http, job))["status"] == "cancelled"


async def _is_cancelled(attempt: Any) -> bool:
    return bool(attempt.is_cancelled)


@pytest.mark.parametrize("is_deaf", [False, True])
async def test_a_job_is_run_by_whichever_server_can(
    cluster: Cluster, proxy: Proxy, is_deaf: bool
) -> None:
    """The others tell it that there is one."""
    proxy.is_deaf = is_deaf
    there = await cluster.start("/train")
    there.gate.release()
    job = await cluster.submitted()
    assert (await ended(there.http, job))["output"] == {"ran": 1}


async def test_that_nothing_is_heard_is_said_once(
    cluster: Cluster, proxy: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    """And once more if it happens again after something was heard."""
    caplog.set_level(logging.WARNING)
    proxy.is_deaf = True
    server = await cluster.start("/train")

    def said() -> int:
        return sum("do not arrive" in one.getMessage() for one in caplog.records)

    await eventually(lambda: _is(lambda: server.store._news._unheard >= 15))
    assert said() == 1
    proxy.is_deaf = False
    await eventually(lambda: _is(lambda: server.store._news._unheard <= 1))
    assert said() == 1


async def _is(ask: Any) -> bool:
    return bool(ask())


async def test_what_is_not_a_notification_of_ours_is_passed_over(
    cluster: Cluster, proxy: Proxy
) -> None:
    """Anybody who may use the database may send something."""
    here = await cluster.start("/train")
    channel = f"potassium_{here.store._database.schema}"
    for payload in ("", "x", "[]", "{}", '{"from": 1, "ended": 2}', '{"from": "x", "asked": [1]}'):
        await cluster.servers.sql("SELECT pg_notify(%s, %s)", channel, payload)
    listening = here.store._news._connection
    here.gate.release()
    assert (await ended(here.http, await cluster.submitted()))["output"] == {"ran": 1}
    assert here.store._news._connection is listening


async def test_what_a_lost_server_ran_runs_elsewhere_and_ends_once(
    cluster: Cluster, proxy: Proxy
) -> None:
    """One by one, as any of it may be why; the lost one stores nothing of it any more."""
    lost = await cluster.start("/train")
    jobs = [await submit(lost.http, "/train", 1), await cluster.submitted("/other")]
    await lost.has_begun()
    assert await lost.store.claim(handlers=["/other"], limit=1, now=lost.store.clock())
    proxy.go_away()
    heir = await cluster.other("/train", "/other")
    await cluster.servers.end_lease(lost.store)
    running = []
    for _ in jobs:
        await heir.has_begun()
        rows = await cluster.servers.sql("SELECT 1 FROM jobs WHERE status = 'running'")
        running.append(len(rows))
        heir.gate.release()
    assert running == [1, 1]
    for job in jobs:
        assert (await ended(heir.http, job))["attempts"] == 2
    proxy.come_back()
    await eventually(lambda: _is_ready(lost))
    lost.gate.release()
    for job in jobs:
        found = (await lost.http.get(f"/jobs/{job['id']}")).json()
        assert (found["status"], found["attempts"]) == ("succeeded", 2)
        events = sse.parse((await lost.http.get(f"/jobs/{job['id']}/events")).content)
        assert sum('"succeeded"' in event.data for event in events) == 1
    rows = await cluster.servers.sql("SELECT crashes FROM jobs")
    assert rows == [{"crashes": 0}] * 2


async def _is_ready(server: Server) -> bool:
    return (await server.http.get("/readyz")).status_code == 200


async def test_a_server_that_has_lost_its_claims_gives_up_what_it_runs(
    cluster: Cluster, proxy: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    """The engine is free for what it claims from then on; a failure of it is not stored."""
    lost = await cluster.start("/train")
    job = await submit(lost.http, "/train", 1)
    await lost.has_begun()
    proxy.go_away()
    heir = await cluster.other("/train")
    await cluster.servers.end_lease(lost.store)
    await heir.has_begun()
    jobs = lost.app._runtime.services.jobs  # type: ignore[union-attr]
    assert jobs is not None
    attempt = jobs._runner._attempts[job["id"]]
    proxy.come_back()
    await eventually(lambda: _is_cancelled(attempt))
    assert attempt.is_lost
    lost.fails = 1
    lost.gate.release()
    await eventually(lambda: _is(lambda: job["id"] not in jobs._runner._attempts))
    assert (await heir.http.get(f"/jobs/{job['id']}")).json()["status"] == "running"
    heir.gate.release()
    assert (await ended(heir.http, job))["output"] == {"ran": 1}
    rows = await cluster.servers.sql("SELECT crashes, is_suspect FROM jobs")
    assert rows == [{"crashes": 0, "is_suspect": False}]
    assert "was dropped" not in caplog.text


async def test_a_server_that_is_out_of_touch_for_a_while_keeps_its_jobs(
    cluster: Cluster, proxy: Proxy
) -> None:
    """For less than its lease: the job runs once, and ends when the database is back."""
    cut_off, other = await cluster.start("/train"), await cluster.other()
    await cluster.servers.end_lease()  # both have been in touch for long
    job = await submit(cut_off.http, "/train", 1)
    await cut_off.has_begun()
    proxy.go_away()
    await asyncio.sleep(0.05)
    proxy.come_back()
    cut_off.gate.release()
    assert (await ended(other.http, job))["attempts"] == 1
    assert cut_off.ran == [1]


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


async def test_a_webhook_is_posted_by_one_server_and_taken_up_when_it_dies(
    cluster: Cluster, proxy: Proxy, receiver: Receiver
) -> None:
    """Under one id, however often it is posted."""
    poster = await cluster.start("/train")
    poster.gate.release()
    receiver.go.clear()  # it gets the request, and does not answer
    job = await submit(poster.http, "/train", 1, **{"Webhook-Url": receiver.url})
    await ended(poster.http, job)
    first = await receiver.next()
    heir = await cluster.other()
    await asyncio.sleep(0.05)
    assert len(receiver.requests) == 1
    proxy.go_away()
    await cluster.servers.end_lease(poster.store)
    second = await receiver.next()
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.body == second.body
    receiver.go.set()
    path = f"/jobs/{job['id']}/deliveries"

    async def has_arrived() -> bool:
        found = (await heir.http.get(path)).json()["deliveries"]
        return any(one["status"] == 200 for made in found for one in made["attempts"])

    await eventually(has_arrived)
    proxy.come_back()
    await eventually(lambda: _is_ready(poster))
    assert len(receiver.requests) == 2
