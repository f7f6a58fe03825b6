"""What a durable store promises: nothing is lost with the process."""

from collections.abc import Sequence

from potassium.jobs import Event, IdempotencyKeyReused, JobStore, Status, StoredJob
from potassium.testing.job_store.promises import Promises
from potassium.testing.job_store.samples import (
    NOW,
    attempt,
    claim,
    delivery,
    eventually,
    failed,
    new_job,
    stored,
    suspect,
    take_due,
)

__all__ = ["DurableStoreSuite"]


class DurableStoreSuite(Promises):
    """Tests of a ``JobStore`` with ``is_durable``.

    ``new_store`` returns, each time within a test, a store that finds what the one before has left.
    """

    async def test_queued_jobs_outlive_the_process(self) -> None:
        """They are as they were submitted, in the same order, and further ones come after them."""
        async with self.opened() as store:
            jobs = [
                await store.submit(new_job(body=b"\x00\xff", headers=[("x-a", "\xe9")], owner="a")),
                await store.submit(new_job()),
                await suspect(store, handler="/other"),
            ]
        async with self.opened() as store:
            assert [await store.get(job.id) for job in jobs] == [job.light for job in jobs]
            assert await store.count(Status.QUEUED) == len(jobs)
            last = await store.submit(new_job())
            claimed = await claim(store, limit=9)
            assert [job.id for job in claimed] == [jobs[0].id, jobs[1].id, last.id]
            assert claimed[0] == jobs[0].claimed(NOW)
            again = await store.claim_suspect(handlers=[jobs[2].handler], now=NOW)
            assert again is not None
            assert again.id == jobs[2].id

    async def test_outcomes_outlive_the_process(self) -> None:
        """Outputs, errors, events and reports are there; a failed job can be retried."""
        events = [Event(id=number, kind="chunk", data=b"%d" % number) for number in (1, 2)]
        async with self.opened() as store:
            first = await failed(store)
            await store.submit(new_job())
            (running,) = await claim(store)
            await store.note(running, progress=0.5, message="half", events=events[:1])
            await store.end(running, Status.SUCCEEDED, now=NOW, output=b"[1]", events=events[1:])
            ended = await stored(store, running.id)
        async with self.opened() as store:
            assert await store.get(running.id) == ended
            assert (ended.progress, ended.message) == (0.5, "half")
            assert await store.output(running.id) == b"[1]"
            assert list(await store.events(running.id)) == events
            assert await store.get(first.id) == first
            assert await store.retry(first, attempts_limit=2, now=NOW)
            assert [job.id for job in await claim(store)] == [first.id]

    async def test_deliveries_outlive_the_process(self) -> None:
        """Also one that was being tried: it is due again, under the same id, once nobody has it."""
        new, taken, arrived = (delivery(url=f"https://{host}.test/") for host in "abc")
        async with self.opened() as store:
            for each in (taken, arrived):
                await store.add(each)
            assert len(await take_due(store)) == 2
            await store.tried(arrived, attempt(arrived, next_at=None))
            await store.add(new)
        async with self.opened() as store:
            found: list[str] = []

            async def all_found() -> bool:
                await store.left_behind()
                found.extend([each.id for each in await take_due(store)])
                return sorted(found) == sorted([new.id, taken.id])

            await eventually(all_found, "a delivery that was being tried is due again")

    async def test_a_key_outlives_the_process(self) -> None:
        """It still names its job, and no other content."""
        new = new_job(idempotency_key="k", fingerprint=b"1")
        async with self.opened() as store:
            job = await store.submit(new)
        async with self.opened() as store:
            again = await store.submit(new_job(idempotency_key="k", fingerprint=b"1"))
            assert again.id == job.id
            try:
                await store.submit(new_job(idempotency_key="k", fingerprint=b"2"))
            except IdempotencyKeyReused:
                return
            raise AssertionError("a key that was known stood for other content")

    async def test_jobs_whose_process_has_gone_are_left_behind(self) -> None:
        """They are running, and are found together, without inputs, so that they are queued again.

        Nothing that the former claimant wrote afterwards would count.
        """
        async with self.opened() as store:
            for _ in range(2):
                await store.submit(new_job())
            lost = await claim(store, limit=2)
        async with self.opened() as store:
            left = await self._left(store)
            assert left == [job.light for job in lost]
            assert await claim(store) == []
            for job in left:
                assert await store.put_back(job, due_at=NOW, error=None)
            again = await claim(store, limit=2)
            assert [(job.id, job.attempts) for job in again] == [(job.id, 2) for job in lost]
            assert not await store.end(lost[0], Status.SUCCEEDED, now=NOW)
            assert list(await store.left_behind()) == []

    async def _left(self, store: JobStore) -> Sequence[StoredJob]:
        (left,) = await eventually(store.left_behind, "jobs of a process that has gone are found")
        return list(left)
