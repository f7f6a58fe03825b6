"""The database is away for a while: what goes on, what is refused, and what is there afterwards."""

import asyncio
import logging
import os
import signal
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from typing import Any

import httpx
import pytest
from support import postgres
from support.job_bench import Bench, ended, submit
from support.jobs import NOW, delivery, new_job
from support.postgres import Postgres
from support.postgres_proxy import Proxy
from support.postgres_servers import Servers, eventually

from potassium.config.jobs import DEFAULT_PATH
from potassium.errors import StoreFailed
from potassium.jobs import runner, settlement, sweeper
from potassium.jobs.model import Status
from potassium.jobs.postgres import connections
from potassium.jobs.postgres import database as database_module
from potassium.webhooks import store_backoff

Outage = Callable[[Proxy], None]


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "PATIENCE", 0.5)
    monkeypatch.setattr(database_module, "LONGEST_CONNECT", 1.0)
    monkeypatch.setattr(runner, "RETRY_STORE", 0.1)
    monkeypatch.setattr(settlement, "RETRY_STORE", 0.1)
    monkeypatch.setattr(sweeper, "PAUSE", 0.1)
    monkeypatch.setattr(store_backoff, "FIRST_PAUSE", 0.1)


def bench_at(url: str, **options: Any) -> Bench:
    given = postgres.jobs()
    return Bench(**{"url": url, "path": DEFAULT_PATH, "schema": given.schema, **options})


async def fault(http: httpx.AsyncClient) -> str | None:
    answer = await http.get("/readyz")
    if answer.status_code == 200:
        return None
    assert answer.json()["reason"] == "store_failed"
    return str(answer.json()["detail"])


async def works(http: httpx.AsyncClient) -> bool:
    return await fault(http) is None


async def fails(http: httpx.AsyncClient) -> bool:
    return await fault(http) is not None


async def assert_outage(
    bench: Bench, http: httpx.AsyncClient, *, go: Callable[[], None], back: Callable[[], None]
) -> None:
    """Let the database go away while a job runs and another one waits, and come back."""
    running = await submit(http, "/held", 1)
    await bench.has_begun()
    waiting = await submit(http, "/short", 2)
    go()
    await eventually(lambda: fails(http))
    took: list[float] = []
    for _ in range(5):
        began = time.monotonic()
        refused = await http.post("/short", json=0)
        assert (refused.status_code, refused.json()["code"]) == (503, "store_failed")
        took.append(time.monotonic() - began)
    assert min(took) < 0.1, "what is known to be away is not waited for"
    said = await fault(http)
    assert said is not None
    assert "database" in said
    assert not any(word in said for word in ("postgresql:", "potassium-", "tests"))
    bench.gate.release()  # the job ends, and its end waits for the database
    assert (await http.post("/direct", json=3)).json() == {"direct": 3}
    back()
    came_back = time.monotonic()
    await eventually(lambda: works(http))
    assert (await ended(http, running))["output"] == {"held": 1}
    assert (await ended(http, waiting))["output"] == {"direct": 2}
    assert time.monotonic() - came_back < 5
    again = await submit(http, "/short", 4)
    assert (await ended(http, again))["output"] == {"direct": 4}
    assert bench.ran.count(1) == bench.ran.count(2) == 1
    assert 0 not in bench.ran
    assert len((await http.get("/jobs")).json()["jobs"]) == 3


@pytest.mark.parametrize("outage", [Proxy.go_away, Proxy.be_silent])
async def test_an_outage_delays_and_loses_nothing(
    proxy: Proxy, outage: Outage, caplog: pytest.LogCaptureFixture
) -> None:
    """Whether the database refuses connections, or the network swallows everything."""
    caplog.set_level(logging.WARNING)
    bench = bench_at(proxy.url)
    async with bench.client() as http:
        await assert_outage(bench, http, go=lambda: outage(proxy), back=proxy.come_back)
    lines = [one for one in caplog.records if one.levelno >= logging.ERROR]
    said = {one.getMessage().partition(":")[0] for one in lines}
    assert said <= {
        "background jobs cannot be stored",
        "background jobs cannot be claimed",
        "background jobs cannot be swept",
        "the outcomes of jobs wait for the store",
        "the store of webhook deliveries failed and will be retried",
    }
    assert len(lines) == len(said), "each is said once"


@pytest.fixture(scope="module")
def own() -> Iterator[Postgres]:
    """A server that may be stopped; what it has committed is on its disk."""
    with postgres.running("shared_buffers=16MB") as server:
        yield server


async def test_a_server_that_crashes_has_lost_nothing(own: Postgres) -> None:
    """Its processes are killed, and it is started again."""
    bench = bench_at(own.url)
    async with bench.client() as http:
        await assert_outage(bench, http, go=lambda: own.stop("immediate"), back=own.start)


async def test_a_server_that_stands_still_is_like_one_that_is_away(own: Postgres) -> None:
    """Its kernel still accepts connections and bytes."""
    bench = bench_at(own.url)

    def send(number: signal.Signals) -> Callable[[], None]:
        def send() -> None:
            for pid in own.processes():
                os.kill(pid, number)

        return send

    async with bench.client() as http:
        try:
            await assert_outage(bench, http, go=send(signal.SIGSTOP), back=send(signal.SIGCONT))
        finally:
            send(signal.SIGCONT)()


async def test_what_is_acknowledged_survives_a_crash_of_the_database(own: Postgres) -> None:
    """A job is accepted once it is committed, and not before."""
    servers = Servers(url=own.url)
    server = await servers.one()
    accepted: list[str] = []

    async def submit_on() -> None:
        while server.fault is None:
            with suppress(StoreFailed):
                accepted.append((await server.submit(new_job())).id)

    submitting = [asyncio.create_task(submit_on()) for _ in range(8)]
    await eventually(lambda: _is_long(accepted))
    await asyncio.to_thread(own.stop, "immediate")
    await asyncio.wait(submitting)
    own.start()
    await eventually(lambda: _works(server))
    found = {job.id for job in await server.find(limit=100_000)}
    await servers.close()
    assert found >= set(accepted)


async def _is_long(accepted: list[str]) -> bool:
    return len(accepted) > 100


async def _works(server: Any) -> bool:
    return server.fault is None


@pytest.mark.parametrize("outage", [Proxy.go_away, Proxy.be_silent])
async def test_closing_takes_a_few_seconds_at_most(
    servers: Servers, proxy: Proxy, outage: Outage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also while the database is away, and writes and reads are under way."""
    monkeypatch.setattr(connections, "HURRY", 0.2)
    monkeypatch.setattr(connections, "PATIENCE", 60.0)
    server = await servers.one(proxy.url)
    await server.submit(new_job())
    (job,) = await server.claim(handlers=["/train"], limit=1, now=NOW)
    outage(proxy)
    calls: list[Awaitable[object]] = [
        server.submit(new_job()),
        server.end(job, Status.SUCCEEDED, now=NOW),
        server.add(delivery()),
        server.claim(handlers=["/train"], limit=1, now=NOW),
        *(server.find(limit=1) for _ in range(20)),
    ]
    under_way = asyncio.gather(*calls, return_exceptions=True)
    await asyncio.sleep(0.02)
    servers.opened.remove(server)
    async with asyncio.timeout(3):
        await server.close()
        failures = await under_way
    assert all(isinstance(one, StoreFailed) for one in failures), failures


async def test_a_server_that_stops_does_not_wait_for_its_database(
    servers: Servers, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is under way fails soon, and what comes then fails at once."""
    monkeypatch.setattr(connections, "HURRY", 0.2)
    monkeypatch.setattr(connections, "PATIENCE", 60.0)
    server = await servers.one(proxy.url)
    await server.find(limit=1)
    proxy.be_silent()
    under_way = asyncio.gather(*(server.find(limit=1) for _ in range(4)), return_exceptions=True)
    await asyncio.sleep(0.02)
    server.hurry()
    async with asyncio.timeout(10):
        failures = await under_way
        assert all(isinstance(one, StoreFailed) for one in failures), failures
        with pytest.raises(StoreFailed):
            await server.submit(new_job())


async def test_a_server_that_stops_still_stores_what_it_can(servers: Servers) -> None:
    """As long as the database answers, nothing is given up."""
    server = await servers.one()
    server.hurry()
    job = await server.submit(new_job())
    assert await server.get(job.id) is not None


async def test_closing_is_not_stopped_by_cancellation(servers: Servers) -> None:
    """Its lease has ended, and its connections are closed."""
    server = await servers.one()
    closing = asyncio.create_task(server.close())
    await asyncio.sleep(0)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    servers.opened.remove(server)
    (row,) = await servers.sql(
        "SELECT lease_until < clock_timestamp() AS is_over FROM servers WHERE id = %s",
        server._server.id,
    )
    assert row["is_over"]
    with pytest.raises(StoreFailed):
        await server.find(limit=1)


async def test_nothing_waits_for_a_connection_for_ever(
    servers: Servers, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many wait, each learns within some seconds that the database does not answer."""
    server = await servers.one(proxy.url)
    proxy.be_silent()
    began = time.monotonic()
    reads = [server.find(limit=1) for _ in range(200)]
    failures = await asyncio.gather(*reads, return_exceptions=True)
    assert all(isinstance(one, StoreFailed) for one in failures)
    assert time.monotonic() - began < 10


async def test_an_outage_is_one_line_however_often_the_database_is_asked(
    servers: Servers, proxy: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    """One a minute, until it is back."""
    server = await servers.one(proxy.url)
    proxy.go_away()
    for _ in range(5):
        with pytest.raises(StoreFailed):
            await server.find(limit=1)
        with pytest.raises(StoreFailed):
            await server._server.renew()
    proxy.come_back()
    await eventually(lambda: _works(server))
    said = [one.getMessage().partition(":")[0] for one in caplog.records]
    assert said == ["background jobs cannot be stored", "background jobs can be stored again"]
