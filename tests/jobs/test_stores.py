"""What every store of jobs promises."""

import asyncio
from dataclasses import fields, replace
from typing import Any

import pytest
from support.jobs import NOW, attempt, delivery, new_job, take_due

from potassium.errors import IdempotencyKeyReused
from potassium.jobs.model import Event, NewJob, Status, StoredJob
from potassium.jobs.store import PRIORITY_STEP, JobStore

HANDLERS = ["/train"]


async def claim(store: JobStore, *, limit: int = 1, now: float = NOW) -> list[StoredJob]:
    return list(await store.claim(handlers=HANDLERS, limit=limit, now=now))


async def failed(store: JobStore) -> StoredJob:
    """Return a job that has failed."""
    job = await store.submit(new_job())
    (running,) = await claim(store)
    await store.end(running, Status.FAILED, now=NOW, error=b"{}")
    ended = await store.get(job.id)
    assert ended is not None
    return ended


async def test_a_job_is_kept_as_it_was_submitted(store: JobStore) -> None:
    """Everything that was given is returned, and the job is queued."""
    job = new_job(
        body=b"\x00\xff",
        headers=[("accept", "*/*"), ("x-a", "\xe9")],
        request_line="GET /train?a=1",
        priority=2,
        attempts_limit=3,
        expires_at=NOW + 5.5,
        webhook_url="https://a.test/",
        idempotency_key="k",
        fingerprint=b"\x01",
    )
    returned = await store.submit(job)
    assert await store.get(job.id) == returned.light
    (kept,) = await claim(store)
    given = {field.name: getattr(job, field.name) for field in fields(NewJob)}
    given["headers"] = tuple(job.headers)
    assert {name: getattr(kept, name) for name in given} == given
    assert (returned.status, returned.seq, returned.attempts) == (Status.QUEUED, 1, 0)


async def test_an_unknown_job_is_none(store: JobStore) -> None:
    """An id that was never submitted has no job and no events."""
    assert await store.get("nothing") is None
    assert list(await store.events("nothing")) == []


async def test_jobs_run_in_the_order_of_submission(store: JobStore) -> None:
    """The job submitted first is claimed first."""
    submitted = [(await store.submit(new_job())).id for _ in range(5)]
    claimed = [job.id for job in await claim(store, limit=2)]
    claimed += [job.id for job in await claim(store, limit=9)]
    assert claimed == submitted


async def test_a_claimed_job_runs(store: JobStore) -> None:
    """A claim counts the attempt, records when it began, and is visible at once."""
    await store.submit(new_job(body=b"body"))
    (job,) = await claim(store, now=NOW + 1)
    assert (job.status, job.attempts, job.started_at) == (Status.RUNNING, 1, NOW + 1)
    assert job.body == b"body"
    assert await store.get(job.id) == job.light
    assert await claim(store) == []


async def test_simultaneous_claims_share_no_job(store: JobStore) -> None:
    """Each of many claims at once gets its own jobs."""
    for _ in range(10):
        await store.submit(new_job())
    claims = await asyncio.gather(*(claim(store, limit=3) for _ in range(5)))
    ids = [job.id for jobs in claims for job in jobs]
    assert len(ids) == len(set(ids)) == 10


async def test_only_jobs_of_the_named_handlers_are_claimed(store: JobStore) -> None:
    """A job of another handler stays queued; among several handlers, the first job is next."""
    other = await store.submit(new_job(handler="/other"))
    ours = await store.submit(new_job())
    assert [job.id for job in await claim(store, limit=5)] == [ours.id]
    third = await store.submit(new_job())
    both = await store.claim(handlers=["/train", "/other"], limit=5, now=NOW)
    assert [job.id for job in both] == [other.id, third.id]


async def test_a_higher_priority_overtakes(store: JobStore) -> None:
    """High goes before normal, and normal before low."""
    ids = [(await store.submit(new_job(priority=priority))).id for priority in (0, 1, 2)]
    assert [job.id for job in await claim(store, limit=3)] == ids[::-1]


async def test_a_low_priority_is_overtaken_by_a_bounded_number(store: JobStore) -> None:
    """It counts as submitted ``PRIORITY_STEP`` jobs later, before the job submitted there."""
    low = await store.submit(new_job(priority=0))
    for _ in range(PRIORITY_STEP + 5):
        await store.submit(new_job(priority=1))
    order = [job.id for job in await claim(store, limit=PRIORITY_STEP + 6)]
    assert order.index(low.id) == PRIORITY_STEP - 1


async def test_a_job_that_has_expired_is_not_claimed(store: JobStore) -> None:
    """From ``expires_at`` on, a queued job is overdue instead."""
    job = await store.submit(new_job(expires_at=NOW + 10))
    await store.submit(new_job())
    assert list(await store.overdue(now=NOW + 9.9, limit=5)) == []
    overdue = await store.overdue(now=NOW + 10, limit=5)
    assert [(each.id, each.body) for each in overdue] == [(job.id, b"")]  # there may be hundreds
    assert job.id not in [each.id for each in await claim(store, limit=5, now=NOW + 10)]


async def test_a_job_put_back_waits_and_has_its_old_place(store: JobStore) -> None:
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


async def test_a_clock_that_goes_back_claims_nothing_early(store: JobStore) -> None:
    """A job that was found due at a later time is still not claimed before its time."""
    await store.submit(new_job(created_at=NOW + 100))
    await store.claim(handlers=HANDLERS, limit=0, now=NOW + 200)
    assert await claim(store, now=NOW + 50) == []
    assert len(await claim(store, now=NOW + 100)) == 1


async def test_no_job_is_next_where_none_is_queued(store: JobStore) -> None:
    """Jobs of other handlers, and running ones, do not count."""
    assert await store.next_job(HANDLERS) is None
    await store.submit(new_job(handler="/other"))
    await store.submit(new_job())
    assert await store.next_job(["/nobody", *HANDLERS]) == NOW
    await claim(store)
    assert await store.next_job(HANDLERS) is None


async def test_the_end_of_a_job_is_kept(store: JobStore) -> None:
    """Status, time, output, last events and deliveries are stored together."""
    await store.submit(new_job())
    (running,) = await claim(store)
    event = Event(id=1, kind="status", data=b'{"status": "succeeded"}')
    tells = delivery(job_id=running.id)
    assert await store.end(
        running, Status.SUCCEEDED, now=NOW + 2, output=b"[1]", events=[event], deliveries=[tells]
    )
    job = await store.get(running.id)
    assert job is not None
    assert (job.status, job.finished_at, job.error) == (Status.SUCCEEDED, NOW + 2, None)
    assert await store.output(job.id) == b"[1]"
    assert list(await store.events(running.id)) == [event]
    assert list(await take_due(store, limit=5)) == [tells]


async def test_a_job_ends_once(store: JobStore) -> None:
    """Of two ends at once, one has no effect, and its events and deliveries are not stored."""
    await store.submit(new_job())
    (running,) = await claim(store)
    events = [Event(id=1, kind="status", data=b"1"), Event(id=2, kind="status", data=b"2")]
    first, second = await asyncio.gather(
        store.end(running, Status.SUCCEEDED, now=NOW, events=events[:1], deliveries=[delivery()]),
        store.end(running, Status.CANCELLED, now=NOW, events=events[1:], deliveries=[delivery()]),
    )
    assert (first, second) == (True, False)
    assert list(await store.events(running.id)) == events[:1]
    assert len(await take_due(store, limit=5)) == 1


@pytest.mark.parametrize("status", [Status.SUCCEEDED, Status.FAILED, Status.CANCELLED])
async def test_a_job_that_has_ended_does_not_end_again(store: JobStore, status: Status) -> None:
    """This holds even for a caller that knows that it has ended."""
    job = await store.submit(new_job())
    (running,) = await claim(store)
    await store.end(running, status, now=NOW)
    ended = await store.get(job.id)
    assert ended is not None
    assert not await store.end(ended, Status.EXPIRED, now=NOW + 1)
    assert await store.get(job.id) == ended


async def test_a_queued_job_can_end(store: JobStore) -> None:
    """It is cancelled or expires in the queue, and no longer counts in any position."""
    job = await store.submit(new_job())
    after = await store.submit(new_job())
    assert await store.end(job, Status.CANCELLED, now=NOW)
    assert await store.position(after) == 1
    assert [each.id for each in await claim(store, limit=5)] == [after.id]


async def test_who_lost_a_claim_changes_nothing(store: JobStore) -> None:
    """After a job was put back and claimed again, the first claimant's writes have no effect."""
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


async def test_a_failed_job_is_queued_again_by_hand(store: JobStore) -> None:
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


async def test_only_a_failed_job_is_queued_again_by_hand(store: JobStore) -> None:
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


async def test_a_job_retried_by_hand_does_not_expire(store: JobStore) -> None:
    """It had begun in time, and somebody wants it now."""
    await store.submit(new_job(expires_at=NOW + 1))
    (running,) = await claim(store)
    await store.end(running, Status.FAILED, now=NOW)
    job = await store.get(running.id)
    assert job is not None
    await store.retry(job, attempts_limit=2, now=NOW + 5)
    assert list(await store.overdue(now=NOW + 5, limit=1)) == []
    assert [each.id for each in await claim(store, now=NOW + 5)] == [job.id]


async def test_progress_and_message_are_kept(store: JobStore) -> None:
    """A value that is not reported again stays as it was."""
    await store.submit(new_job())
    (running,) = await claim(store)
    await store.note(running, progress=0.25, message=None)
    await store.note(running, progress=None, message="half way")
    job = await store.get(running.id)
    assert job is not None
    assert (job.progress, job.message) == (0.25, "half way")


async def test_events_are_read_from_any_on(store: JobStore) -> None:
    """``after`` and ``limit`` choose among the events of one job."""
    await store.submit(new_job())
    (running,) = await claim(store)
    events = [Event(id=number, kind="chunk", data=b"%d" % number) for number in range(1, 6)]
    await store.note(running, progress=None, message=None, events=events[:3])
    await store.put_back(running, due_at=NOW, error=None, events=events[3:])
    assert list(await store.events(running.id)) == events
    assert list(await store.events(running.id, after=2, limit=2)) == events[2:4]


async def test_jobs_are_found_newest_first(store: JobStore) -> None:
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


async def test_the_place_in_line_is_known(store: JobStore) -> None:
    """It counts the jobs of the same handler that go before."""
    first = await store.submit(new_job())
    await store.submit(new_job(handler="/other"))
    second = await store.submit(new_job())
    high = await store.submit(new_job(priority=2))
    assert [await store.position(job) for job in (high, first, second)] == [1, 2, 3]
    await claim(store)
    assert await store.position(second) == 2


async def test_jobs_are_counted_by_status(store: JobStore) -> None:
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


async def test_one_idempotency_key_is_one_job(store: JobStore) -> None:
    """Of many submits at once, one is kept, and all return it."""
    jobs = await asyncio.gather(
        *(store.submit(new_job(idempotency_key="k", fingerprint=b"1")) for _ in range(10))
    )
    assert len({job.id for job in jobs}) == 1
    assert await store.count(Status.QUEUED) == 1
    await claim(store)
    again = await store.submit(new_job(idempotency_key="k", fingerprint=b"1"))
    assert (again.id, again.status) == (jobs[0].id, Status.RUNNING)


async def test_a_key_with_other_content_is_refused(store: JobStore) -> None:
    """The job that the key names stays, and jobs submitted at the same time are kept."""
    await store.submit(new_job(idempotency_key="k", fingerprint=b"1"))
    outcomes = await asyncio.gather(
        store.submit(new_job()),
        store.submit(new_job(idempotency_key="k", fingerprint=b"2")),
        store.submit(new_job(idempotency_key="l", fingerprint=b"2")),
        return_exceptions=True,
    )
    assert [type(outcome) for outcome in outcomes] == [StoredJob, IdempotencyKeyReused, StoredJob]


async def test_the_same_key_of_another_handler_is_another_job(store: JobStore) -> None:
    """A key names a job of one handler."""
    await store.submit(new_job(idempotency_key="k", fingerprint=b"1"))
    await store.submit(new_job(idempotency_key="k", fingerprint=b"2", handler="/other"))
    assert await store.count(Status.QUEUED) == 2


async def test_a_key_is_free_when_its_job_was_deleted(store: JobStore) -> None:
    """The key then names a new job."""
    job = await store.submit(new_job(idempotency_key="k", fingerprint=b"1"))
    await store.end(job, Status.CANCELLED, now=NOW)
    assert (await store.submit(new_job(idempotency_key="k", fingerprint=b"1"))).id == job.id
    await store.delete_ended(before=NOW + 1, limit=1)
    assert (await store.submit(new_job(idempotency_key="k", fingerprint=b"2"))).id != job.id


async def test_a_key_that_is_known_is_found(store: JobStore) -> None:
    """A job is found by its handler and its key, and nothing is stored by looking for it."""
    new = new_job(idempotency_key="k", fingerprint=b"1")
    assert await store.known(new) is None
    stored = await store.submit(new)
    assert await store.known(replace(new, id="other")) == stored.light
    for other in (replace(new, handler="/other"), replace(new, idempotency_key="l")):
        assert await store.known(other) is None
    with pytest.raises(IdempotencyKeyReused):
        await store.known(replace(new, fingerprint=b"2"))
    assert await store.count(Status.QUEUED) == 1


async def test_ended_jobs_are_deleted_with_what_belongs_to_them(store: JobStore) -> None:
    """Jobs that ended before the given time are deleted, oldest first, up to the limit."""
    jobs = [await store.submit(new_job()) for _ in range(4)]
    for number, job in enumerate(jobs[:3]):
        tells = delivery(job_id=job.id)
        event = Event(id=1, kind="status", data=b"{}")
        await store.end(job, Status.CANCELLED, now=NOW + number, events=[event], deliveries=[tells])
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


async def test_a_job_with_deliveries_to_come_is_not_deleted(store: JobStore) -> None:
    """It can be deleted once they have arrived or were given up."""
    job = await store.submit(new_job())
    tells = delivery(job_id=job.id)
    await store.end(job, Status.CANCELLED, now=NOW, deliveries=[tells])
    (taken,) = await take_due(store)
    assert await store.delete_ended(before=NOW + 1, limit=9) == 0
    await store.tried(taken, attempt(taken, next_at=None))
    assert await store.delete_ended(before=NOW + 1, limit=9) == 1


async def test_within_one_process_no_claim_is_lost(store: JobStore) -> None:
    """No claim needs to be renewed, and no claimant could have died."""
    await store.submit(new_job())
    (running,) = await claim(store)
    assert list(await store.keep([running.id])) == []
    assert list(await store.left_behind()) == []


async def test_jobs_are_counted_by_handler(store: JobStore) -> None:
    """The counts show which handlers have waiting jobs."""
    await store.submit(new_job())
    await store.submit(new_job())
    await store.submit(new_job(handler="/other"))
    assert await store.count(Status.QUEUED, "/train") == 2
    assert await store.count(Status.QUEUED, "/none") == 0
    assert sorted(await store.waiting()) == ["/other", "/train"]
    await claim(store, limit=2)
    assert list(await store.waiting()) == ["/other"]


async def test_a_census_has_each_state_of_each_handler_and_the_oldest_jobs(store: JobStore) -> None:
    """Ages are those of the oldest queued job and the oldest running one; deliveries are none."""
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


async def test_an_attempt_that_does_not_count_leaves_as_many(store: JobStore) -> None:
    """An attempt that a stop cut off may be repeated."""
    job = await store.submit(new_job(attempts_limit=2))
    for counts in (False, True):
        (running,) = await claim(store)
        await store.put_back(running, due_at=NOW, error=None, counts=counts)
    kept = await store.get(job.id)
    assert kept is not None
    assert (kept.attempts, kept.attempts_limit) == (2, 3)


async def suspect(store: JobStore, **values: Any) -> StoredJob:
    """Return a queued suspect."""
    job = await store.submit(new_job(**values))
    (running,) = await store.claim(handlers=[job.handler], limit=1, now=NOW)
    crashed = replace(running, crashes=1, is_suspect=True)
    assert await store.put_back(crashed, due_at=NOW, error=None)
    kept = await store.get(job.id)
    assert kept is not None
    assert (kept.status, kept.crashes, kept.is_suspect) == (Status.QUEUED, 1, True)
    return kept


async def test_a_suspect_is_claimed_only_as_such(store: JobStore) -> None:
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


async def test_suspects_have_the_order_of_the_others(store: JobStore) -> None:
    """The one submitted first is next, unless the priority of another is higher."""
    jobs = [
        await suspect(store),
        await suspect(store, handler="/other"),
        await suspect(store, priority=2),
    ]
    claimed = [await store.claim_suspect(handlers=["/train", "/other"], now=NOW) for _ in range(3)]
    assert [job and job.id for job in claimed] == [jobs[2].id, jobs[0].id, jobs[1].id]


async def test_a_suspect_has_its_place_in_line(store: JobStore) -> None:
    """It counts in the positions of those behind it."""
    job = await suspect(store)
    other = await store.submit(new_job())
    assert [await store.position(each) for each in (job, other)] == [1, 2]


async def test_a_suspect_is_due_whatever_the_clock_says(store: JobStore) -> None:
    """It may have been put back at a later time, before the clock was set back."""
    await suspect(store)
    assert await store.claim_suspect(handlers=HANDLERS, now=NOW - 100) is not None


async def test_a_suspect_is_cleared_by_whoever_stores_its_outcome(store: JobStore) -> None:
    """Put back without suspicion, it is back in line."""
    await suspect(store)
    running = await store.claim_suspect(handlers=HANDLERS, now=NOW)
    assert running is not None
    assert await store.put_back(running.cleared(), due_at=NOW, error=b"e")
    (again,) = await claim(store)
    assert (again.id, again.crashes, again.is_suspect) == (running.id, 0, False)


async def test_a_suspect_that_failed_and_is_retried_by_hand_is_still_one(store: JobStore) -> None:
    """Nobody knows that it does no harm."""
    job = await suspect(store)
    assert await store.end(job, Status.FAILED, now=NOW)
    ended = await store.get(job.id)
    assert ended is not None
    assert (ended.crashes, ended.is_suspect) == (1, True)
    assert await store.retry(ended, attempts_limit=5, now=NOW)
    assert await claim(store) == []
    assert await store.claim_suspect(handlers=HANDLERS, now=NOW) is not None


async def test_the_last_event_is_known(store: JobStore) -> None:
    """The store returns its id, or 0 if there is none."""
    job = await store.submit(new_job())
    assert await store.last_event(job.id) == 0
    (running,) = await claim(store)
    events = [Event(id=number, kind="chunk", data=b"1") for number in (2, 3)]
    await store.note(running, progress=None, message=None, events=events)
    assert await store.last_event(job.id) == 3
    assert await store.last_event("none") == 0


async def test_the_same_key_of_another_owner_is_another_job(store: JobStore) -> None:
    """An idempotency key means something only to whose it is."""
    same = {"idempotency_key": "k", "fingerprint": b"1"}
    mine = await store.submit(new_job(owner="a", **same))
    other = await store.submit(new_job(owner="b", **{**same, "fingerprint": b"2"}))
    nobodys = await store.submit(new_job(**same))
    again = await store.submit(new_job(owner="a", **same))
    assert (again.id, again.owner) == (mine.id, "a")
    assert len({mine.id, other.id, nobodys.id}) == 3


async def test_a_key_of_an_owner_is_free_when_its_job_was_deleted(store: JobStore) -> None:
    """Also while another owner uses the same key."""
    job = await store.submit(new_job(owner="a", idempotency_key="k"))
    await store.submit(new_job(owner="b", idempotency_key="k"))
    assert await store.end(job, Status.CANCELLED, now=NOW)
    await store.delete_ended(before=NOW + 1, limit=9)
    assert (await store.submit(new_job(owner="a", idempotency_key="k"))).id != job.id


async def test_an_owner_finds_its_own_jobs(store: JobStore) -> None:
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
