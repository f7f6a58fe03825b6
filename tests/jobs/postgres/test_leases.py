"""The leases of servers: who loses what it has claimed, who takes it up, and who keeps it."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

from support.jobs import NOW, delivery, new_job, take_due
from support.postgres_proxy import Proxy
from support.postgres_servers import Servers, eventually

from potassium.errors import StoreFailed
from potassium.jobs.model import Event, Status, StoredJob
from potassium.jobs.postgres.store import PostgresStore

HANDLERS = ["/train"]


async def claimed(store: PostgresStore, count: int = 1) -> list[StoredJob]:
    await asyncio.gather(*(store.submit(new_job()) for _ in range(count)))
    jobs = await store.claim(handlers=HANDLERS, limit=count, now=NOW)
    assert len(jobs) == count
    return list(jobs)


async def left(store: PostgresStore) -> list[list[str]]:
    """Return the ids of the jobs that are left behind for a server, by who left them."""
    return [[job.id for job in some] for some in await store.left_behind()]


async def lose_all(servers: Servers, store: PostgresStore, heir: PostgresStore) -> None:
    """Let a store stand still until another one has inherited from it."""
    await servers.freeze(store)
    await heir.left_behind()
    (row,) = await servers.sql("SELECT heir FROM servers WHERE id = %s", store._server.id)
    assert row["heir"] == heir._server.id


async def test_what_a_killed_server_ran_is_left_for_the_others(servers: Servers) -> None:
    """One of them, all of it together; the jobs of a server that lives are not among it."""
    dead, living = await servers.one(), await servers.one()
    jobs = await claimed(dead, 3)
    (kept,) = await claimed(living)
    await servers.kill(dead)
    assert await _of_any(living, await servers.one()) == [[job.id for job in jobs]]
    assert await living.end(kept, Status.SUCCEEDED, now=NOW)


async def _of_any(*stores: PostgresStore) -> list[list[str]]:
    both = await asyncio.gather(*map(left, stores))
    return [some for one in both for some in one]


async def test_each_dead_server_has_one_heir(servers: Servers) -> None:
    """Also if all look at the same moment."""
    heirs = [await servers.one() for _ in range(3)]
    dead = [await servers.one() for _ in range(3)]
    jobs = [await claimed(one, 2) for one in dead]
    for one in dead:
        await servers.kill(one)
    found = await _of_any(*heirs)
    assert sorted(found) == sorted([one.id for one in some] for some in jobs)


async def test_a_server_that_lives_keeps_its_jobs(servers: Servers) -> None:
    """For as long as it renews its lease."""
    server, other = await servers.one(), await servers.one()
    (job,) = await claimed(server)
    await servers.end_lease(other)  # all others are in touch
    for _ in range(3):
        assert not await left(other)
    before = await _lease_until(servers, server)
    await eventually(lambda: _is_renewed(servers, server, before))
    assert await server.end(job, Status.SUCCEEDED, now=NOW)


async def _lease_until(servers: Servers, store: PostgresStore) -> datetime:
    (row,) = await servers.sql("SELECT lease_until FROM servers WHERE id = %s", store._server.id)
    until: datetime = row["lease_until"]
    return until


async def _is_renewed(servers: Servers, store: PostgresStore, before: datetime) -> bool:
    return await _lease_until(servers, store) > before


async def test_a_server_that_has_just_begun_inherits_nothing(servers: Servers) -> None:
    """The database may have been away, and the others be about to renew their leases."""
    dead = await servers.one()
    await claimed(dead)
    await servers.freeze(dead)
    new = await servers.one()
    assert not await left(new)
    await servers.end_lease()
    assert await left(new)


async def test_nobody_inherits_from_the_living_after_the_database_was_away(
    servers: Servers, proxy: Proxy
) -> None:
    """The leases of all have ended then, and none of them has died."""
    one, two = await servers.one(proxy.url), await servers.one(proxy.url)
    jobs = [await claimed(store) for store in (one, two)]
    proxy.go_away()
    await servers.end_lease(one, two)
    proxy.come_back()
    async with asyncio.timeout(10):
        while one.fault is not None or two.fault is not None:
            await _look(one, two)
    for _ in range(5):
        await _look(one, two)
    for store, (job,) in zip((one, two), jobs, strict=True):
        assert await store.end(job, Status.SUCCEEDED, now=NOW)
        assert not any(name == "lost_claims" for name, _ in servers.ears[store].told)


async def _look(*stores: PostgresStore) -> None:
    for store in stores:
        with suppress(StoreFailed):
            assert not await left(store)


async def test_nobody_inherits_after_the_database_stood_still(
    servers: Servers, proxy: Proxy
) -> None:
    """No connection was lost, and the first to be answered finds that all leases have ended."""
    one, two = await servers.one(proxy.url), await servers.one(proxy.url)
    jobs = [await claimed(store) for store in (one, two)]
    proxy.be_silent()
    looking = [asyncio.create_task(left(store)) for store in (one, two)]
    await servers.end_lease(one, two)
    proxy.come_back()
    assert await asyncio.gather(*looking) == [[], []]
    await _look(one, two)
    for store, (job,) in zip((one, two), jobs, strict=True):
        assert await store.end(job, Status.SUCCEEDED, now=NOW)


async def test_a_server_that_alone_is_cut_off_loses_its_jobs(
    servers: Servers, proxy: Proxy
) -> None:
    """The others cannot know whether it has died."""
    alone, other = await servers.one(proxy.url), await servers.one()
    (job,) = await claimed(alone)
    proxy.go_away()
    await servers.end_lease(alone)
    assert await left(other) == [[job.id]]
    proxy.come_back()
    await servers.ears[alone].hears("lost_claims")


async def test_a_server_that_stood_still_loses_its_jobs_and_goes_on(servers: Servers) -> None:
    """Under a new id, and what it claims from then on is its own."""
    server, heir = await servers.one(), await servers.one()
    (job,) = await claimed(server)
    before = server._server.id
    await lose_all(servers, server, heir)
    assert await left(heir) == [[job.id]]
    servers.thaw(server)
    await servers.ears[server].hears("lost_claims")
    assert server._server.id != before
    (own,) = await claimed(server)
    assert await left(heir) == [[job.id]]
    assert await server.end(own, Status.SUCCEEDED, now=NOW)


async def test_a_lost_job_can_still_be_ended_until_it_is_taken_up(servers: Servers) -> None:
    """What was computed is not thrown away without need."""
    server, heir = await servers.one(), await servers.one()
    (job,) = await claimed(server)
    await lose_all(servers, server, heir)
    assert await server.end(job, Status.SUCCEEDED, now=NOW, output=b"1")
    assert not await left(heir)
    assert await heir.output(job.id) == b"1"


async def test_a_lost_job_that_was_taken_up_can_no_longer_be_changed(servers: Servers) -> None:
    """By the server that has lost it, in whatever way."""
    server, heir = await servers.one(), await servers.one()
    (job,) = await claimed(server)
    await lose_all(servers, server, heir)
    assert await heir.put_back(job, due_at=NOW, error=None)
    (again,) = await heir.claim(handlers=HANDLERS, limit=1, now=heir.clock())
    late = Event(id=9, kind="status", data=b"{}")
    assert not await server.end(job, Status.SUCCEEDED, now=NOW, events=[late])
    assert not await server.put_back(job, due_at=NOW, error=None, events=[late])
    await server.note(job, progress=0.5, message="late", events=[late])
    found = await heir.get(job.id)
    assert found == again.light
    assert not await heir.events(job.id)
    assert await heir.end(again, Status.SUCCEEDED, now=NOW)


async def test_a_server_that_has_lost_its_lease_gets_nothing(servers: Servers) -> None:
    """Nobody would take that up."""
    server, heir = await servers.one(), await servers.one()
    await server.submit(new_job())
    await server.add(wanted := delivery())
    await lose_all(servers, server, heir)
    assert not await server.claim(handlers=HANDLERS, limit=1, now=NOW)
    assert not await take_due(server)
    assert await heir.claim(handlers=HANDLERS, limit=1, now=NOW)
    assert await take_due(heir) == [wanted]


async def test_what_was_claimed_while_the_lease_was_lost_is_not_run(servers: Servers) -> None:
    """The answer to a claim may come after all has been lost; the heir takes it up."""
    server, heir = await servers.one(), await servers.one()
    await server.submit(job := new_job())
    run = server._claims.run

    async def slowly(*args: Any, **options: Any) -> Any:
        claimed: Any = await run(*args, **options)
        await lose_all(servers, server, heir)
        servers.thaw(server)
        await servers.ears[server].hears("lost_claims")
        return claimed

    server._claims.run = slowly  # type: ignore[method-assign]
    assert not await server.claim(handlers=HANDLERS, limit=1, now=NOW)
    assert await left(heir) == [[job.id]]


async def test_what_an_heir_has_inherited_goes_to_its_own_heir(servers: Servers) -> None:
    """With what it ran itself."""
    first, second, third = [await servers.one() for _ in range(3)]
    (one,), (two,) = await claimed(first), await claimed(second)
    await lose_all(servers, first, second)
    assert await left(second) == [[one.id]]
    await servers.kill(second)

    await left(third)
    assert sorted(await left(third)) == sorted([[one.id], [two.id]])


async def test_what_was_inherited_stays_with_its_heir(servers: Servers) -> None:
    """However long it takes to take it up, as long as the heir lives."""
    dead, heir, other = [await servers.one() for _ in range(3)]
    (job,) = await claimed(dead)
    await lose_all(servers, dead, heir)
    await servers.end_lease(dead)
    for _ in range(3):
        assert not await left(other)
        assert await left(heir) == [[job.id]]


async def test_a_server_that_stands_still_in_a_transaction_holds_up_nobody(
    servers: Servers,
) -> None:
    """Its heir ends its connections: they may have locked what it ran, and the webhooks of all."""
    server, heir = await servers.one(), await servers.one()
    (job,) = await claimed(server)
    await server.add(wanted := delivery())
    stands = asyncio.Event()

    async def stand_still(connection: Any) -> tuple[None, bool]:
        await connection.execute("SELECT FROM jobs FOR UPDATE")
        lock = "SELECT pg_advisory_xact_lock(hashtextextended(%s, 2))"
        cursor = await connection.execute(lock, (server._database.schema,))
        await cursor.fetchall()
        stands.set()
        await asyncio.Event().wait()
        return None, True

    standing = asyncio.create_task(server._changes.run(stand_still))
    await stands.wait()
    await lose_all(servers, server, heir)
    assert await left(heir) == [[job.id]]
    async with asyncio.timeout(1):
        assert await heir.put_back(job, due_at=NOW, error=None)
        assert await take_due(heir) == [wanted]
    await servers.stop([standing])


async def test_a_server_that_goes_on_keeps_its_connections(servers: Servers) -> None:
    """Whoever inherits what it has lost once, from whoever has inherited that."""
    server, heir, next_heir = [await servers.one() for _ in range(3)]
    await lose_all(servers, server, heir)
    servers.thaw(server)
    await servers.ears[server].hears("lost_claims")
    await server.find(limit=1)
    before = await _sessions(servers, server)
    await lose_all(servers, heir, next_heir)
    await next_heir.left_behind()
    (row,) = await servers.sql("SELECT count(*) FROM servers WHERE heir = %s", next_heir._server.id)
    assert row["count"] == 2
    await server.find(limit=1)
    assert before <= await _sessions(servers, server)


async def _sessions(servers: Servers, store: PostgresStore) -> set[int]:
    rows = await servers.sql(
        "SELECT pid FROM pg_stat_activity WHERE application_name = %s", store._database.name
    )
    return {row["pid"] for row in rows}


async def test_a_server_that_stops_leaves_what_it_ran_at_once(servers: Servers) -> None:
    """Its lease ends with it."""
    server, other = await servers.one(), await servers.one()
    (job,) = await claimed(server)
    servers.opened.remove(server)
    await server.close()
    await servers.end_lease()
    assert await left(other) == [[job.id]]


async def test_servers_that_are_gone_are_forgotten(servers: Servers) -> None:
    """Once nothing refers to them, and they can have nothing under way any more."""
    server, heir = await servers.one(), await servers.one()
    (job,) = await claimed(server)
    gone = server._server.id
    await lose_all(servers, server, heir)
    await servers.kill(server)

    async def rows(table: str, column: str) -> Sequence[object]:
        await heir.left_behind()
        found = f"SELECT 1 FROM {table} WHERE {column} = %s"  # noqa: S608 - names of ours
        return await servers.sql(found, gone)

    assert await rows("servers", "id")
    past = "UPDATE servers SET lease_until = lease_until - interval '1 h' WHERE id = %s"
    await servers.sql(past, gone)
    assert await rows("servers", "id")  # it still runs something
    await heir.end(job, Status.FAILED, now=NOW)
    assert not await rows("servers", "id")
    assert not await rows("commits", "server")
    assert await servers.sql("SELECT 1 FROM commits WHERE server = %s", heir._server.id)


async def test_a_renewal_waits_for_nobody(servers: Servers) -> None:
    """However many connections are in use, the lease is renewed."""
    server = await servers.one()
    asked = [asyncio.create_task(server._rows(b"SELECT pg_sleep(1)")) for _ in range(20)]
    await asyncio.sleep(0.05)
    before = await _lease_until(servers, server)
    await eventually(lambda: _is_renewed(servers, server, before), 0.9)
    await servers.stop(asked)


async def test_the_clock_is_that_of_the_database(servers: Servers) -> None:
    """From the first job on: the clock of one machine may be hours ahead."""
    other = await servers.one()
    store = PostgresStore(str(servers.options.url), servers.options)
    store.clock.ahead += 3600
    await store.open()
    servers.opened.append(store)
    assert abs(store.clock() - other.clock()) < 1
