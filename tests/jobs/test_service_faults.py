"""What clients learn about their jobs, even if the store fails."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from support.job_bench import Bench, submit
from support.runner import FaultyStore

from potassium.jobs import service
from potassium.jobs import submit as submit_module
from potassium.jobs.model import Status
from potassium.jobs.runner import Runner
from potassium.serving import services


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> FaultyStore:
    store = FaultyStore()

    async def open_store(*_: object) -> FaultyStore:
        return store

    monkeypatch.setattr(services, "_open", open_store)
    return store


@pytest.fixture
async def bench(store: FaultyStore) -> Bench:
    return Bench()


@pytest.fixture
async def http(bench: Bench) -> AsyncIterator[httpx.AsyncClient]:
    async with bench.client() as http:
        yield http


@pytest.mark.parametrize(
    ("method", "headers"), [("get", {"Prefer": "wait=1"}), ("position", {"X-Priority": "high"})]
)
async def test_what_is_stored_is_acknowledged(
    store: FaultyStore, bench: Bench, http: httpx.AsyncClient, method: str, headers: dict[str, str]
) -> None:
    """If the store fails afterwards, the client still gets 202, and need not submit again."""
    await submit(http, "/held", 0)
    await bench.has_begun()
    store.faults[method] = 1
    answer = await http.post("/held", json=1, headers=headers)
    assert (answer.status_code, answer.json()["status"]) == (202, "queued")
    assert store.faults[method] == 0


async def test_nobody_waits_for_ever_for_a_job(
    http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long a client asks to wait, it gets the job after a limit, with its position."""
    monkeypatch.setattr(submit_module, "LONGEST_WAIT", 0.05)
    for place in (None, 1, 2):
        async with asyncio.timeout(5):
            answer = await http.post("/held", json=0, headers={"Prefer": "wait=99999999"})
        assert answer.status_code == 202
        assert answer.headers["Preference-Applied"] == "wait=0.05"
        assert answer.json().get("position") == place


async def test_a_job_that_runs_nowhere_is_not_cancelled_for_ever(
    store: FaultyStore, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If its outcome cannot be stored, the client that cancels it gets 503."""
    monkeypatch.setattr(service, "BETWEEN", 0.02)
    job = await submit(http, "/held", 0)
    await store.claim(handlers=["/held"], limit=1, now=time.time() + 1)
    monkeypatch.setattr(Runner, "cancel", _nowhere)
    answer = await http.delete(f"/jobs/{job['id']}")
    assert (answer.status_code, answer.json()["code"]) == (503, "store_failed")
    stored = await store.get(job["id"])
    assert stored is not None
    assert stored.status is Status.RUNNING


def _nowhere(self: Any, job_id: str) -> bool:
    del self, job_id
    return False
