"""What a store promises about the line of queued jobs, and to whoever claims them."""

import asyncio

from potassium.jobs import PRIORITY_STEP, JobStore, Status
from potassium.testing.job_store.promises import Promises
from potassium.testing.job_store.samples import HANDLERS, NOW, claim, new_job

__all__ = ["Claims"]


class Claims(Promises):
    """What a store promises about the line of queued jobs, and to whoever claims them."""

    async def test_jobs_run_in_the_order_of_submission(self, store: JobStore) -> None:
        """The job submitted first is claimed first."""
        submitted = [(await store.submit(new_job())).id for _ in range(5)]
        claimed = [job.id for job in await claim(store, limit=2)]
        claimed += [job.id for job in await claim(store, limit=9)]
        assert claimed == submitted

    async def test_a_claimed_job_runs(self, store: JobStore) -> None:
        """A claim counts the attempt, records when it began, and is visible at once."""
        await store.submit(new_job(body=b"body"))
        (job,) = await claim(store, now=NOW + 1)
        assert (job.status, job.attempts, job.started_at) == (Status.RUNNING, 1, NOW + 1)
        assert job.body == b"body"
        assert await store.get(job.id) == job.light
        assert await claim(store) == []

    async def test_simultaneous_claims_share_no_job(self, store: JobStore) -> None:
        """Each of many claims at once gets its own jobs."""
        for _ in range(10):
            await store.submit(new_job())
        claims = await asyncio.gather(*(claim(store, limit=3) for _ in range(5)))
        ids = [job.id for jobs in claims for job in jobs]
        assert len(ids) == len(set(ids)) == 10

    async def test_only_jobs_of_the_named_handlers_are_claimed(self, store: JobStore) -> None:
        """A job of another handler stays queued; among several handlers, the first job is next."""
        other = await store.submit(new_job(handler="/other"))
        ours = await store.submit(new_job())
        assert [job.id for job in await claim(store, limit=5)] == [ours.id]
        third = await store.submit(new_job())
        both = await store.claim(handlers=["/train", "/other"], limit=5, now=NOW)
        assert [job.id for job in both] == [other.id, third.id]

    async def test_a_higher_priority_overtakes(self, store: JobStore) -> None:
        """High goes before normal, and normal before low."""
        ids = [(await store.submit(new_job(priority=priority))).id for priority in (0, 1, 2)]
        assert [job.id for job in await claim(store, limit=3)] == ids[::-1]

    async def test_a_low_priority_is_overtaken_by_a_bounded_number(self, store: JobStore) -> None:
        """It counts as submitted ``PRIORITY_STEP`` jobs later, before the job submitted there."""
        low = await store.submit(new_job(priority=0))
        for _ in range(PRIORITY_STEP + 5):
            await store.submit(new_job(priority=1))
        order = [job.id for job in await claim(store, limit=PRIORITY_STEP + 6)]
        assert order.index(low.id) == PRIORITY_STEP - 1

    async def test_a_job_that_has_expired_is_not_claimed(self, store: JobStore) -> None:
        """From ``expires_at`` on, a queued job is overdue instead."""
        job = await store.submit(new_job(expires_at=NOW + 10))
        await store.submit(new_job())
        assert list(await store.overdue(now=NOW + 9.9, limit=5)) == []
        overdue = await store.overdue(now=NOW + 10, limit=5)
        assert [(each.id, each.body) for each in overdue] == [
            (job.id, b"")
        ]  # there may be hundreds
        assert job.id not in [each.id for each in await claim(store, limit=5, now=NOW + 10)]

    async def test_a_job_put_back_waits_and_has_its_old_place(self, store: JobStore) -> None:
        """It is not claimed before it is due; then it goes before those submitted after it."""
        first = await store.submit(new_job())
        second = await store.submit(new_job())
        (running,) = await claim(store)
        assert await store.put_back(running, due_at=NOW + 10, error=b"why")
        kept = await store.get(first.id)
        assert kept is not None
        assert (kept.status, kept.error, kept.attempts) == (Status.QUEUED, b"why", 1)
        assert await store.position(kept) == 1
        assert await store.next_job(HANDLERS) == NOW
        assert [job.id for job in await claim(store, now=NOW + 9)] == [second.id]
        assert await store.next_job(HANDLERS) == NOW + 10
        await store.submit(new_job())
        (again,) = await claim(store, now=NOW + 10)
        assert (again.id, again.attempts) == (first.id, 2)

    async def test_an_attempt_that_does_not_count_leaves_as_many(self, store: JobStore) -> None:
        """An attempt that a stop cut off may be repeated."""
        job = await store.submit(new_job(attempts_limit=2))
        for counts in (False, True):
            (running,) = await claim(store)
            await store.put_back(running, due_at=NOW, error=None, counts=counts)
        kept = await store.get(job.id)
        assert kept is not None
        assert (kept.attempts, kept.attempts_limit) == (2, 3)

    async def test_a_clock_that_goes_back_claims_nothing_early(self, store: JobStore) -> None:
        """A job that was found due at a later time is still not claimed before its time."""
        await store.submit(new_job(created_at=NOW + 100))
        await store.claim(handlers=HANDLERS, limit=0, now=NOW + 200)
        assert await claim(store, now=NOW + 50) == []
        assert len(await claim(store, now=NOW + 100)) == 1

    async def test_no_job_is_next_where_none_is_queued(self, store: JobStore) -> None:
        """Jobs of other handlers, and running ones, do not count."""
        assert await store.next_job(HANDLERS) is None
        await store.submit(new_job(handler="/other"))
        await store.submit(new_job())
        assert await store.next_job(["/nobody", *HANDLERS]) == NOW
        await claim(store)
        assert await store.next_job(HANDLERS) is None

    async def test_the_place_in_line_is_known(self, store: JobStore) -> None:
        """It counts the jobs of the same handler that go before."""
        first = await store.submit(new_job())
        await store.submit(new_job(handler="/other"))
        second = await store.submit(new_job())
        high = await store.submit(new_job(priority=2))
        assert [await store.position(job) for job in (high, first, second)] == [1, 2, 3]
        await claim(store)
        assert await store.position(second) == 2

    async def test_within_one_process_no_claim_is_lost(self, store: JobStore) -> None:
        """No claimant could have died."""
        await store.submit(new_job())
        await claim(store)
        assert list(await store.left_behind()) == []
