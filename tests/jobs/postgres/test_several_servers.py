"""Several servers submit, claim and end jobs at the same time."""

import asyncio
from typing import Any

import pytest
from support.jobs import NOW, delivery, new_job
from support.postgres_servers import Servers

from potassium.errors import (
    BodyTooLarge,
    IdempotencyKeyReused,
    PotassiumError,
    StoreFailed,
    StoreFull,
)
from potassium.jobs.model import Event, Status, StoredJob
from potassium.jobs.postgres import group
from potassium.jobs.postgres import store as store_module
from potassium.jobs.postgres.changes import Change
from potassium.jobs.store import PRIORITY_STEP

HANDLERS = ["/train"]


async def test_a_key_means_one_job_whichever_server_gets_it(servers: Servers) -> None:
    """Also if all get it at the same moment, and more than once."""
    stores = [await servers.one() for _ in range(3)]
    wanted = [
        (store, new_job(idempotency_key=f"k{key}")) for store in stores for key in (1, 2, 2, 1)
    ]
    got = await asyncio.gather(*(store.submit(job) for store, job in wanted))
    assert len({job.id for job in got}) == 2
    for (_, job), stored in zip(wanted, got, strict=True):
        assert stored.idempotency_key == job.idempotency_key
    assert len(await stores[0].find(limit=99)) == 2


async def test_a_key_with_another_content_is_refused_alone(servers: Servers) -> None:
    """What is stored beside it is stored."""
    one, two = await servers.one(), await servers.one()
    await one.submit(new_job(idempotency_key="k", fingerprint=b"1"))
    good = [new_job() for _ in range(3)]
    bad = new_job(idempotency_key="k", fingerprint=b"2")
    got = await asyncio.gather(*map(two.submit, [*good, bad]), return_exceptions=True)
    assert [type(each) for each in got[3:]] == [IdempotencyKeyReused]
    assert {job.id for job in await one.find(limit=9)} >= {job.id for job in good}


async def test_claims_are_disjoint_and_miss_nothing(servers: Servers) -> None:
    stores = [await servers.one() for _ in range(3)]
    jobs = [new_job() for _ in range(60)]
    await asyncio.gather(*map(stores[0].submit, jobs))
    claimed: list[str] = []

    async def drain(store: Any) -> None:
        while some := await store.claim(handlers=HANDLERS, limit=7, now=NOW):
            claimed.extend(job.id for job in some)

    await asyncio.gather(*map(drain, stores))
    assert sorted(claimed) == sorted(job.id for job in jobs)


@pytest.mark.parametrize("limit", [1, 9])
async def test_the_order_is_that_of_all_servers_together(servers: Servers, limit: int) -> None:
    """By submission, and a level of priority counts as so many jobs; however many are claimed."""
    one, two = await servers.one(), await servers.one()
    first, second = await one.submit(new_job()), await two.submit(new_job())
    low = await one.submit(new_job(priority=0))
    high = await two.submit(new_job(priority=2))
    third = await one.submit(new_job())
    assert PRIORITY_STEP > 5
    claimed: list[StoredJob] = []
    while some := await two.claim(handlers=HANDLERS, limit=limit, now=NOW):
        claimed += some
    assert [job.id for job in claimed] == [high.id, first.id, second.id, third.id, low.id]


async def test_a_job_runs_at_once_however_the_clocks_differ(servers: Servers) -> None:
    """The clock of the server that submits may be ahead by what is not corrected."""
    store = await servers.one()
    await store.submit(job := new_job(created_at=NOW + 0.4))
    (claimed,) = await store.claim(handlers=HANDLERS, limit=1, now=NOW)
    assert claimed.id == job.id


async def test_a_retry_waits_for_its_time_on_every_server(servers: Servers) -> None:
    one, two = await servers.one(), await servers.one()
    await one.submit(new_job())
    (job,) = await one.claim(handlers=HANDLERS, limit=1, now=NOW)
    await one.put_back(job, due_at=NOW + 5, error=b"e")
    assert not await two.claim(handlers=HANDLERS, limit=1, now=NOW + 4.9)
    assert await two.next_job(HANDLERS) == NOW + 5
    (again,) = await two.claim(handlers=HANDLERS, limit=1, now=NOW + 5)
    assert (again.attempts, again.error) == (2, b"e")


async def test_a_job_expires_once(servers: Servers) -> None:
    """Whichever server notices it."""
    stores = [await servers.one() for _ in range(2)]
    await stores[0].submit(job := new_job(expires_at=NOW + 1))
    found = [await store.overdue(now=NOW + 2, limit=9) for store in stores]
    ended = await asyncio.gather(
        *(
            store.end(
                one,
                Status.EXPIRED,
                now=NOW + 2,
                events=[Event(id=2, kind="status", data=b"{}")],
                deliveries=[delivery(job_id=job.id)],
            )
            for store, (one,) in zip(stores, found, strict=True)
        )
    )
    assert sorted(ended) == [False, True]
    assert await stores[0].undelivered() == 1


async def test_old_jobs_are_deleted_once(servers: Servers) -> None:
    """By all servers together, with everything that is theirs."""
    stores = [await servers.one() for _ in range(3)]
    jobs = await asyncio.gather(*(stores[0].submit(new_job()) for _ in range(40)))
    await asyncio.gather(*(stores[0].end(job, Status.CANCELLED, now=NOW) for job in jobs))
    deleted = await asyncio.gather(
        *(store.delete_ended(before=NOW + 1, limit=100) for store in stores)
    )
    assert sum(deleted) == 40
    assert await stores[1].count(Status.CANCELLED) == 0
    assert not await servers.sql("SELECT 1 FROM events")


async def test_every_server_learns_that_there_is_room_again(servers: Servers) -> None:
    """A full store is emptied by others, and this one would never ask again."""
    one, two = await servers.one(max_queued=2), await servers.one(max_queued=2)
    jobs = [await one.submit(new_job()) for _ in range(2)]
    with pytest.raises(StoreFull):
        await one.submit(new_job())
    for job in jobs:
        await two.end(job, Status.CANCELLED, now=NOW)
    await one.upkeep()
    assert await one.submit(new_job())


async def test_a_server_that_starts_knows_that_the_store_is_full(servers: Servers) -> None:
    one = await servers.one(max_queued=1)
    await one.submit(new_job())
    with pytest.raises(StoreFull):
        await (await servers.one(max_queued=1)).submit(new_job())


async def test_the_counts_are_right_whoever_sums_up(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each statement adds rows, which are summed up while others add more."""
    monkeypatch.setattr(store_module, "MOST_TALLIES", 1)
    stores = [await servers.one() for _ in range(3)]

    async def work(store: Any) -> None:
        for _ in range(5):
            job = await store.submit(new_job())
            await store.upkeep()
            await store.end(job, Status.CANCELLED, now=NOW)

    await asyncio.gather(*map(work, stores), *(store.upkeep() for store in stores))
    for store in stores:
        await store.upkeep()
        assert await store.count(Status.CANCELLED) == 15
        assert await store.count(Status.QUEUED) == 0
    assert len(await servers.sql("SELECT 1 FROM tallies")) == 1


async def test_two_changes_of_one_job_at_once_are_made_in_order(servers: Servers) -> None:
    """A report and the end of a job, or two ends of which only one can be."""
    store = await servers.one()
    await store.submit(new_job())
    (job,) = await store.claim(handlers=HANDLERS, limit=1, now=NOW)
    events = [Event(id=number, kind="chunk", data=b"%d" % number) for number in (2, 3, 4)]
    *_, ended, again = await asyncio.gather(
        store.note(job, progress=0.5, message=None, events=events[:1]),
        store.note(job, progress=0.6, message="m", events=events[1:2]),
        store.end(job, Status.SUCCEEDED, now=NOW, events=events[2:]),
        store.end(job, Status.FAILED, now=NOW),
    )
    assert (ended, again) == (True, False)
    assert list(await store.events(job.id)) == events
    found = await store.get(job.id)
    assert found is not None
    assert (found.status, found.progress, found.message) == (Status.SUCCEEDED, 0.6, "m")


async def test_what_is_invalid_fails_alone(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is stored in the same transaction does not fail with it."""
    store = await servers.one()
    good = [new_job() for _ in range(3)]
    bad = new_job(priority=100_000)
    got = await asyncio.gather(*map(store.submit, [*good, bad]), return_exceptions=True)
    assert [isinstance(each, StoreFailed) for each in got] == [False, False, False, True]
    assert len(await store.find(limit=9)) == 3
    assert store.fault is None


async def test_what_is_too_large_for_an_index_fails_alone(servers: Servers) -> None:
    """That is not a fault of the database, and must not keep others from using it."""
    store = await servers.one()
    noise = "".join(chr(0x4E00 + (number * 7919) % 20000) for number in range(5000))
    got = await asyncio.gather(
        store.submit(new_job(owner=noise)), store.submit(good := new_job()), return_exceptions=True
    )
    assert isinstance(got[0], StoreFailed)
    assert store.fault is None
    assert (await store.find(limit=9))[0].id == good.id


async def test_servers_that_lock_one_another_go_on(servers: Servers) -> None:
    """The database ends one of two transactions that wait for each other; it is repeated."""
    one, two = await servers.one(), await servers.one()
    jobs = [await one.submit(new_job()) for _ in range(2)]
    at_barrier = asyncio.Barrier(2)
    is_first = {one: True, two: True}

    def crossing(store: Any, order: list[int]) -> Any:
        async def change(connection: Any) -> tuple[None, bool]:
            for number, which in enumerate(order):
                statement = "UPDATE jobs SET due_at = due_at + 1 WHERE seq = %s RETURNING seq"
                await (await connection.execute(statement, (jobs[which].seq,))).fetchall()
                if number == 0 and is_first[store]:
                    is_first[store] = False
                    await at_barrier.wait()
            return None, True

        return store._changes.run(change)

    await asyncio.gather(crossing(one, [0, 1]), crossing(two, [1, 0]))
    rows = await servers.sql("SELECT due_at FROM jobs")
    assert [row["due_at"] for row in rows] == [NOW + 2, NOW + 2]


async def test_a_transaction_holds_a_bounded_number_of_bytes(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However much waits; one that is larger goes alone."""
    monkeypatch.setattr(group, "MOST_AT_ONCE", 1000)
    store = await servers.one()
    sizes: list[int] = []
    transact = group.Group._transact

    async def watched(self: Any, connection: Any, wanted: Any) -> Any:
        sizes.append(sum(len(one.body) for one in wanted if not isinstance(one, Change)))
        return await transact(self, connection, wanted)

    monkeypatch.setattr(group.Group, "_transact", watched)
    await asyncio.gather(*(store.submit(new_job(body=b"x" * 400)) for _ in range(7)))
    await asyncio.gather(*(store.submit(new_job(body=b"x" * size)) for size in (400, 5000, 400)))
    assert max(size for size in sizes if size < 5000) <= 1000
    assert 5000 in sizes
    assert sum(sizes) == 7 * 400 + 5800


async def test_a_large_input_and_a_large_output_are_kept(servers: Servers) -> None:
    """As large as they may be."""
    store = await servers.one()
    body = bytes(range(256)) * (store_module.LARGEST_INPUT // 256)
    await store.submit(new_job(body=body))
    (job,) = await store.claim(handlers=HANDLERS, limit=1, now=NOW)
    assert job.body == body
    assert await store.end(job, Status.SUCCEEDED, now=NOW, output=body)
    assert await (await servers.one()).output(job.id) == body
    with pytest.raises(BodyTooLarge) as caught:
        await store.submit(new_job(body=body + b"x"))
    assert caught.value.status == 413


async def test_a_large_value_has_more_time(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection is not cut while it is being sent."""
    from potassium.jobs.postgres import connections  # noqa: PLC0415

    monkeypatch.setattr(connections, "PATIENCE", 0.2)
    monkeypatch.setattr(connections, "SLOWEST", 1000)
    store = await servers.one()
    slow = b"SELECT pg_sleep(0.4)"
    assert await store._rows(slow, size=1000)
    with pytest.raises(StoreFailed):
        await store._rows(slow)


@pytest.mark.parametrize("text", ["nul \0", "half \ud800", "umlaut \xe4", "\xff\x00\x80"])
async def test_any_text_can_be_asked_for_and_stored(servers: Servers, text: str) -> None:
    """What PostgreSQL cannot hold is replaced; the bytes of a request stay as they are."""
    store = await servers.one()
    await store.submit(
        job := new_job(
            owner=text,
            request_id=text,
            idempotency_key=text,
            headers=[("x-any", "".join(map(chr, range(256))))],
            request_line="".join(map(chr, range(256))),
            body=bytes(range(256)),
        )
    )
    again = await store.submit(new_job(owner=text, idempotency_key=text))
    assert again.id == job.id
    assert [one.id for one in await store.find(owner=text, limit=9)] == [job.id]
    (claimed,) = await store.claim(handlers=HANDLERS, limit=1, now=NOW)
    assert (claimed.headers, claimed.request_line, claimed.body) == (
        tuple(job.headers),
        job.request_line,
        job.body,
    )
    await store.note(claimed, progress=0.5, message=text, events=())
    assert await store.end(claimed, Status.SUCCEEDED, now=NOW, output=b"1", output_type=text)
    found = await store.get(job.id)
    assert found is not None
    assert found.message == text
    for ask in (
        store.get(text),
        store.output(text),
        store.events(text),
        store.attempts_of(text),
        store.find(limit=1, after=text),
        store.count(Status.QUEUED, text),
    ):
        assert not await ask
    assert await store.last_event(text) == 0


async def test_what_is_refused_closed_is_refused_with_a_reason(servers: Servers) -> None:
    """A store that is closed is not a fault of the caller's."""
    store = await servers.one()
    await store.close()
    servers.opened.remove(store)
    for ask in (store.submit(new_job()), store.find(limit=1), store.upkeep()):
        with pytest.raises(PotassiumError):
            await ask
