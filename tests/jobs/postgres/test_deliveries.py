"""Webhooks of several servers: each is posted by one at a time, and nobody waits behind others."""

import asyncio
from typing import Any

import pytest
from support.jobs import NOW, attempt, delivery, new_job, take_due
from support.postgres_servers import Servers

from potassium.jobs.model import Status
from potassium.jobs.postgres.store import PostgresStore
from potassium.webhooks.model import Delivery, Full


async def take(store: PostgresStore, limit: int = 9) -> list[Delivery]:
    return list(await store.take_due(is_guarded=False, now=NOW, limit=limit, full=Full()))


async def lost(servers: Servers, store: PostgresStore, heir: PostgresStore) -> None:
    """Let a store lose its lease without knowing it."""
    await servers.freeze(store)
    await heir.left_behind()


@pytest.fixture
async def one(servers: Servers) -> PostgresStore:
    return await servers.one()


@pytest.fixture
async def two(servers: Servers) -> PostgresStore:
    return await servers.one()


async def test_each_webhook_is_taken_by_one_server(one: PostgresStore, two: PostgresStore) -> None:
    """However many ask at the same time."""
    wanted = [delivery(url=f"https://{number % 5}.test/") for number in range(40)]
    await asyncio.gather(*map(one.add, wanted))
    taken: list[str] = []

    async def drain(store: PostgresStore) -> None:
        while some := await take(store, limit=3):
            taken.extend(each.id for each in some)

    await asyncio.gather(drain(one), drain(two), drain(one))
    assert sorted(taken) == sorted(each.id for each in wanted)


async def test_owners_take_turns_across_servers(one: PostgresStore, two: PostgresStore) -> None:
    """One who has a thousand due does not hold up one who has a single one."""
    for number in range(6):
        await one.add(delivery(url="https://a.test/", due_at=NOW - 10 + number))
    await two.add(delivery(url="https://b.test/", due_at=NOW - 1))
    first, second = await take(one, limit=1), await take(two, limit=1)
    assert {each.host for each in (*first, *second)} == {"a.test", "b.test"}


async def test_what_a_lost_server_has_taken_is_due_again(
    servers: Servers, one: PostgresStore, two: PostgresStore
) -> None:
    await one.add(wanted := delivery())
    assert await take(one) == [wanted]
    assert not await take(two)
    await lost(servers, one, two)
    await servers.ears[two].hears("posted")
    assert await take(two) == [wanted]


@pytest.mark.parametrize("is_aware", [False, True])
async def test_an_arrival_counts_whoever_has_taken_the_webhook_up(
    servers: Servers, one: PostgresStore, two: PostgresStore, is_aware: bool
) -> None:
    """It must not be posted again."""
    await one.add(wanted := delivery())
    await take(one)
    await lost(servers, one, two)
    await take(two)
    if is_aware:
        servers.thaw(one)
        await servers.ears[one].hears("lost_claims")
    await one.tried(wanted, attempt(wanted, next_at=None))
    await two.tried(wanted, attempt(wanted, next_at=NOW))
    assert await two.undelivered() == 0
    assert not await take_due(two)


@pytest.mark.parametrize("is_aware", [False, True])
async def test_a_failure_does_not_take_a_webhook_from_who_posts_it(
    servers: Servers, one: PostgresStore, two: PostgresStore, is_aware: bool
) -> None:
    """The server that has lost it reports it too late."""
    await one.add(wanted := delivery())
    await take(one)
    await lost(servers, one, two)
    assert await take(two) == [wanted]
    if is_aware:
        servers.thaw(one)
        await servers.ears[one].hears("lost_claims")
    await one.tried(wanted, attempt(wanted, next_at=NOW))
    assert not await take(one)
    assert not await take(two)
    await two.tried(wanted, attempt(wanted, next_at=NOW))
    assert [each.id for each in await take(two)] == [wanted.id]


async def test_a_failure_that_is_reported_late_is_retried_by_whoever_is_there(
    servers: Servers, one: PostgresStore, two: PostgresStore
) -> None:
    """Nobody has taken it up yet: it is due when the report says."""
    await one.add(wanted := delivery())
    await take(one)
    await lost(servers, one, two)
    await one.tried(wanted, attempt(wanted, next_at=NOW + 5))
    assert not await take_due(two, now=NOW + 4)
    assert await two.next_due(is_guarded=False, full=Full()) == NOW + 5
    assert [each.id for each in await take_due(two, now=NOW + 5)] == [wanted.id]


async def test_a_receiver_that_is_gone_gets_nothing_from_any_server(
    one: PostgresStore, two: PostgresStore
) -> None:
    """What another server is about to post is given up when it reports."""
    await one.submit(job := new_job())
    (claimed,) = await one.claim(handlers=["/train"], limit=1, now=NOW)
    posts = [delivery(job_id=job.id) for _ in range(2)]
    await one.end(claimed, Status.SUCCEEDED, now=NOW, deliveries=posts)
    (first,), (second,) = await take(one, limit=1), await take(two, limit=1)
    await one.tried(first, attempt(first, next_at=None))
    await one.stop(first)
    await two.tried(second, attempt(second, next_at=NOW))
    assert await one.undelivered() == 0
    assert len(await one.attempts_of(job.id)) == 2


async def test_a_job_with_a_webhook_under_way_is_kept(
    one: PostgresStore, two: PostgresStore
) -> None:
    """Another server deletes old jobs meanwhile."""
    await one.submit(new_job())
    (job,) = await one.claim(handlers=["/train"], limit=1, now=NOW)
    await one.end(job, Status.SUCCEEDED, now=NOW, deliveries=[delivery(job_id=job.id)])
    (taken,) = await take(one)
    assert await two.delete_ended(before=NOW + 1, limit=9) == 0
    await one.tried(taken, attempt(taken, next_at=None))
    assert await two.delete_ended(before=NOW + 1, limit=9) == 1


async def test_servers_that_take_give_back_and_inherit_at_once_do_not_fail(
    servers: Servers, one: PostgresStore, two: PostgresStore
) -> None:
    """The database may end one of two that wait for each other; it is tried again."""
    wanted = [delivery(url=f"https://{number % 3}.test/") for number in range(30)]
    await asyncio.gather(*map(one.add, wanted))
    arrived: list[str] = []

    async def work(store: PostgresStore) -> None:
        while some := await take(store, limit=5):
            for each in some:
                if each.attempts == 0:
                    await store.tried(each, attempt(each, next_at=NOW))
                else:
                    arrived.append(each.id)
                    await store.tried(each, attempt(each, next_at=None))

    async def inherit() -> None:
        for _ in range(20):
            await servers.end_lease()
            await asyncio.gather(one.left_behind(), two.left_behind())

    calls: list[Any] = [work(one), work(two), inherit()]
    await asyncio.gather(*calls)
    assert sorted(arrived) == sorted(each.id for each in wanted)
