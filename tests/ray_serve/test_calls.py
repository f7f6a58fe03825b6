"""What clients get of an app on two replicas, behind each of Ray's proxies."""

import asyncio
import json
import time
import uuid
from collections import Counter
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from ray_serve.cluster import Cluster, until

pytestmark = pytest.mark.timeout(180)


async def test_both_replicas_answer(kitchen_app: Cluster) -> None:
    """Calls that come together go to both of them, once the proxy knows both."""
    pids: set[int] = set()
    async with kitchen_app.async_client() as http:
        for _ in range(50):
            answers = await asyncio.gather(
                *(http.post("/add", json={"a": number, "b": 1}) for number in range(60))
            )
            assert [one.json()["sum"] for one in answers] == [number + 1 for number in range(60)]
            pids = {one.json()["pid"] for one in answers}
            if len(pids) == 2:
                break
    assert len(pids) == 2


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("/add", {"a": "one"}, 422, "invalid_input"),
        ("/nowhere", {}, 404, "not_found"),
        ("/short", {"seconds": "?"}, 500, "handler_error"),
        ("/short", {"seconds": 1}, 504, "deadline_exceeded"),
    ],
)
def test_errors_are_problem_documents(
    kitchen_app: Cluster, path: str, body: dict[str, object], status: int, code: str
) -> None:
    """The status, the code and the id of the request are those that the app sent."""
    with kitchen_app.client() as http:
        answer = http.post(path, json=body, headers={"x-request-id": "mine"})
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["request_id"] == "mine"


def test_a_deadline_holds(kitchen_app: Cluster) -> None:
    """The caller has 504 when the time is over, not when the handler has ended."""
    with kitchen_app.client() as http:
        began = time.monotonic()
        assert http.post("/short", json={"seconds": 1.5}).status_code == 504
    assert time.monotonic() - began < 1.4


@pytest.mark.parametrize("sent", [None, "of-the-client"])
def test_request_ids_come_once(kitchen_app: Cluster, sent: str | None) -> None:
    """Ray and the app each add one: clients see one, their own if they sent it."""
    headers = {} if sent is None else {"x-request-id": sent}
    with kitchen_app.client() as http:
        for path in ("/add", "/nowhere"):
            ids = http.post(path, json={"a": 1, "b": 2}, headers=headers).headers.get_list(
                "x-request-id"
            )
            assert len(ids) == 1
            assert sent is None or ids == [sent]


def test_streams_arrive_chunk_by_chunk(kitchen_app: Cluster, marks: Path) -> None:
    """Each event is there before the next one is made."""
    name, numbers = uuid.uuid4().hex, []
    with (
        kitchen_app.client() as http,
        http.stream(
            "POST",
            "/steps",
            json={"steps": 5, "name": name},
            headers={"accept": "text/event-stream"},
        ) as answer,
    ):
        assert answer.headers["content-type"].startswith("text/event-stream")
        for line in answer.iter_lines():
            if line.startswith("data:") and "number" in line:
                number = json.loads(line.removeprefix("data:"))["number"]
                numbers.append(number)
                (marks / f"{name}-{number}").touch()
    assert numbers == [0, 1, 2, 3, 4]


def test_a_client_that_leaves_ends_its_generator(kitchen_app: Cluster, marks: Path) -> None:
    """In mid-stream, the generator is closed, and its finally runs."""
    name = uuid.uuid4().hex
    with (
        kitchen_app.client() as http,
        http.stream("POST", "/endless", json={"name": name}) as answer,
    ):
        next(answer.iter_bytes())
        assert not (marks / name).exists()
    until((marks / name).exists, "the generator is closed", seconds=5)


async def test_batches_fill(kitchen_app: Cluster) -> None:
    """Calls are not held back on their way to the replicas: half of 16 in each batch, or so."""
    async with kitchen_app.async_client() as http:

        async def client() -> list[int]:
            return [(await http.post("/batch", json={})).json()["size"] for _ in range(10)]

        sizes = [
            size for each in await asyncio.gather(*(client() for _ in range(32))) for size in each
        ]
    batches = sum(1 / size for size in sizes)
    mean = len(sizes) / batches
    print("mean batch size", kitchen_app.proxy, mean, Counter(sizes))  # noqa: T201
    assert mean >= (6 if kitchen_app.proxy == "haproxy" else 2)


def test_each_replica_shows_its_status(kitchen_app: Cluster) -> None:
    """``/_k/replicas`` has that of all, and ``/_k/status`` says whose it is."""
    with kitchen_app.client() as http:
        shown = http.get("/_k/replicas").json()["replicas"]
        own = http.get("/_k/status").json()
    assert {*shown} == {one.id for one in kitchen_app.running()}
    assert {one["state"] for one in shown.values()} == {"ready"}
    assert own["replica"] in shown


def test_a_scrape_has_the_figures_of_all_replicas(kitchen_app: Cluster) -> None:
    """Each with its replica, so that what they count adds up."""
    with kitchen_app.client() as http:
        for number in range(10):
            http.post("/add", json={"a": number, "b": 1})
        page = http.get("/metrics")
    assert page.headers["content-type"].startswith("text/plain")
    replicas = {one.id for one in kitchen_app.running()}
    for family in text_string_to_metric_families(page.text):
        assert {one.labels.get("replica") for one in family.samples} <= replicas
        if family.name == "potassium_build_info":
            assert {one.labels["replica"] for one in family.samples} == replicas


def test_the_page_and_the_schema_are_there(kitchen_app: Cluster) -> None:
    """At the paths where they are without Ray."""
    with kitchen_app.client() as http:
        assert "/add" in http.get("/openapi.json").json()["paths"]
        assert http.get("/docs").status_code == httpx.codes.OK
        assert http.get("/healthz").json()["state"] == "ready"
