"""Replicas that are replaced, while clients call: none of them notices more than it has to."""

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from ray_serve.cluster import Cluster, until

pytestmark = pytest.mark.timeout(240)

SOURCE = """
import os
import time

from potassium import Limits, Potassium

VERSION = {version}
app = Potassium("steady", limits=Limits(grace_period={grace}, hang_timeout=1.5))


@app.init
def init():
    return {{"pid": os.getpid()}}


@app.handler("/work")
def work(cache, json_in: dict):
    time.sleep(json_in.get("seconds", 0.01))
    return {{"pid": cache["pid"], "version": VERSION}}


@app.handler("/long", streams=4)
def long(cache, json_in: dict):
    for _ in range(int(json_in["seconds"] * 10)):
        time.sleep(0.1)
        yield {{"pid": cache["pid"]}}


@app.handler("/wait", concurrency=32)
async def wait(cache, json_in: dict):
    import asyncio
    await asyncio.sleep(json_in["seconds"])
    return {{"pid": cache["pid"]}}
"""


def source(version: int = 1, grace: float = 5) -> str:
    return SOURCE.format(version=version, grace=grace)


class Load:
    """What eight clients saw that called one after the other."""

    def __init__(self) -> None:
        self.ends: list[tuple[float, str]] = []
        self.answered: list[httpx.Response] = []

    def bad(self) -> Counter[str]:
        return Counter(end for _, end in self.ends if end != "200")

    def since(self, at: float) -> float:
        """Return how long after ``at`` the last bad end was."""
        return max((when for when, end in self.ends if end != "200"), default=at) - at

    async def client(self, http: httpx.AsyncClient) -> None:
        while True:
            try:
                answer = await http.post("/work", json={})
            except httpx.TransportError as error:
                self.ends.append((time.monotonic(), type(error).__name__))
            else:
                code = "" if answer.is_success else _code(answer)
                self.ends.append((time.monotonic(), f"{answer.status_code}{code}"))
                self.answered.append(answer)
            await asyncio.sleep(0.02)


def _code(answer: httpx.Response) -> str:
    try:
        return f" {answer.json()['code']}"
    except ValueError:
        return f" {answer.text[:80]!r}"


@asynccontextmanager
async def load(cluster: Cluster) -> AsyncIterator[Load]:
    """Put load on an app until the context exits."""
    seen = Load()
    async with cluster.async_client() as http:
        clients = [asyncio.create_task(seen.client(http)) for _ in range(8)]
        await asyncio.sleep(1)
        assert seen.bad() == {}
        yield seen
        await asyncio.sleep(1)
        for client in clients:
            client.cancel()
        await asyncio.gather(*clients, return_exceptions=True)
    print(cluster.proxy, len(seen.ends), dict(seen.bad()))  # noqa: T201 - shown by -rP


@pytest.fixture(scope="module")
def steady(cluster: Cluster) -> Cluster:
    cluster.deploy(source(), num_replicas=2)
    return cluster


async def replaced(cluster: Cluster, gone: int, *, seconds: float = 60) -> float:
    """Return how long it took until two replicas ran, and none of them is the process ``gone``."""

    def done() -> bool:
        pids = {one.pid for one in cluster.running()}
        return len(pids) == 2 and gone not in pids

    return await asyncio.to_thread(until, done, "another replica runs", seconds=seconds)


async def test_a_rolling_redeploy_fails_no_call(steady: Cluster) -> None:
    """All clients are served, by the old version or by the new one, and at the end by the new."""
    async with load(steady) as seen:
        await asyncio.to_thread(steady.deploy, source(version=2), num_replicas=2)
        await asyncio.sleep(1)
        last = seen.answered[-1].json()["version"]
    assert seen.bad() == {}
    assert last == 2


async def test_a_replica_that_is_killed_is_replaced(steady: Cluster) -> None:
    """Its open calls are lost, and no others."""
    victim = (await asyncio.to_thread(steady.running))[0].pid
    async with load(steady) as seen:
        os.kill(victim, signal.SIGKILL)
        killed = time.monotonic()
        await replaced(steady, victim)
    assert sum(seen.bad().values()) <= 8, seen.bad()  # as many as there are clients
    assert seen.since(killed) < 5


async def test_a_replica_that_has_failed_is_replaced(steady: Cluster) -> None:
    """A handler hangs: whoever waits for it has 503 at once, and the process ends soon after."""
    async with load(steady) as seen:
        async with steady.async_client() as http:
            answer = await http.post("/work", json={"seconds": 120})
        failed = time.monotonic()
        assert (answer.status_code, answer.json()["code"]) == (503, "worker_failed")
        before = {one.pid for one in await asyncio.to_thread(steady.replicas)}
        await asyncio.to_thread(
            until,
            lambda: len({one.pid for one in steady.running()} - before) == 1,
            "another replica runs",
        )
        print("replaced after", time.monotonic() - failed)  # noqa: T201 - shown by -rP
    assert sum(seen.bad().values()) <= 24, seen.bad()  # three for each client
    assert seen.since(failed) < 5


async def test_sigterm_drains_a_replica(steady: Cluster) -> None:
    """Ray puts another in its place, and no call fails, neither those under way nor later ones."""
    async with load(steady) as seen, steady.async_client() as http:
        calls = [asyncio.create_task(http.post("/wait", json={"seconds": 3})) for _ in range(12)]
        await asyncio.sleep(0.3)
        victim = (await asyncio.to_thread(steady.running))[0].pid
        os.kill(victim, signal.SIGTERM)
        took = await replaced(steady, victim)
        under_way = await asyncio.gather(*calls)
        await asyncio.to_thread(until, lambda: not alive(victim), "the process is gone")
        print("sigterm: replaced after", took)  # noqa: T201 - shown by -rP
    assert seen.bad() == {}
    assert {one.text for one in under_way if one.status_code != 200} == set()
    assert victim in {one.json()["pid"] for one in under_way}


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_a_stop_ends_within_the_grace_period(cluster: Cluster) -> None:
    """A call that takes longer has an answer that says so; Ray would cut its connection."""
    cluster.deploy(source(grace=1), num_replicas=1)
    async with cluster.async_client() as http:
        call = asyncio.create_task(http.post("/wait", json={"seconds": 60}))
        await asyncio.sleep(0.5)
        began = time.monotonic()
        await asyncio.to_thread(cluster.delete)
        answer = await call
    assert (answer.status_code, answer.json()["code"]) == (503, "draining")
    assert time.monotonic() - began < 12
