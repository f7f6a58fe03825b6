"""Apps that keep their jobs in a store of their own, with ``Jobs(store=...)``."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import orjson
import pytest
from support.job_bench import ended, submit
from support.own_store import OwnStore
from webhooks.receivers import Receiver, receiving

from potassium import Jobs, Potassium, Request, UsageError, Webhooks
from potassium.jobs import JobStore
from potassium.jobs.conformance import missing_from
from potassium.testing import client
from potassium.testing.job_store.samples import eventually


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


def new_app(store: object) -> Potassium:
    webhooks = Webhooks(client_urls=True, allow=["127.0.0.0/8"])
    app = Potassium("test", jobs=Jobs(store=store), webhooks=webhooks)

    @app.background("/train")
    def train(cache: dict[str, Any], request: Request) -> Any:
        request.progress(0.5, "half")
        if cache.get("is_broken"):
            raise ValueError
        return request.json

    @app.init
    def init() -> dict[str, Any]:
        return {}

    return app


async def test_jobs_are_run_out_of_it(receiver: Receiver) -> None:
    """Submitted, waited for, followed and listed over HTTP; their webhooks arrive."""
    async with client(new_app(OwnStore())) as http:
        job = await submit(http, "/train", {"x": 1}, **{"Webhook-Url": receiver.url})
        assert (await ended(http, job))["output"] == {"x": 1}
        events = (await http.get(f"/jobs/{job['id']}/events")).text
        told = orjson.loads((await receiver.next()).body)
        deliveries = await eventually(lambda: _deliveries(http, job), "the delivery is listed")
        (listed,) = (await http.get("/jobs?status=succeeded")).json()["jobs"]
    assert [line for line in events.splitlines() if line.startswith("event:")] == [
        "event: status",
        "event: status",
        "event: progress",
        "event: status",
    ]
    assert (told["id"], listed["id"]) == (job["id"], job["id"])
    assert [one["status"] for one in deliveries[0]["attempts"]] == [200]


async def _deliveries(http: httpx.AsyncClient, job: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await http.get(f"/jobs/{job['id']}/deliveries")).json()[
        "deliveries"
    ]
    return found


async def test_jobs_in_it_are_cancelled_retried_and_deleted() -> None:
    """As in any other store; an idempotency key is one job."""
    store = OwnStore()
    app = new_app(store)
    async with client(app) as http:
        app.set_cache({"is_broken": True})
        failed = await ended(http, await submit(http, "/train", {}))
        assert failed["status"] == "failed"
        app.set_cache({})
        assert (await http.post(f"/jobs/{failed['id']}/retry")).status_code == 202
        assert (await ended(http, failed))["status"] == "succeeded"
        store.gives_jobs = False
        key = {"Idempotency-Key": "k"}
        job, again = [await submit(http, "/train", {}, **key) for _ in range(2)]
        assert (job["id"], job["position"]) == (again["id"], 1)
        assert (await http.delete(f"/jobs/{job['id']}")).json()["status"] == "cancelled"
        assert (await http.delete("/jobs?status=succeeded")).json() == {"deleted": 1}
        assert [one["id"] for one in (await http.get("/jobs")).json()["jobs"]] == [job["id"]]


async def test_an_app_that_starts_anew_goes_on_with_its_store() -> None:
    """It is opened and closed with the app: results are there, and queued jobs run."""
    store = OwnStore()
    app = new_app(store)
    async with client(app) as http:
        first = await ended(http, await submit(http, "/train", {"x": 1}))
        store.gives_jobs = False
        queued = await submit(http, "/train", {"x": 2})
    store.gives_jobs = True
    for one in (app, new_app(store)):
        async with client(one) as http:
            assert (await http.get(f"/jobs/{first['id']}")).json() == first
            assert (await ended(http, queued))["output"] == {"x": 2}


class Half:
    """Is on the way to being a store."""

    is_durable = is_shared = False
    fault = None

    async def submit(self, job: Any) -> Any: ...


def test_what_is_no_store_is_refused() -> None:
    """When the app is created; the error names what is missing, and the interface."""
    with pytest.raises(UsageError, match=r"Half is no potassium\.jobs\.JobStore") as refused:
        new_app(Half())
    said = str(refused.value)
    for name in ("claim,", "clock,", "take_due,", "upkeep", "dropped,", "tried,", "census,"):
        assert f" {name}" in said
    for name in ("submit", "fault", "is_durable", "is_shared"):
        assert name not in said
    with pytest.raises(UsageError, match=r"takes an object: write OwnStore\(\.\.\.\)"):
        new_app(OwnStore)


def test_what_is_inherited_from_the_interface_is_missing() -> None:
    """It does nothing."""

    class Heir(JobStore):
        is_durable = is_shared = False
        fault = None

        async def close(self) -> None: ...

    assert "open" in missing_from(Heir())  # type: ignore[abstract]
    assert "dropped" in missing_from(Heir())  # type: ignore[abstract]
    assert not {"close", "fault", "is_shared"} & set(missing_from(Heir()))  # type: ignore[abstract]


def test_all_of_the_interface_is_looked_for() -> None:
    """Of the two protocols that make it; nothing else is."""
    assert set(missing_from(object())) == {
        name
        for name in (*dir(JobStore), *JobStore.__annotations__, "clock")
        if not name.startswith("_")
    }
    assert missing_from(OwnStore()) == []
