"""What a store promises about jobs during which their process died."""

import asyncio
from dataclasses import replace

from potassium.jobs import Event, JobStore, Status
from potassium.testing.job_store.promises import Promises
from potassium.testing.job_store.samples import HANDLERS, NOW, claim, new_job, stored, suspect

__all__ = ["Suspects"]


class Suspects(Promises):
    """What a store promises about jobs during which their process died."""

    async def test_a_suspect_is_claimed_only_as_such(self, store: JobStore) -> None:
        """It is out of line: no other claim gets it, and it is never what the line waits for."""
        job = await suspect(store)
        assert await claim(store) == []
        assert await store.next_job(HANDLERS) is None
        other = await store.submit(new_job())
        assert await store.claim_suspect(handlers=["/other"], now=NOW) is None
        claimed = await store.claim_suspect(handlers=HANDLERS, now=NOW + 1)
        assert claimed is not None
        assert claimed.light == job.claimed(NOW + 1)
        assert claimed.body == other.body
        assert await store.get(job.id) == claimed.light
        assert await store.claim_suspect(handlers=HANDLERS, now=NOW) is None
        assert [each.id for each in await claim(store)] == [other.id]

    async def test_of_several_that_run_those_whose_worker_died_become_suspects(
        self, store: JobStore
    ) -> None:
        """While their server lives: those that run elsewhere run on, those that wait keep waiting.

        They may be put back at the same moment.
        """
        for _ in range(4):
            await store.submit(new_job())
        *running, beside = await claim(store, limit=3)
        put_back = await asyncio.gather(
            *(
                store.put_back(replace(job, is_suspect=True), due_at=NOW, error=None)
                for job in running
            )
        )
        assert put_back == [True, True]
        assert (await stored(store, beside.id)).status is Status.RUNNING
        suspects = [await store.claim_suspect(handlers=HANDLERS, now=NOW) for _ in range(3)]
        assert {job and (job.id, job.attempts, job.crashes) for job in suspects} == {
            None,
            *((job.id, 2, 0) for job in running),
        }
        assert len(await claim(store, limit=9)) == 1
        assert await store.end(beside, Status.SUCCEEDED, now=NOW)

    async def test_a_job_that_has_ended_or_begun_anew_becomes_no_suspect(
        self, store: JobStore
    ) -> None:
        """Whoever hears of the death of its worker too late changes nothing."""
        await store.submit(new_job())
        (stale,) = await claim(store)
        late = replace(stale, crashes=1, is_suspect=True)
        events = [Event(id=2, kind="status", data=b"{}")]
        await store.put_back(stale, due_at=NOW, error=None)
        (running,) = await claim(store)
        assert not await store.put_back(late, due_at=NOW, error=None, events=events)
        assert await stored(store, stale.id) == running.light
        assert await store.end(running, Status.SUCCEEDED, now=NOW)
        ended = await stored(store, stale.id)
        late = replace(running, crashes=1, is_suspect=True)
        assert not await store.put_back(late, due_at=NOW, error=None, events=events)
        assert await stored(store, stale.id) == ended
        assert await store.claim_suspect(handlers=HANDLERS, now=NOW) is None
        assert list(await store.events(stale.id)) == []

    async def test_suspects_have_the_order_of_the_others(self, store: JobStore) -> None:
        """The one submitted first is next, unless the priority of another is higher."""
        jobs = [
            await suspect(store),
            await suspect(store, handler="/other"),
            await suspect(store, priority=2),
        ]
        claimed = [
            await store.claim_suspect(handlers=["/train", "/other"], now=NOW) for _ in range(3)
        ]
        assert [job and job.id for job in claimed] == [jobs[2].id, jobs[0].id, jobs[1].id]

    async def test_a_suspect_has_its_place_in_line(self, store: JobStore) -> None:
        """It counts in the positions of those behind it."""
        job = await suspect(store)
        other = await store.submit(new_job())
        assert [await store.position(each) for each in (job, other)] == [1, 2]

    async def test_a_suspect_is_due_whatever_the_clock_says(self, store: JobStore) -> None:
        """It may have been put back at a later time, before the clock was set back."""
        await suspect(store)
        assert await store.claim_suspect(handlers=HANDLERS, now=NOW - 100) is not None

    async def test_a_suspect_is_cleared_by_whoever_stores_its_outcome(
        self, store: JobStore
    ) -> None:
        """Put back without suspicion, it is back in line."""
        await suspect(store)
        running = await store.claim_suspect(handlers=HANDLERS, now=NOW)
        assert running is not None
        assert await store.put_back(running.cleared(), due_at=NOW, error=b"e")
        (again,) = await claim(store)
        assert (again.id, again.crashes, again.is_suspect) == (running.id, 0, False)

    async def test_a_suspect_that_failed_and_is_retried_by_hand_is_still_one(
        self, store: JobStore
    ) -> None:
        """Nobody knows that it does no harm."""
        job = await suspect(store)
        assert await store.end(job, Status.FAILED, now=NOW)
        ended = await store.get(job.id)
        assert ended is not None
        assert (ended.crashes, ended.is_suspect) == (1, True)
        assert await store.retry(ended, attempts_limit=5, now=NOW)
        assert await claim(store) == []
        assert await store.claim_suspect(handlers=HANDLERS, now=NOW) is not None
