"""A commit whose answer is lost: whether it has happened is found out, not guessed."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from support.jobs import NOW, attempt, delivery, new_job, take_due
from support.postgres_proxy import Proxy
from support.postgres_servers import Servers, eventually

from potassium.errors import StoreFailed
from potassium.jobs.model import Event, Status, StoredJob
from potassium.jobs.postgres import lane
from potassium.jobs.postgres.store import PostgresStore

WHERE = ["before", "after"]


@pytest.fixture
async def store(servers: Servers, proxy: Proxy) -> PostgresStore:
    """A store behind the proxy; a lease is long, so that only commits matter."""
    return await servers.one(proxy.url, lease=1000)


@pytest.fixture
async def other(servers: Servers) -> PostgresStore:
    return await servers.one(lease=1000)


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane, "FIND_OUT", 0.05)


async def claimed(store: PostgresStore) -> StoredJob:
    await store.submit(new_job())
    (job,) = await store.claim(handlers=["/train"], limit=1, now=NOW)
    return job


@pytest.mark.parametrize("where", WHERE)
async def test_a_submit_happens_once(
    store: PostgresStore, other: PostgresStore, proxy: Proxy, where: str
) -> None:
    """It is repeated only if it has not happened."""
    proxy.cuts["changes"] = where
    jobs = [new_job() for _ in range(3)]
    stored = await asyncio.gather(*map(store.submit, jobs))
    assert proxy.has_cut == ["changes"]
    assert [job.id for job in stored] == [job.id for job in jobs]
    assert {job.id for job in await other.find(limit=9)} == {job.id for job in jobs}
    assert await other.count(Status.QUEUED) == 3


@pytest.mark.parametrize("where", WHERE)
async def test_an_end_happens_once(
    store: PostgresStore, other: PostgresStore, proxy: Proxy, where: str
) -> None:
    job = await claimed(store)
    proxy.cuts["changes"] = where
    ending = Event(id=2, kind="status", data=b"{}")
    posted = [delivery(job_id=job.id)]
    assert await store.end(job, Status.SUCCEEDED, now=NOW, events=[ending], deliveries=posted)
    assert proxy.has_cut
    assert [event.id for event in await other.events(job.id)] == [2]
    assert await take_due(other) == posted


@pytest.mark.parametrize("where", WHERE)
async def test_a_crash_counts_once(
    store: PostgresStore, other: PostgresStore, proxy: Proxy, where: str
) -> None:
    """That of a worker process, which its server has survived."""
    job = await claimed(store)
    proxy.cuts["changes"] = where
    assert await store.put_back(job.suspected(was_alone=True), due_at=NOW, error=None)
    assert proxy.has_cut
    again = await other.claim_suspect(handlers=["/train"], now=NOW)
    assert again is not None
    assert (again.attempts, again.crashes, again.is_suspect) == (2, 1, True)


@pytest.mark.parametrize("where", WHERE)
async def test_a_job_is_put_back_once(
    store: PostgresStore, other: PostgresStore, proxy: Proxy, where: str
) -> None:
    job = await claimed(store)
    proxy.cuts["changes"] = where
    assert await store.put_back(job, due_at=NOW, error=None, counts=False)
    assert proxy.has_cut
    (again,) = await other.claim(handlers=["/train"], limit=1, now=NOW)
    assert (again.attempts, again.attempts_limit) == (2, job.attempts_limit + 1)


@pytest.mark.parametrize("where", WHERE)
async def test_what_was_claimed_runs_once(
    store: PostgresStore, other: PostgresStore, proxy: Proxy, where: str
) -> None:
    await store.submit(new_job())
    proxy.cuts["claims"] = where
    (job,) = await store.claim(handlers=["/train"], limit=1, now=NOW)
    assert proxy.has_cut
    assert job.attempts == 1
    assert not await other.claim(handlers=["/train"], limit=1, now=NOW)
    assert await store.end(job, Status.SUCCEEDED, now=NOW)


@pytest.mark.parametrize("where", WHERE)
async def test_a_webhook_is_taken_once(
    store: PostgresStore, other: PostgresStore, proxy: Proxy, where: str
) -> None:
    await store.add(wanted := delivery())
    proxy.cuts["posts"] = where
    assert await take_due(store) == [wanted]
    assert proxy.has_cut
    assert not await take_due(other)


@pytest.mark.parametrize("where", WHERE)
async def test_an_attempt_at_a_webhook_counts_once(
    store: PostgresStore, other: PostgresStore, proxy: Proxy, where: str
) -> None:
    job = await claimed(store)
    await store.end(job, Status.SUCCEEDED, now=NOW, deliveries=[delivery(job_id=job.id)])
    (taken,) = await take_due(store)
    proxy.cuts["posts"] = where
    await store.tried(taken, attempt(taken, next_at=NOW + 5))
    assert proxy.has_cut
    assert len(await other.attempts_of(job.id)) == 1
    (again,) = await take_due(other, now=NOW + 5)
    assert again.attempts == 1


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("where", WHERE)
async def test_what_was_claimed_while_the_database_went_away_is_given_back(
    store: PostgresStore, other: PostgresStore, proxy: Proxy, where: str
) -> None:
    """Otherwise it would be running for ever, and nobody would run it."""
    await store.submit(new_job())
    proxy.cuts["claims"] = where
    proxy.leaves_then = True
    with pytest.raises(StoreFailed):
        await store.claim(handlers=["/train"], limit=1, now=NOW)
    assert proxy.is_away
    proxy.come_back()

    async def again() -> Sequence[StoredJob]:
        try:
            return await store.claim(handlers=["/train"], limit=1, now=store.clock())
        except StoreFailed:
            return ()

    (job,) = await eventually(again)
    assert job.attempts == (2 if where == "after" else 1)
    assert job.attempts_limit == job.attempts  # what nobody ran does not count
    assert not await other.claim(handlers=["/train"], limit=1, now=store.clock())


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("where", WHERE)
async def test_a_webhook_taken_while_the_database_went_away_is_given_back(
    store: PostgresStore, other: PostgresStore, proxy: Proxy, where: str
) -> None:
    await store.add(wanted := delivery())
    proxy.cuts["posts"] = where
    proxy.leaves_then = True
    with pytest.raises(StoreFailed):
        await take_due(store)
    assert proxy.is_away
    proxy.come_back()

    async def again() -> Sequence[object]:
        try:
            return await take_due(store)
        except StoreFailed:
            return ()

    assert await eventually(again) == [wanted]
    assert not await take_due(other)


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("where", WHERE)
async def test_what_is_repeated_after_the_database_was_away_happens_once(
    store: PostgresStore, other: PostgresStore, proxy: Proxy, where: str
) -> None:
    """An end, an attempt at a webhook and events are stored over and over until they are."""
    job = await claimed(store)
    ending = Event(id=2, kind="status", data=b"{}")
    posted = [delivery(job_id=job.id)]
    proxy.cuts["changes"] = where
    proxy.leaves_then = True
    with pytest.raises(StoreFailed):
        await store.end(job, Status.SUCCEEDED, now=NOW, events=[ending], deliveries=posted)
    assert proxy.is_away
    proxy.come_back()

    async def end() -> bool:
        try:
            return await store.end(
                job, Status.SUCCEEDED, now=NOW, events=[ending], deliveries=posted
            )
        except StoreFailed:
            return False

    assert await eventually(end)
    (taken,) = await take_due(store)
    proxy.has_cut.clear()
    proxy.cuts["posts"] = where
    proxy.leaves_then = True
    made = attempt(taken, next_at=NOW + 5)
    with pytest.raises(StoreFailed):
        await store.tried(taken, made)
    assert proxy.is_away
    proxy.come_back()

    async def tried() -> bool:
        try:
            await store.tried(taken, made)
        except StoreFailed:
            return False
        return True

    await eventually(tried)
    assert [event.id for event in await other.events(job.id)] == [2]
    assert len(await other.attempts_of(job.id)) == 1
    (again,) = await take_due(other, now=NOW + 5)
    assert again.attempts == 1


async def test_a_doubtful_commit_is_settled_before_the_next_one(
    store: PostgresStore, other: PostgresStore, proxy: Proxy
) -> None:
    """What is submitted meanwhile waits, and everything is in the order of its submission."""
    proxy.cuts["changes"] = "after"
    first, second, third = [new_job() for _ in range(3)]
    submitting = [asyncio.create_task(store.submit(first))]
    await asyncio.sleep(0)
    submitting += [asyncio.create_task(store.submit(one)) for one in (second, third)]
    await asyncio.gather(*submitting)
    found = await other.claim(handlers=["/train"], limit=9, now=NOW)
    assert [job.id for job in found] == [first.id, second.id, third.id]


async def test_a_commit_that_was_found_not_to_have_happened_never_happens(
    store: PostgresStore, other: PostgresStore, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database may have stood still, and hear of it only later."""
    monkeypatch.setattr(lane, "END_SESSION", "SELECT %s, %s")  # as where it is not allowed
    await store.submit(new_job())
    proxy.cuts["claims"] = "late"
    assert not await store.claim(handlers=["/train"], limit=1, now=NOW)  # it is still locked
    assert proxy.has_cut
    proxy.release()
    (job,) = await eventually(lambda: store.claim(handlers=["/train"], limit=1, now=NOW))
    assert job.attempts == 1
    assert not await other.claim(handlers=["/train"], limit=1, now=NOW)


async def test_a_commit_of_which_the_database_never_hears_holds_up_nothing(
    store: PostgresStore, other: PostgresStore, proxy: Proxy
) -> None:
    """The network has swallowed it, and the database keeps the connection and all its locks."""
    job = await claimed(store)
    proxy.cuts["changes"] = "half"
    async with asyncio.timeout(1):
        assert await store.end(job, Status.SUCCEEDED, now=NOW)
    assert proxy.has_cut
    found = await other.get(job.id)
    assert found is not None
    assert found.status is Status.SUCCEEDED


async def test_a_write_that_is_cancelled_holds_up_nothing(
    store: PostgresStore, proxy: Proxy
) -> None:
    """What it took is given back."""
    await store.add(wanted := delivery())
    proxy.be_silent()
    taking = asyncio.create_task(take_due(store))
    await asyncio.sleep(0.05)
    taking.cancel()
    proxy.come_back()
    with pytest.raises(asyncio.CancelledError):
        await taking
    assert await take_due(store) == [wanted]


async def test_connections_that_were_lost_while_idle_fail_nothing(
    store: PostgresStore, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A firewall or a restart may have ended them."""
    attempt, under_way = store._database.attempt, 0

    async def counted(*args: Any, **options: Any) -> Any:
        nonlocal under_way
        under_way += 1
        try:
            return await attempt(*args, **options)
        finally:
            under_way -= 1

    async def lose_while_idle() -> None:
        # A server says each second that it is there; it would lose two in a row.
        while under_way:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.001)
        proxy.cut()

    monkeypatch.setattr(store._database, "attempt", counted)
    await claimed(store)
    await lose_while_idle()
    job = await store.submit(new_job())
    await lose_while_idle()
    assert [one.id for one in await store.claim(handlers=["/train"], limit=9, now=NOW)] == [job.id]
    await lose_while_idle()
    assert not await take_due(store)
    await lose_while_idle()
    assert len(await store.find(limit=9)) == 2
    assert store.fault is None
