"""What a store promises about running jobs, and how they end."""

import asyncio

import pytest

from potassium.jobs import Event, JobStore, Status
from potassium.testing.job_store.promises import Promises
from potassium.testing.job_store.samples import NOW, claim, delivery, failed, new_job, take_due

__all__ = ["Outcomes"]


class Outcomes(Promises):
    """What a store promises about running jobs, and how they end."""

    async def test_the_end_of_a_job_is_kept(self, store: JobStore) -> None:
        """Status, time, output, last events and deliveries are stored together."""
        await store.submit(new_job())
        (running,) = await claim(store)
        event = Event(id=1, kind="status", data=b'{"status": "succeeded"}')
        tells = delivery(job_id=running.id)
        assert await store.end(
            running,
            Status.SUCCEEDED,
            now=NOW + 2,
            output=b"[1]",
            events=[event],
            deliveries=[tells],
        )
        job = await store.get(running.id)
        assert job is not None
        assert (job.status, job.finished_at, job.error) == (Status.SUCCEEDED, NOW + 2, None)
        assert await store.output(job.id) == b"[1]"
        assert list(await store.events(running.id)) == [event]
        assert list(await take_due(store, limit=5)) == [tells]

    async def test_a_job_ends_once(self, store: JobStore) -> None:
        """Of two ends at once, one has no effect, and its events and deliveries are not stored."""
        await store.submit(new_job())
        (running,) = await claim(store)
        events = [Event(id=1, kind="status", data=b"1"), Event(id=2, kind="status", data=b"2")]
        first, second = await asyncio.gather(
            store.end(
                running, Status.SUCCEEDED, now=NOW, events=events[:1], deliveries=[delivery()]
            ),
            store.end(
                running, Status.CANCELLED, now=NOW, events=events[1:], deliveries=[delivery()]
            ),
        )
        assert (first, second) == (True, False)
        assert list(await store.events(running.id)) == events[:1]
        assert len(await take_due(store, limit=5)) == 1

    @pytest.mark.parametrize("status", [Status.SUCCEEDED, Status.FAILED, Status.CANCELLED])
    async def test_a_job_that_has_ended_does_not_end_again(
        self, store: JobStore, status: Status
    ) -> None:
        """Not even for a caller that knows that it has ended."""
        job = await store.submit(new_job())
        (running,) = await claim(store)
        await store.end(running, status, now=NOW)
        ended = await store.get(job.id)
        assert ended is not None
        assert not await store.end(ended, Status.EXPIRED, now=NOW + 1)
        assert await store.get(job.id) == ended

    async def test_a_queued_job_can_end(self, store: JobStore) -> None:
        """It is cancelled or expires in the queue, and no longer counts in any position."""
        job = await store.submit(new_job())
        after = await store.submit(new_job())
        assert await store.end(job, Status.CANCELLED, now=NOW)
        assert await store.position(after) == 1
        assert [each.id for each in await claim(store, limit=5)] == [after.id]

    async def test_who_lost_a_claim_changes_nothing(self, store: JobStore) -> None:
        """Once a job was put back and claimed again, the first claimant's writes do nothing."""
        await store.submit(new_job())
        (stale,) = await claim(store)
        await store.put_back(stale, due_at=NOW, error=None)
        (current,) = await claim(store)
        events = [Event(id=1, kind="chunk", data=b"1")]
        assert not await store.end(stale, Status.FAILED, now=NOW, events=events)
        assert not await store.put_back(stale, due_at=NOW, error=None, events=events)
        await store.note(stale, progress=0.5, message="stale", events=events)
        assert await store.get(current.id) == current.light
        assert list(await store.events(current.id)) == []

    async def test_a_failed_job_is_queued_again_by_hand(self, store: JobStore) -> None:
        """It keeps its attempts and the error of the last one, and may be tried more often."""
        job = await failed(store)
        later = await store.submit(new_job())
        assert await store.retry(job, attempts_limit=5, now=NOW + 1)
        kept = await store.get(job.id)
        assert kept is not None
        assert (kept.status, kept.attempts, kept.attempts_limit) == (Status.QUEUED, 1, 5)
        assert (kept.due_at, kept.finished_at, kept.error) == (NOW + 1, None, b"{}")
        claimed = await claim(store, limit=2, now=NOW + 1)
        assert [each.id for each in claimed] == [job.id, later.id]

    async def test_only_a_failed_job_is_queued_again_by_hand(self, store: JobStore) -> None:
        """A job that waits, runs or ended in another way stays as it is."""
        job = await store.submit(new_job())
        assert not await store.retry(job, attempts_limit=5, now=NOW)
        (running,) = await claim(store)
        assert not await store.retry(running, attempts_limit=5, now=NOW)
        await store.end(running, Status.SUCCEEDED, now=NOW)
        ended = await store.get(job.id)
        assert ended is not None
        assert not await store.retry(ended, attempts_limit=5, now=NOW)
        assert await store.get(job.id) == ended

    async def test_a_job_retried_by_hand_does_not_expire(self, store: JobStore) -> None:
        """It had begun in time, and somebody wants it now."""
        await store.submit(new_job(expires_at=NOW + 1))
        (running,) = await claim(store)
        await store.end(running, Status.FAILED, now=NOW)
        job = await store.get(running.id)
        assert job is not None
        await store.retry(job, attempts_limit=2, now=NOW + 5)
        assert list(await store.overdue(now=NOW + 5, limit=1)) == []
        assert [each.id for each in await claim(store, now=NOW + 5)] == [job.id]

    async def test_progress_and_message_are_kept(self, store: JobStore) -> None:
        """A value that is not reported again stays as it was."""
        await store.submit(new_job())
        (running,) = await claim(store)
        await store.note(running, progress=0.25, message=None)
        await store.note(running, progress=None, message="half way")
        job = await store.get(running.id)
        assert job is not None
        assert (job.progress, job.message) == (0.25, "half way")

    async def test_events_are_read_from_any_on(self, store: JobStore) -> None:
        """``after`` and ``limit`` choose among the events of one job."""
        await store.submit(new_job())
        (running,) = await claim(store)
        events = [Event(id=number, kind="chunk", data=b"%d" % number) for number in range(1, 6)]
        await store.note(running, progress=None, message=None, events=events[:3])
        await store.put_back(running, due_at=NOW, error=None, events=events[3:])
        assert list(await store.events(running.id)) == events
        assert list(await store.events(running.id, after=2, limit=2)) == events[2:4]

    async def test_the_last_event_is_known(self, store: JobStore) -> None:
        """The store returns its id, or 0 if there is none."""
        job = await store.submit(new_job())
        assert await store.last_event(job.id) == 0
        (running,) = await claim(store)
        events = [Event(id=number, kind="chunk", data=b"1") for number in (2, 3)]
        await store.note(running, progress=None, message=None, events=events)
        assert await store.last_event(job.id) == 3
        assert await store.last_event("none") == 0
