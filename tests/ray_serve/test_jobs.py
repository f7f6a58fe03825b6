"""Background jobs in PostgreSQL, which all replicas share."""

import asyncio
import os
import signal
from collections import Counter

import httpx
import pytest
from ray_serve.cluster import Cluster
from support import postgres

pytestmark = pytest.mark.timeout(180)

SOURCE = """
import os
import time

from potassium import Jobs, Potassium

app = Potassium("jobs", jobs=Jobs(url={url!r}, schema={schema!r}, lease=2))


@app.background("/work", attempts=3)
def work(cache, json_in: dict):
    time.sleep(0.05)
    return {{"number": json_in["number"], "pid": os.getpid()}}
"""


async def test_jobs_are_those_of_all_replicas(cluster: Cluster) -> None:
    """One is killed with jobs under way: any replica knows every job, and each comes to one end."""
    options = postgres.jobs()
    cluster.deploy(SOURCE.format(url=options.url, schema=options.schema), num_replicas=2)
    async with cluster.async_client() as http:

        async def submitted(number: int) -> str:
            answer = await http.post("/work", json={"number": number})
            assert answer.status_code == httpx.codes.ACCEPTED, answer.text
            return str(answer.json()["id"])

        async def ended(identity: str) -> dict[str, object]:
            for _ in range(60):
                # Each request goes to whichever replica there is.
                try:
                    answer = await http.get(f"/jobs/{identity}", headers={"prefer": "wait=5"})
                except httpx.TransportError:
                    continue  # it was the one that was killed
                if answer.status_code == httpx.codes.OK:
                    job: dict[str, object] = answer.json()
                    if job["status"] in {"succeeded", "failed", "cancelled", "expired"}:
                        return job
                else:
                    assert answer.status_code >= httpx.codes.INTERNAL_SERVER_ERROR, answer.text
                    await asyncio.sleep(0.1)
            raise AssertionError(f"{identity} did not end")

        identities = await asyncio.gather(*(submitted(number) for number in range(120)))
        victim = (await asyncio.to_thread(cluster.running))[0].pid
        os.kill(victim, signal.SIGKILL)
        jobs = await asyncio.gather(*(ended(identity) for identity in identities))
    assert Counter(job["status"] for job in jobs) == {"succeeded": 120}
    assert sorted(job["output"]["number"] for job in jobs) == [*range(120)]  # type: ignore[index]
    ran = Counter(job["output"]["pid"] for job in jobs)  # type: ignore[index]
    assert len(ran) >= 2, ran
    print(cluster.proxy, "jobs by process", dict(ran), "victim", victim)  # noqa: T201


def test_a_file_is_refused_before_anything_is_deployed(cluster: Cluster) -> None:
    """The app that was there goes on, and the message has the line to write."""
    cluster.deploy("""
        from potassium import Potassium
        app = Potassium("before")
        @app.handler("/ping-me")
        def ping(cache, json_in: dict):
            return {}
        """)
    with pytest.raises(RuntimeError, match=r'jobs=Jobs\(url="postgresql://'):
        cluster.deploy(
            "from potassium import Jobs, Potassium\n"
            'app = Potassium("with-file", jobs=Jobs(path="jobs.db"))\n'
            'app.handler("/add")(lambda cache, json_in: json_in)\n',
            num_replicas=2,
        )
    with cluster.client() as http:
        assert http.post("/ping-me", json={}).status_code == httpx.codes.OK
