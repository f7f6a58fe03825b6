"""What the server's own pages tell of its workers, which are real processes here."""

import asyncio
import os
import signal
from typing import Any

import httpx
import jsonschema
import pytest
from support.watched import Switch, kill, new_app, seen, status

from potassium import Potassium
from potassium.testing import client
from potassium.workers import restarts


def check(document: Any, name: str) -> None:
    """Check a page against a schema of the OpenAPI document."""
    components = new_app().openapi()["components"]
    schema = {"$ref": f"#/components/schemas/{name}", "components": components}
    jsonschema.validate(document, schema)


async def test_status_has_each_worker_with_its_device_and_its_process(
    watched: httpx.AsyncClient,
) -> None:
    """How long it took to load, and how much memory it has."""
    workers = await seen(watched)
    assert [one["name"] for one in workers] == ["cpu #0", "cpu #1"]
    pid = (await watched.post("/pid", json={})).json()
    assert pid in {one["pid"] for one in workers}
    assert len({one["pid"] for one in workers} | {os.getpid()}) == 3
    for one in workers:
        assert (one["device"], one["state"], one["activity"]) == ("cpu", "ready", "idle")
        assert one["load_seconds"] > 0
        assert one["memory"] > 2**20
        assert (one["ends"], one["last_end"]) == ({}, None)


async def test_status_says_what_each_worker_runs(watched: httpx.AsyncClient, gate: Switch) -> None:
    """The server's own ``running`` is what has run longest; the GPU is available while one is."""
    async with asyncio.TaskGroup() as group:
        held = group.create_task(watched.post("/hold", json={"gate": str(gate)}))
        workers = await seen(watched, lambda found: any(one["running"] for one in found))
        busy, idle = sorted(workers, key=lambda one: one["running"] is None)
        assert (busy["activity"], idle["activity"]) == ("busy", "idle")
        assert (busy["calls"], busy["groups"], idle["calls"], idle["groups"]) == (1, 1, 0, 0)
        assert busy["running"]["handler"] == "/hold"
        assert busy["last_progress_seconds"] > 0
        document = await status(watched)
        assert document["running"]["handler"] == "/hold"
        assert document["gpu_available"]

        group.create_task(watched.post("/hold", json={"gate": str(gate)}))
        await seen(watched, lambda found: all(one["running"] for one in found))
        assert not (await status(watched))["gpu_available"]
        gate.on()
    assert held.result().json() == busy["pid"]
    workers = await seen(watched, lambda found: sum(one["finished"] for one in found) == 2)
    assert all(one["busy_seconds"] > 0 for one in workers)


async def test_status_says_where_streams_are_open(watched: httpx.AsyncClient, gate: Switch) -> None:
    """By worker; ``open_streams`` of the server is the sum."""
    async with asyncio.TaskGroup() as group:
        group.create_task(watched.post("/stream", json={"gate": str(gate)}))
        workers = await seen(watched, lambda found: any(one["open_streams"] for one in found))
        assert sum(one["open_streams"] for one in workers) == 1
        assert (await status(watched))["open_streams"] == 1
        gate.on()
    await seen(watched, lambda found: not any(one["open_streams"] for one in found))


async def test_status_says_how_the_last_worker_of_a_device_has_ended(
    watched: httpx.AsyncClient,
) -> None:
    """By kind, and in words; the figures of what it has done go on in its successor."""
    for _ in range(4):
        await watched.post("/pid", json={})
    before = await kill(watched)
    one, other = await seen(watched, lambda found: found[0]["state"] == "ready")
    assert one["pid"] != before["pid"]
    assert one["ends"] == {"killed": 1}
    assert "SIGKILL" in one["last_end"]
    assert one["finished"] == before["finished"]
    assert one["busy_seconds"] >= before["busy_seconds"]
    assert (other["ends"], other["last_end"]) == ({}, None)


async def test_a_worker_that_exits_is_told_apart(watched: httpx.AsyncClient) -> None:
    """From one that is killed; its status is in the words."""
    assert (await watched.post("/exit", json={})).json()["code"] == "worker_failed"
    workers = await seen(watched, lambda found: any(one["ends"] for one in found))
    (ended,) = [one for one in workers if one["ends"]]
    assert ended["ends"] == {"exited": 1}
    assert "exited with status 3" in ended["last_end"]


async def test_readiness_counts_the_workers(watched: httpx.AsyncClient) -> None:
    """By state."""
    answer = await watched.get("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"ready": True, "workers": {"ready": 2}})


async def test_a_server_all_of_whose_workers_load_is_not_ready(
    watched: httpx.AsyncClient, hold: Switch
) -> None:
    """Calls would wait for them; it is as soon as one serves, and stays it with one."""
    hold.on()
    await kill(watched, 0)
    assert (await watched.get("/readyz")).status_code == 200
    await kill(watched, 1)
    await seen(watched, lambda found: all(one["state"] == "loading" for one in found))
    answer = await watched.get("/readyz")
    assert answer.status_code == 503
    assert answer.json() == {"ready": False, "reason": "no_worker", "workers": {"loading": 2}}
    check(answer.json(), "Readiness")
    assert (await watched.get("/healthz")).status_code == 200
    assert not (await status(watched))["gpu_available"]
    hold.off()
    await seen(watched, lambda found: any(one["state"] == "ready" for one in found))
    assert (await watched.get("/readyz")).status_code == 200


async def test_a_device_that_is_given_up_is_said_and_the_others_serve(
    watched: httpx.AsyncClient, broken: Switch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server stays ready; once no device is left, it has failed."""
    monkeypatch.setattr(restarts, "PAUSES", [0.0])
    broken.on()
    await kill(watched)
    given_up, _ = await seen(watched, lambda found: found[0]["state"] == "given_up")
    assert given_up["ends"] == {"killed": 1, "not_loaded": 1}
    assert given_up["last_end"] == "could not load the model"
    assert (given_up["pid"], given_up["memory"], given_up["activity"]) == (None, None, None)
    answer = await watched.get("/readyz")
    assert answer.json() == {"ready": True, "workers": {"given_up": 1, "ready": 1}}
    assert (await watched.post("/pid", json={})).status_code == 200

    await kill(watched, 1)
    await seen(watched, lambda found: found[1]["state"] == "given_up")
    answer = await watched.get("/readyz")
    assert (answer.status_code, answer.json()["reason"]) == (503, "failed")
    assert (await watched.get("/healthz")).status_code == 503


async def test_the_pages_show_workers_that_load_for_the_first_time(
    broken: Switch, hold: Switch
) -> None:
    """There is something to see before the server is ready."""
    hold.on()
    app = new_app()
    transport = httpx.ASGITransport(app)
    async with (
        httpx.AsyncClient(transport=transport, base_url="http://potassium") as http,
        asyncio.TaskGroup() as group,
    ):
        group.create_task(_started(app))
        workers = await seen(
            http, lambda found: found and all(one["state"] == "loading" for one in found)
        )
        assert all(one["pid"] and one["load_seconds"] is None for one in workers)
        answer = (await http.get("/readyz")).json()
        assert answer == {"ready": False, "reason": "starting", "workers": {"loading": 2}}
        hold.off()


async def test_a_worker_that_stands_still_is_shown_with_its_last_progress(
    watched: httpx.AsyncClient, gate: Switch
) -> None:
    """It is that of its device, and the others' is theirs."""
    async with asyncio.TaskGroup() as group:
        group.create_task(watched.post("/hold", json={"gate": str(gate)}))
        workers = await seen(watched, lambda found: any(one["running"] for one in found))
        (busy,) = [one for one in workers if one["running"]]
        os.kill(busy["pid"], signal.SIGSTOP)
        try:
            workers = await seen(
                watched,
                lambda found: any(one["last_progress_seconds"] > 0.1 for one in found),
            )
            assert [one["last_progress_seconds"] > 0 for one in workers] == [
                one["pid"] == busy["pid"] for one in workers
            ]
        finally:
            os.kill(busy["pid"], signal.SIGCONT)
            gate.on()


async def test_what_is_shown_is_what_the_schema_says(
    watched: httpx.AsyncClient, gate: Switch
) -> None:
    """Both pages, with a worker that is busy and one that has just died."""
    async with asyncio.TaskGroup() as group:
        group.create_task(watched.post("/hold", json={"gate": str(gate)}))
        await seen(watched, lambda found: any(one["running"] for one in found))
        await kill(watched)
        for path, name in (("/_k/status", "Status"), ("/readyz", "Readiness")):
            check((await watched.get(path)).json(), name)
        gate.on()


async def test_without_workers_the_pages_show_none() -> None:
    """An empty list in the status, and nothing in readiness."""
    plain = Potassium("server")
    plain.handler(lambda cache, json_in: json_in)
    async with client(plain) as http:
        assert (await status(http))["workers"] == []
        assert (await http.get("/readyz")).json() == {"ready": True}


async def _started(app: Potassium) -> None:
    async with client(app, workers=True):
        pass


async def test_a_test_runs_handlers_in_its_own_process_unless_it_asks_for_workers(
    watched: httpx.AsyncClient,  # with ``workers=True``, in others
) -> None:
    """So that it can replace what they use; the app keeps its workers for the next start."""
    assert (await watched.post("/pid", json={})).json() != os.getpid()
    plain = new_app()
    async with client(plain) as http:
        assert (await http.post("/pid", json={})).json() == os.getpid()
        assert (await status(http))["workers"] == []
    async with client(plain, workers=True) as http:
        assert (await http.post("/pid", json={})).json() != os.getpid()
