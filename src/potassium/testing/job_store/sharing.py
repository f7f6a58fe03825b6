"""What a store that many servers share promises."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection

import pytest_asyncio

from potassium.jobs import Event, JobStore, Status
from potassium.testing.job_store.promises import Promises
from potassium.testing.job_store.samples import (
    HANDLERS,
    NOW,
    attempt,
    claim,
    delivery,
    eventually,
    new_job,
    stored,
    suspect,
    take_due,
)

__all__ = ["SharedStoreSuite"]


class Heard:
    """A ``StoreListener`` that remembers what it is told."""

    def __init__(self) -> None:
        self.missed_some = self.has_queued = self.has_suspects = self.has_posted = self.has_lost = (
            False
        )
        self.changes: set[str] = set()
        self.ends: set[str] = set()
        self.asked: set[str] = set()

    def queued(self, *, suspects: bool) -> None:
        self.has_queued = True
        self.has_suspects |= suspects

    def cleared(self) -> None:
        self.has_cleared = True

    def changed(self, job_ids: Collection[str]) -> None:
        self.changes.update(job_ids)

    def ended(self, job_ids: Collection[str]) -> None:
        self.ends.update(job_ids)

    def asked_to_end(self, job_ids: Collection[str]) -> None:
        self.asked.update(job_ids)

    def lost_claims(self) -> None:
        self.has_lost = True

    def posted(self) -> None:
        self.has_posted = True

    def missed(self) -> None:
        self.missed_some = True

    async def of(self, is_told: Callable[[], bool], what: str) -> None:
        """Wait until it was told, or that it has missed something; forget the latter."""
        look = _soon(lambda: is_told() or self.missed_some)
        await eventually(look, f"another server hears of {what}")
        self.missed_some = False


class SharedStoreSuite(Promises):
    """Tests of a ``JobStore`` with ``is_shared``, as two servers have it.

    ``new_store`` returns, each time within a test, a store with the same jobs for another server.
    Leases should be short, as some tests wait for their end.
    """

    async def die(self, store: JobStore) -> None:
        """Let the server of ``store`` die: it renews nothing any more, and says so to nobody."""
        raise NotImplementedError(f"{type(self).__name__} must override die().")

    @pytest_asyncio.fixture(loop_scope="function")
    async def other(self, store: JobStore) -> AsyncIterator[JobStore]:  # noqa: ARG002 - it is open
        """Yield the store as another server has it."""
        async with self.opened() as other:
            yield other

    async def test_each_server_sees_what_another_stored(
        self, store: JobStore, other: JobStore
    ) -> None:
        """Whatever a call that has returned has stored, every server reads from then on."""
        job = await store.submit(new_job())
        assert await other.get(job.id) == job.light
        (running,) = await claim(other)
        assert await store.get(job.id) == running.light
        event = Event(id=1, kind="chunk", data=b"1")
        await other.note(running, progress=0.5, message="half", events=[event])
        assert list(await store.events(job.id)) == [event]
        assert await other.end(running, Status.SUCCEEDED, now=NOW, output=b"1")
        assert await store.output(job.id) == b"1"
        assert await store.count(Status.SUCCEEDED) == 1

    async def test_servers_share_no_claim(self, store: JobStore, other: JobStore) -> None:
        """Of many claims of two servers at once, each has its own jobs; all are claimed."""
        jobs = [await store.submit(new_job()) for _ in range(20)]
        claims = await asyncio.gather(*(claim(one, limit=3) for one in (store, other) * 5))
        ids = [job.id for claimed in claims for job in claimed]
        assert len(ids) == len(set(ids))
        assert sorted(ids) == sorted(job.id for job in jobs)

    async def test_a_key_is_one_job_for_all_servers(self, store: JobStore, other: JobStore) -> None:
        """Also if two servers get it at the same time."""
        jobs = await asyncio.gather(
            *(
                one.submit(new_job(idempotency_key="k", fingerprint=b"1"))
                for one in (store, other) * 5
            )
        )
        assert len({job.id for job in jobs}) == 1
        assert await store.count(Status.QUEUED) == 1

    async def test_a_job_ends_once_for_all_servers(self, store: JobStore, other: JobStore) -> None:
        """Of two ends at once, one has an effect."""
        job = await store.submit(new_job())
        ends = await asyncio.gather(
            *(one.end(job, Status.CANCELLED, now=NOW) for one in (store, other))
        )
        assert sorted(ends) == [False, True]

    async def test_servers_share_no_delivery(self, store: JobStore, other: JobStore) -> None:
        """One that was taken is nobody else's until its attempt is stored."""
        for host in "abcd":
            await store.add(delivery(url=f"https://{host}.test/"))
        taken = await asyncio.gather(*map(take_due, (store, other)))
        assert len({each.id for some in taken for each in some}) == sum(map(len, taken)) == 4
        first, owner = next((each, some is taken[0]) for some in taken for each in some)
        await (store if owner else other).tried(first, attempt(first, next_at=NOW + 5))
        (again,) = await take_due(other if owner else store, now=NOW + 5)
        assert again == first.tried(NOW + 5)

    async def test_a_server_hears_what_others_do(self, store: JobStore, other: JobStore) -> None:
        """Of new jobs, events, ends and webhooks. It may also hear that it missed something."""
        heard = Heard()
        other.follow(heard)
        for _ in range(2):  # it may have missed the first one, as it did not listen yet
            heard.has_queued = False
            await store.submit(new_job())
            await heard.of(lambda: heard.has_queued, "a new job")
        (running,) = await claim(store)
        events = [Event(id=number, kind="chunk", data=b"1") for number in (1, 2)]
        await store.note(running, progress=None, message=None, events=events[:1])
        await heard.of(lambda: running.id in heard.changes, "an event")
        await store.end(
            running,
            Status.SUCCEEDED,
            now=NOW,
            events=events[1:],
            deliveries=[delivery(job_id=running.id)],
        )
        await heard.of(lambda: running.id in heard.ends, "the end of a job")
        await heard.of(lambda: heard.has_posted, "a webhook")

    async def test_a_server_hears_of_a_suspect_of_another(
        self, store: JobStore, other: JobStore
    ) -> None:
        """Whose worker died, while it lives: whoever is idle runs it alone."""
        heard = Heard()
        other.follow(heard)
        for _ in range(2):  # it may have missed the first one, as it did not listen yet
            heard.has_suspects = False
            job = await suspect(store)
            await heard.of(lambda: heard.has_suspects, "a suspect")
            claimed = await other.claim_suspect(handlers=HANDLERS, now=NOW)
            assert claimed is not None
            assert (claimed.id, claimed.attempts, claimed.crashes) == (job.id, 2, 1)
            assert not await store.end(job, Status.CANCELLED, now=NOW)
            assert await other.end(claimed, Status.SUCCEEDED, now=NOW)

    async def test_whoever_runs_a_job_hears_that_it_should_end(
        self, store: JobStore, other: JobStore
    ) -> None:
        """Wherever that was asked for. A job that does not run cannot be asked to end."""
        heard = Heard()
        other.follow(heard)
        queued = await store.submit(new_job())
        (running,) = await claim(other)
        assert await store.ask_to_end(running)
        await eventually(_soon(lambda: running.id in heard.asked), "its server was asked to end it")
        assert await other.end(running, Status.CANCELLED, now=NOW)
        assert not await store.ask_to_end(await stored(store, queued.id))

    async def test_what_a_dead_server_has_left_is_taken_up(
        self, store: JobStore, other: JobStore
    ) -> None:
        """Once its lease has ended: its jobs by whoever asks first, its deliveries as they are due.

        What it writes afterwards has no effect.
        """
        await store.submit(new_job())
        await store.add(delivery())
        (lost,) = await claim(store)
        assert len(await take_due(store)) == 1
        await self.die(store)
        ((left,),) = await eventually(other.left_behind, "jobs of a dead server are found")
        assert left == lost.light
        assert await other.put_back(left, due_at=NOW, error=None)
        (again,) = await claim(other)
        assert (again.id, again.attempts) == (lost.id, 2)
        assert not await store.end(lost, Status.SUCCEEDED, now=NOW)
        await store.note(lost, progress=0.5, message="stale")
        assert await other.get(lost.id) == again.light
        await eventually(lambda: take_due(other), "a delivery of a dead server is due again")

    async def test_what_a_server_runs_that_is_alive_stays_its_own(
        self, store: JobStore, other: JobStore
    ) -> None:
        """While the jobs of another one are taken up."""
        async with self.opened() as third:
            for _ in range(2):
                await store.submit(new_job())
            (own,), (lost,) = await claim(store), await claim(third)
            await self.die(third)
            left = await eventually(other.left_behind, "jobs of a dead server are found")
            assert [job.id for jobs in left for job in jobs] == [lost.id]
            assert await store.end(own, Status.SUCCEEDED, now=NOW)


def _soon(told: Callable[[], bool]) -> Callable[[], Awaitable[bool]]:
    """Return a look at something that is told on the event loop."""

    async def look() -> bool:
        return told()

    return look
