"""What type checkers know of results. mypy checks the assertions; running them costs nothing."""

from dataclasses import dataclass
from typing import Any, assert_type

import httpx
from pydantic import BaseModel

from potassium.client import AsyncClient, AsyncJob, AsyncStream, Client, Job, JobEvent, Stream


class Result(BaseModel):
    loss: float


@dataclass
class Point:
    x: float


def types_of(client: Client) -> None:
    assert_type(client.call("/"), Any)
    assert_type(client.call("/", {}, into=Result), Result)
    assert_type(client.call("/", into=Point), Point)
    assert_type(client.call("/", into=list[Point]), list[Point])
    assert_type(client.call("/", into=int | None), int | None)
    assert_type(client.call("/", into=bytes), bytes)
    assert_type(client.call("/", into=httpx.Response), httpx.Response)
    assert_type(client.stream("/", into=Result), Stream[Result])
    for chunk in client.stream("/", into=Result):
        assert_type(chunk, Result)
    job = client.submit("/", deadline=3, idempotency_key="k")
    assert_type(job, Job)
    assert_type(job.wait(), Any)
    assert_type(job.wait(5, into=Result), Result)
    for event in job.events():
        assert_type(event, JobEvent)
    client.call("/", dead_line=3)  # type: ignore[call-overload] # an unknown option
    client.call("/", priority="urgent")  # type: ignore[call-overload] # not a priority
    client.submit("/", idempotent=True)  # type: ignore[call-arg] # a submission always is


async def types_of_async(client: AsyncClient) -> None:
    assert_type(await client.call("/"), Any)
    assert_type(await client.call("/", {}, into=Result), Result)
    assert_type(await client.call("/", into=list[Point]), list[Point])
    assert_type(client.stream("/", into=Result), AsyncStream[Result])
    async for chunk in client.stream("/", into=Result):
        assert_type(chunk, Result)
    job = await client.submit("/")
    assert_type(job, AsyncJob)
    assert_type(await job.wait(into=Result), Result)
    async for event in job.events():
        assert_type(event, JobEvent)
    async for one in client.jobs(status="failed"):
        assert_type(one, AsyncJob)


def test_types_are_checked() -> None:
    """The functions above are for mypy, which `nox -s typing` runs."""
    assert types_of.__code__.co_argcount == types_of_async.__code__.co_argcount == 1
