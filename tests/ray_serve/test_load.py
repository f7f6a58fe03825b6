"""More calls than the replicas can serve."""

import asyncio
from collections import Counter

import pytest
from ray_serve.cluster import Cluster, until

pytestmark = pytest.mark.timeout(180)

SMALL = """
import time

from potassium import Limits, Potassium

app = Potassium("small", limits=Limits(queue_size=4))


@app.handler("/work")
def work(cache, json_in: dict):
    time.sleep(0.2)
    return {}
"""

SCALED = SMALL.replace("queue_size=4", "queue_size=64")


async def test_overload_is_refused_honestly(cluster: Cluster) -> None:
    """Whoever is not served gets the app's own refusal, at once, and when to come again."""
    cluster.deploy(SMALL, num_replicas=2)
    async with cluster.async_client() as http:
        answers = await asyncio.gather(*(http.post("/work", json={}) for _ in range(80)))
    ends = Counter(one.status_code for one in answers)
    assert {*ends} == {200, 503}
    assert 8 <= ends[200] <= 40
    for one in answers:
        if one.status_code == 503:
            assert one.json()["code"] == "queue_full"
            assert int(one.headers["retry-after"]) >= 1


async def test_replicas_follow_what_waits(cluster: Cluster) -> None:
    """While calls wait there are more of them, and later one again; no call fails for that."""
    cluster.deploy(
        SCALED,
        autoscaling={
            "min": 1, "max": 3, "waiting": 4, "up_after": 1, "down_after": 3, "window": 2,
        },
    )  # fmt: skip
    statuses: Counter[int] = Counter()
    async with cluster.async_client() as http:
        over = asyncio.Event()

        async def client() -> None:
            while not over.is_set():
                statuses[(await http.post("/work", json={})).status_code] += 1

        clients = [asyncio.create_task(client()) for _ in range(24)]
        up = await asyncio.to_thread(until, lambda: len(cluster.running()) == 3, "three replicas")
        over.set()
        await asyncio.gather(*clients)
        down = await asyncio.to_thread(until, lambda: len(cluster.running()) == 1, "one replica")
    print(cluster.proxy, f"up {up:.1f} s, down {down:.1f} s", dict(statuses))  # noqa: T201
    assert {*statuses} == {200}
