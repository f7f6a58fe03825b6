"""Jobs and idempotency keys belong to the API key that made them; for others they do not exist.

An app has two owners here, ``shop`` with two keys and ``lab`` with one.
"""

import hashlib
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.job_bench import submit

from potassium import ApiKeys, Jobs, Potassium
from potassium.testing import client

SHOP, NEW_SHOP, LAB = ({"X-Api-Key": key} for key in ("shop-key", "new-shop-key", "lab-key"))
KEYS = {"shop": ["shop-key", "new-shop-key"], "lab": "lab-key"}
ABOUT_ONE = [
    ("GET", ""),
    ("DELETE", ""),
    ("POST", "/retry"),
    ("GET", "/events"),
    ("GET", "/deliveries"),
]


def handler(cache: dict[str, Any], json_in: dict[str, Any]) -> None:
    if json_in.get("fails"):
        raise ValueError


def app_with(keys: Any, jobs: Jobs | None = None) -> Potassium:
    app = Potassium("test", jobs=jobs or Jobs(path=None), api_keys=keys)
    app.background("/train")(handler)
    return app


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with client(app_with(ApiKeys(KEYS))) as http:
        yield http


async def ids(http: httpx.AsyncClient, key: dict[str, str], query: str = "") -> list[str]:
    jobs = (await http.get(f"/jobs{query}", headers=key)).json()["jobs"]
    return [job["id"] for job in jobs]


@pytest.mark.parametrize(("method", "page"), ABOUT_ONE)
@pytest.mark.parametrize("wait", [{}, {"Prefer": "wait=1"}], ids=repr)
async def test_a_job_of_another_owner_is_not_found(
    http: httpx.AsyncClient, method: str, page: str, wait: dict[str, str]
) -> None:
    """Neither to be read nor to be changed; the answer is that for a job that does not exist."""
    job = await submit(http, "/train", {}, **SHOP)
    unknown = "0" * 32
    answers = [
        await http.request(method, f"/jobs/{one}{page}", headers={**LAB, **wait})
        for one in (job["id"], unknown)
    ]
    assert [answer.status_code for answer in answers] == [404, 404]
    told = [answer.json()["detail"].replace(unknown, job["id"]) for answer in answers]
    assert told[0] == told[1]
    assert "output" not in answers[0].text


async def test_a_job_is_there_for_every_key_of_its_owner(http: httpx.AsyncClient) -> None:
    """So that keys can be rotated."""
    job = await submit(http, "/train", {"fails": 1}, **SHOP)
    path = f"/jobs/{job['id']}"
    answer = await http.get(path, headers={**NEW_SHOP, "Prefer": "wait=10"})
    assert answer.json()["status"] == "failed"
    assert (await http.get(f"{path}/events", headers=NEW_SHOP)).text.count("event: status") == 3
    assert (await http.post(f"{path}/retry", headers=NEW_SHOP)).status_code == 202


async def test_a_list_has_only_jobs_of_the_owner(http: httpx.AsyncClient) -> None:
    """A job of another owner is none to continue after either."""
    ours = [(await submit(http, "/train", {}, **key))["id"] for key in (SHOP, NEW_SHOP)]
    other = (await submit(http, "/train", {}, **LAB))["id"]
    assert await ids(http, SHOP) == ours[::-1]
    assert await ids(http, LAB) == [other]
    assert await ids(http, SHOP, f"?after={other}") == []
    assert await ids(http, NEW_SHOP, "?limit=1") == ours[1:]


async def test_only_jobs_of_the_owner_are_deleted(http: httpx.AsyncClient) -> None:
    """Whoever deletes all jobs that have failed deletes those that it can see."""
    for key in (SHOP, LAB):
        job = await submit(http, "/train", {"fails": 1}, **key)
        await http.get(f"/jobs/{job['id']}", headers={**key, "Prefer": "wait=10"})
    answer = await http.delete("/jobs?status=failed", headers=NEW_SHOP)
    assert answer.json() == {"deleted": 1}
    assert (len(await ids(http, SHOP)), len(await ids(http, LAB))) == (0, 1)


async def test_an_idempotency_key_means_something_only_to_its_owner(
    http: httpx.AsyncClient,
) -> None:
    """Neither the job of another owner is returned, nor its content compared."""
    key = {"Idempotency-Key": "k"}
    first = await submit(http, "/train", {"a": 1}, **SHOP, **key)
    again = await submit(http, "/train", {"a": 1}, **NEW_SHOP, **key)
    other = await submit(http, "/train", {"a": 2}, **LAB, **key)
    assert first["id"] == again["id"] != other["id"]


@pytest.mark.parametrize(
    ("keys", "status"),
    [
        (["shop-key", "lab-key"], 404),
        (ApiKeys(["shop-key", "lab-key"]), 404),
        (ApiKeys(["shop-key", "lab-key"], tenants=False), 200),
        (ApiKeys({"both": ["shop-key", "lab-key"]}), 200),
        (ApiKeys(["shop-key", "lab-key"], open_paths=["/train"], tenants=True), 404),
    ],
    ids=repr,
)
async def test_jobs_belong_to_keys_where_there_are_several(keys: Any, status: int) -> None:
    """By default; an app can say otherwise."""
    async with client(app_with(keys)) as http:
        job = await submit(http, "/train", {}, **SHOP)
        assert (await http.get(f"/jobs/{job['id']}", headers=LAB)).status_code == status
        assert (await http.get(f"/jobs/{job['id']}", headers=SHOP)).status_code == 200


async def test_who_has_no_key_has_no_jobs_of_others() -> None:
    """On paths that are open, a caller without a key is an owner of its own."""
    keys = ApiKeys(KEYS, open_paths=["/train", "/jobs"])
    async with client(app_with(keys)) as http:
        await submit(http, "/train", {}, **SHOP)
        nobodys = await submit(http, "/train", {})
        assert await ids(http, {}) == [nobodys["id"]]
        assert len(await ids(http, SHOP)) == 1


async def test_a_store_holds_no_key() -> None:
    """But a name of its owner: the given one, or one that reveals nothing of the key."""
    for keys, name in ((ApiKeys(KEYS), "shop"), (["shop-key", "lab-key"], r"[0-9a-f]{16}")):
        app = app_with(keys)
        async with client(app) as http:
            await submit(http, "/train", {}, **SHOP)
            services = app._runtime.services
            assert services is not None
            assert services.jobs is not None
            (job,) = await services.jobs.store.find(limit=9)
            assert "shop-key" not in repr(job)
            assert re.fullmatch(name, job.owner)


async def test_a_job_stays_its_owners_after_a_restart(tmp_path: Path) -> None:
    """Also if the app is then given the hash of the key instead of the key."""
    jobs = Jobs(path=str(tmp_path / "jobs.db"))
    hashed = "sha256:" + hashlib.sha256(b"shop-key").hexdigest()
    location = ""
    for key in ("shop-key", hashed):
        app = app_with([key, "lab-key"], jobs)
        async with client(app) as http:
            if not location:
                location = f"/jobs/{(await submit(http, '/train', {}, **SHOP))['id']}"
            statuses = [(await http.get(location, headers=one)).status_code for one in (SHOP, LAB)]
        assert statuses == [200, 404]
    assert b"shop-key" not in (tmp_path / "jobs.db").read_bytes()
