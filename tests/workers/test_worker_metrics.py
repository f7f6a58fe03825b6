"""The metrics of workers, which are real processes here, on one page."""

import subprocess
import sys

import httpx
import pytest
from support.metrics import OPEN_METRICS, promtool, scrape
from support.watched import Switch, kill, seen

from potassium.engine import DeviceMemory, WorkerReport
from potassium.observe.metrics.accelerators import accelerator_families
from potassium.observe.metrics.shown import Shown
from potassium.workers import restarts

BOTH = ("cpu #0", "cpu #1")


async def figures(http: httpx.AsyncClient, name: str, **labels: str) -> dict[str, float]:
    """Return the values of a metric by worker."""
    return {
        sample.labels["worker"]: sample.value
        for family in (await scrape(http)).families
        for sample in family.samples
        if sample.name == f"potassium_worker_{name}" and labels.items() <= sample.labels.items()
    }


async def test_each_worker_has_its_figures_on_one_page(watched: httpx.AsyncClient) -> None:
    """What it has done, what it takes, and that it is ready."""
    for _ in range(5):
        await watched.post("/pid", json={})
    await seen(watched, lambda found: sum(one["finished"] for one in found) == 5)
    assert await figures(watched, "state", state="ready") == dict.fromkeys(BOTH, 1)
    assert await figures(watched, "state", state="given_up") == dict.fromkeys(BOTH, 0)
    assert sum((await figures(watched, "calls_total")).values()) == 5
    assert await figures(watched, "streams_open") == dict.fromkeys(BOTH, 0)
    for name in ("resident_memory_bytes", "load_seconds"):
        shown = await figures(watched, name)
        assert set(shown) == set(BOTH)
        assert all(value > 0 for value in shown.values()), name
    busy = await figures(watched, "busy_seconds_total")
    assert sum(busy.values()) == pytest.approx(
        (await scrape(watched)).value("potassium_gpu_thread_busy_seconds_total"), rel=0.5
    )


async def test_ends_are_counted_by_reason_from_zero(
    watched: httpx.AsyncClient,
) -> None:
    """A rate sees the first of them; what the process had done stays counted."""
    assert await figures(watched, "ends_total", reason="killed") == dict.fromkeys(BOTH, 0)
    for _ in range(4):
        await watched.post("/pid", json={})
    calls = await figures(watched, "calls_total")
    await kill(watched)
    await seen(watched, lambda found: found[0]["state"] == "ready")
    assert await figures(watched, "ends_total", reason="killed") == {"cpu #0": 1, "cpu #1": 0}
    assert await figures(watched, "ends_total", reason="crashed") == dict.fromkeys(BOTH, 0)
    assert await figures(watched, "calls_total") == calls


async def test_a_device_that_is_given_up_is_in_the_metrics(
    watched: httpx.AsyncClient, broken: Switch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server is ready; what the process took is shown no more."""
    monkeypatch.setattr(restarts, "PAUSES", [0.0])
    broken.on()
    await kill(watched)
    await seen(watched, lambda found: found[0]["state"] == "given_up")
    assert await figures(watched, "state", state="given_up") == {"cpu #0": 1, "cpu #1": 0}
    assert await figures(watched, "ends_total", reason="not_loaded") == {"cpu #0": 1, "cpu #1": 0}
    assert set(await figures(watched, "resident_memory_bytes")) == {"cpu #1"}
    assert (await scrape(watched)).value("potassium_ready") == 1


async def test_a_call_that_is_refused_as_it_kills_workers_is_a_refusal(
    watched: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that have killed one are none: a handler ran."""
    monkeypatch.setattr(restarts, "PAUSES", [0.0] * 9)
    for _ in range(3):
        assert (await watched.post("/exit", json={})).status_code == 503
    page = await scrape(watched)
    assert page.values("potassium_refusals_total", handler="/exit") == {}
    refused = await watched.post("/exit", json={})
    assert refused.status_code == 503
    assert "Retry-After" in refused.headers
    page = await scrape(watched)
    assert page.values("potassium_refusals_total", handler="/exit") == {("worker_failed",): 1}


async def test_prometheus_takes_the_page(watched: httpx.AsyncClient) -> None:
    """In both formats; ``promtool check metrics`` finds nothing."""
    await kill(watched)
    promtool("check", "metrics", stdin=(await watched.get("/metrics")).text)
    page = (await watched.get("/metrics", headers={"Accept": OPEN_METRICS})).text
    assert "potassium_worker_ends_total" in page


def test_what_workers_take_of_one_device_is_added_up() -> None:
    """By device; what the workers tell of it is what this process cannot know."""

    def worker(name: str, device: str, allocated: float) -> WorkerReport:
        memory = {device: DeviceMemory(allocated, allocated + 1, 80)}
        return WorkerReport(
            name=name, device=device, state="", states=(), activity=None, device_memory=memory
        )

    workers = [worker("a", "cuda:0", 5), worker("b", "cuda:0", 7), worker("c", "cuda:1", 1)]
    shown = {
        (sample.name.split("_")[-2], sample.labels["device"]): sample.value
        for family in accelerator_families(Shown("server"), workers)
        for sample in family.samples
    }
    assert shown == {
        ("allocated", "cuda:0"): 12,
        ("reserved", "cuda:0"): 14,
        ("total", "cuda:0"): 80,
        ("allocated", "cuda:1"): 1,
        ("reserved", "cuda:1"): 2,
        ("total", "cuda:1"): 80,
    }


def test_an_app_without_workers_loads_nothing_of_theirs() -> None:
    """Neither the module of their metrics nor that of their processes."""
    code = """
import asyncio, sys
from potassium import Potassium
from potassium.testing import client
app = Potassium("server", metrics=True)
app.handler(lambda cache, json_in: json_in)
async def main():
    async with client(app) as http:
        await http.post("/", json={})
        for path in ("/metrics", "/_k/status", "/readyz"):
            assert (await http.get(path)).status_code == 200
asyncio.run(main())
found = [name for name in sys.modules if "worker_families" in name or "potassium.workers" in name]
assert not found, found
"""
    subprocess.run([sys.executable, "-c", code], check=True)
