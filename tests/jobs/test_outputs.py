"""Outputs of jobs on their way to clients."""

import asyncio
import gc

import httpx
import pytest
from support.job_bench import Bench, ended, submit
from support.jobs import NOW, new_job

from potassium.errors import JobNotFound, StoreFailed
from potassium.jobs import outputs
from potassium.jobs.memory_store import MemoryStore
from potassium.jobs.model import Status, StoredJob
from potassium.jobs.outputs import Outputs

LARGE = 1_000_000  # characters


class Store(MemoryStore):
    """Returns a new copy of an output each time, as a file does; counts how many at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.at_once = self.most = self.reads = 0

    async def succeeded(self, output: bytes = b"[1]") -> StoredJob:
        job = await self.submit(new_job())
        await self.end(job, Status.SUCCEEDED, now=NOW, output=output)
        ended = await self.get(job.id)
        assert ended is not None
        return ended

    async def output(self, job_id: str) -> bytes | None:
        self.reads += 1
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        await asyncio.sleep(0)
        self.at_once -= 1
        output = await super().output(job_id)
        return None if output is None else bytes(bytearray(output))


async def test_an_output_is_in_memory_once() -> None:
    """Everybody who sends it sends the same object; it is read again when nobody holds it."""
    store = Store()
    lent, job = Outputs(store), await store.succeeded()
    held = await asyncio.gather(*(lent.of(job) for _ in range(10)))
    held.append(await lent.of(job))
    assert len(set(map(id, held))) == 1
    reads = store.reads
    await lent.of(job)
    assert store.reads == reads
    held.clear()
    await asyncio.sleep(0)  # for the loop to let go of what it has just passed on
    gc.collect()
    again = await lent.of(job)
    assert again is not None
    assert (again.data, store.reads) == (b"[1]", reads + 1)


async def test_only_a_success_has_an_output() -> None:
    """Nothing is read for any other job; one that was deleted is not found."""
    store = Store()
    lent, job = Outputs(store), await store.submit(new_job())
    assert await lent.of(job) is None
    assert store.reads == 0
    job = await store.succeeded()
    await store.delete_ended(before=NOW + 1, limit=1)
    with pytest.raises(JobNotFound):
        await lent.of(job)


async def test_few_outputs_are_read_at_a_time() -> None:
    """So that many who ask at once do not fill the memory before any is counted."""
    store = Store()
    lent, jobs = Outputs(store), [await store.succeeded() for _ in range(20)]
    await asyncio.gather(*map(lent.of, jobs))
    assert store.most == outputs.AT_ONCE


async def test_outputs_in_memory_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """While clients read as much as memory should hold, others are told to come back."""
    monkeypatch.setattr(outputs, "MOST_HELD", 10)
    store = Store()
    lent = Outputs(store)
    first, second = await store.succeeded(b"1" * 10), await store.succeeded(b"2" * 10)
    held = await lent.of(first)
    with pytest.raises(StoreFailed) as refused:
        await lent.of(second)
    assert refused.value.headers["Retry-After"] == "1"
    assert await lent.of(first) is held
    del held
    assert await lent.of(second) is not None


async def test_a_large_output_arrives_whole() -> None:
    """It is sent in pieces, after its exact length."""
    bench = Bench()
    bench.app.background("/large")(large)
    async with bench.client() as http:
        job = await submit(http, "/large", {"size": LARGE})
        assert (await ended(http, job))["output"] == "x" * LARGE
        answer = await http.get(f"/jobs/{job['id']}")
        assert int(answer.headers["content-length"]) == len(answer.content) > LARGE
        assert answer.headers["content-type"] == "application/json"
        waited = await http.post("/large", json={"size": LARGE}, headers={"Prefer": "wait=9"})
        assert waited.json() == "x" * LARGE


async def test_a_client_that_waited_is_acknowledged_where_the_output_cannot_be_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The job is stored, and its result can be fetched later."""
    monkeypatch.setattr(outputs, "MOST_HELD", 0)
    bench = Bench()
    async with bench.client() as http:
        answer = await http.post("/short", json=1, headers={"Prefer": "wait=9"})
        assert answer.status_code == httpx.codes.ACCEPTED


def large(cache: dict[str, object], json_in: dict[str, int]) -> str:
    return "x" * json_in["size"]
