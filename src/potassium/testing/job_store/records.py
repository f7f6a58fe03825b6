"""What a store promises to whoever looks for jobs, counts them or deletes them."""

from typing import Any

import pytest

from potassium.jobs import Event, JobStore, Status
from potassium.testing.job_store.promises import Promises
from potassium.testing.job_store.samples import NOW, attempt, claim, delivery, new_job, take_due

__all__ = ["Records"]


class Records(Promises):
    """What a store promises to whoever looks for jobs, counts them or deletes them."""

    async def test_jobs_are_found_newest_first(self, store: JobStore) -> None:
        """They are listed by page and by status, without their bodies and outputs."""
        jobs = [await store.submit(new_job(body=b"heavy")) for _ in range(5)]
        await store.end(jobs[1], Status.CANCELLED, now=NOW, output=b"heavy")
        ids = [job.id for job in reversed(jobs)]
        found = await store.find(limit=3)
        assert [job.id for job in found] == ids[:3]
        assert [job.id for job in await store.find(limit=3, after=found[-1].id)] == ids[3:]
        queued = await store.find(status=Status.QUEUED, limit=9, after=ids[1])
        assert [job.id for job in queued] == [ids[2], ids[4]]
        (cancelled,) = await store.find(status=Status.CANCELLED, limit=9)
        assert (cancelled.body, cancelled.output) == (b"", None)
        assert list(await store.find(limit=9, after="nothing")) == []

    async def test_an_owner_finds_its_own_jobs(self, store: JobStore) -> None:
        """By page and by status; a job of another owner is none to continue after."""
        jobs = [await store.submit(new_job(owner=owner)) for owner in "abaab"]
        ours = [job.id for job in reversed(jobs) if job.owner == "a"]

        async def found(**options: Any) -> list[str]:
            return [job.id for job in await store.find(owner="a", **options)]

        assert await found(limit=9) == ours
        assert await found(limit=9, status=Status.QUEUED) == ours
        assert await found(limit=9, status=Status.RUNNING) == []
        assert await found(limit=1, after=ours[0]) == ours[1:2]
        assert await found(limit=9, after=jobs[4].id) == []
        assert await found(limit=9, after=jobs[4].id, status=Status.QUEUED) == []
        assert len(await store.find(limit=9)) == 5

    async def test_jobs_are_counted_by_status(self, store: JobStore) -> None:
        """Each transition, and the deletion, updates the counts."""

        async def counts() -> list[int]:
            return [await store.count(status) for status in Status]

        await store.submit(new_job())
        await store.submit(new_job())
        assert await counts() == [2, 0, 0, 0, 0, 0]
        (running,) = await claim(store)
        assert await counts() == [1, 1, 0, 0, 0, 0]
        await store.end(running, Status.FAILED, now=NOW)
        assert await counts() == [1, 0, 0, 1, 0, 0]
        await store.delete_ended(before=NOW + 1, limit=5)
        assert await counts() == [1, 0, 0, 0, 0, 0]

    async def test_jobs_are_counted_by_handler(self, store: JobStore) -> None:
        """The counts show which handlers have waiting jobs."""
        await store.submit(new_job())
        await store.submit(new_job())
        await store.submit(new_job(handler="/other"))
        assert await store.count(Status.QUEUED, "/train") == 2
        assert await store.count(Status.QUEUED, "/none") == 0
        assert sorted(await store.waiting()) == ["/other", "/train"]
        await claim(store, limit=2)
        assert list(await store.waiting()) == ["/other"]

    async def test_a_census_has_each_state_of_each_handler_and_the_oldest_jobs(
        self, store: JobStore
    ) -> None:
        """Ages are those of the oldest queued and the oldest running job. Deliveries are none."""
        census = await store.census()
        assert (sum(census.jobs.values()), census.oldest) == (0, {})
        await store.submit(new_job(created_at=NOW - 30))
        await store.submit(new_job(created_at=NOW - 20, priority=2))
        await store.submit(new_job(handler="/other", created_at=NOW - 10))
        await store.add(delivery())
        (running,) = await claim(store)
        census = await store.census()
        assert {key: count for key, count in census.jobs.items() if count} == {
            ("/train", Status.QUEUED): 1,
            ("/train", Status.RUNNING): 1,
            ("/other", Status.QUEUED): 1,
        }
        assert sorted(census.oldest) == [Status.QUEUED, Status.RUNNING]
        assert census.oldest[Status.RUNNING] == running.created_at
        await store.end(running, Status.FAILED, now=NOW)
        assert list((await store.census()).oldest) == [Status.QUEUED]

    async def test_ended_jobs_are_deleted_with_what_belongs_to_them(self, store: JobStore) -> None:
        """Jobs that ended before the given time are deleted, oldest first, up to the limit."""
        jobs = [await store.submit(new_job()) for _ in range(4)]
        for number, job in enumerate(jobs[:3]):
            tells = delivery(job_id=job.id)
            event = Event(id=1, kind="status", data=b"{}")
            await store.end(
                job, Status.CANCELLED, now=NOW + number, events=[event], deliveries=[tells]
            )
        for each in await take_due(store):
            await store.tried(each, attempt(each, next_at=None))
        assert await store.delete_ended(before=NOW + 2, limit=1) == 1
        assert await store.get(jobs[0].id) is None
        assert list(await store.events(jobs[0].id)) == []
        assert list(await store.attempts_of(jobs[0].id)) == []
        assert await store.delete_ended(before=NOW + 2, limit=9) == 1
        assert await store.delete_ended(before=NOW + 2, limit=9) == 0
        assert len(await store.attempts_of(jobs[2].id)) == 1
        assert len(await store.find(limit=9)) == 2

    async def test_jobs_of_one_status_are_deleted(self, store: JobStore) -> None:
        """With a status, jobs that ended in another way, or not long enough ago, are kept."""
        jobs = [await store.submit(new_job()) for _ in range(4)]
        for number, status in enumerate((Status.FAILED, Status.CANCELLED, Status.FAILED)):
            await store.end(jobs[number], status, now=NOW + number)
        failed = Status.FAILED
        assert await store.delete_ended(before=NOW + 2, limit=9, status=failed) == 1
        assert [await store.get(job.id) is None for job in jobs] == [True, False, False, False]
        assert await store.delete_ended(before=NOW + 3, limit=9, status=failed) == 1
        assert await store.delete_ended(before=NOW + 3, limit=9, status=failed) == 0
        assert [await store.get(job.id) is None for job in jobs] == [True, False, True, False]

    @pytest.mark.parametrize("status", [None, Status.CANCELLED])
    async def test_jobs_of_one_owner_are_deleted(
        self, store: JobStore, status: Status | None
    ) -> None:
        """With an owner, jobs of others and of nobody are kept."""
        jobs = [await store.submit(new_job(owner=owner)) for owner in ("shop", "lab", "")]
        for job in jobs:
            await store.end(job, Status.CANCELLED, now=NOW)
        assert await store.delete_ended(before=NOW + 1, limit=9, status=status, owner="shop") == 1
        assert [await store.get(job.id) is None for job in jobs] == [True, False, False]

    async def test_a_job_with_deliveries_to_come_is_not_deleted(self, store: JobStore) -> None:
        """It can be deleted once they have arrived or were given up."""
        job = await store.submit(new_job())
        tells = delivery(job_id=job.id)
        await store.end(job, Status.CANCELLED, now=NOW, deliveries=[tells])
        (taken,) = await take_due(store)
        assert await store.delete_ended(before=NOW + 1, limit=9) == 0
        await store.tried(taken, attempt(taken, next_at=None))
        assert await store.delete_ended(before=NOW + 1, limit=9) == 1
