"""The stores as state machines: jobs follow their rules whatever happens, in whatever order."""

import asyncio
import shutil
import tempfile
from collections import Counter
from collections.abc import Coroutine
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from support.jobs import NOW, attempt, delivery, new_job
from support.postgres_servers import Servers, eventually

from potassium.errors import IdempotencyKeyReused
from potassium.jobs.memory_store import MemoryStore
from potassium.jobs.model import Event, Status, StoredJob
from potassium.jobs.postgres.store import PostgresStore
from potassium.jobs.sqlite.store import SqliteStore
from potassium.jobs.store import PRIORITY_STEP, JobStore
from potassium.webhooks.model import Delivery, Full

T = TypeVar("T")

HANDLERS = ["/a", "/b"]
ENDS = [Status.SUCCEEDED, Status.FAILED, Status.CANCELLED]
RECEIVERS = st.tuples(st.sampled_from(["a.test", "a.test:1", "b.test"]), st.booleans())
PICK = st.integers(0, 100)


class Stores(RuleBasedStateMachine):
    """Random submits, claims, ends and restarts, checked against a plain dictionary.

    ``seen`` has each job in every state that somebody got: a writer may know an old one.
    """

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.now = NOW
        self.jobs: dict[str, StoredJob] = {}
        self.told: dict[str, list[int]] = {}
        self.seen: list[StoredJob] = []
        self.ends: Counter[tuple[str, int]] = Counter()
        self.deliveries: dict[str, Delivery] = {}
        self.taken: dict[str, Delivery] = {}
        self.left: list[str] = []
        self.store: JobStore = self.make()
        self.do(self.store.open())

    def make(self) -> JobStore:
        return MemoryStore()

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    def teardown(self) -> None:
        self.do(self.store.close())
        self.runner.close()

    def set(self, job: StoredJob) -> None:
        self.jobs[job.id] = job
        self.seen.append(job)

    def line(self, handlers: list[str]) -> list[StoredJob]:
        """Return the queued jobs in the order in which they would run."""
        queued = [job for job in self.jobs.values() if job.status is Status.QUEUED]
        return sorted(
            (job for job in queued if job.handler in handlers),
            key=lambda job: (job.seq + (2 - job.priority) * PRIORITY_STEP, job.seq),
        )

    def may_change(self, job: StoredJob, *statuses: Status) -> bool:
        current = self.jobs.get(job.id)
        return (
            current is not None
            and current.status in statuses
            and (current.status, current.attempts) == (job.status, job.attempts)
        )

    def is_made(self, job: StoredJob, status: Status) -> bool:
        """Return whether the store takes a change for one that it has made already."""
        return False

    def due(self, moment: float | None) -> float | None:
        """Return what of a moment a store has to tell."""
        return moment

    def event(self, job: StoredJob, *, is_kept: bool) -> Event:
        known = self.told.get(job.id, [])
        if is_kept:
            known.append(len(known) + 1)
            return Event(id=len(known), kind="status", data=b"{}")
        return Event(id=1000, kind="status", data=b"stale")

    @rule(
        handler=st.sampled_from(HANDLERS),
        priorities=st.lists(st.integers(0, 2), min_size=1, max_size=4),
        life=st.sampled_from([None, None, 3.0]),
    )
    def submit(self, handler: str, priorities: list[int], life: float | None) -> None:
        expires_at = None if life is None else self.now + life
        wanted = [
            new_job(handler=handler, priority=each, created_at=self.now, expires_at=expires_at)
            for each in priorities
        ]

        async def submit() -> list[StoredJob]:
            return await asyncio.gather(*map(self.store.submit, wanted))

        for job, stored in zip(wanted, self.do(submit()), strict=True):
            assert (stored.id, stored.status) == (job.id, Status.QUEUED)
            self.told[job.id] = []
            self.set(stored)

    @rule(key=st.sampled_from("kl"), fingerprint=st.sampled_from([b"1", b"2"]))
    def submit_by_key(self, key: str, fingerprint: bytes) -> None:
        job = new_job(
            handler="/a", idempotency_key=key, fingerprint=fingerprint, created_at=self.now
        )
        known = next((each for each in self.jobs.values() if each.idempotency_key == key), None)
        try:
            stored = self.do(self.store.submit(job))
        except IdempotencyKeyReused:
            assert known is not None
            assert known.fingerprint != fingerprint
            return
        if known is None:
            assert stored.id == job.id
            self.told[job.id] = []
            self.set(stored)
        else:
            assert stored == known.light
            assert known.fingerprint == fingerprint

    @rule(
        handlers=st.sampled_from([HANDLERS, HANDLERS[:1], HANDLERS[1:]]),
        limit=st.integers(1, 3),
    )
    def claim(self, handlers: list[str], limit: int) -> None:
        expected = [
            replace(
                job,
                status=Status.RUNNING,
                attempts=job.attempts + 1,
                started_at=self.now,
                progress=None,
                message=None,
            )
            for job in self.line(handlers)
            if not job.is_suspect
            and job.due_at <= self.now
            and (job.expires_at is None or job.expires_at > self.now)
        ][:limit]
        claimed = self.do(self.store.claim(handlers=handlers, limit=limit, now=self.now))
        assert list(claimed) == expected
        for job in claimed:
            self.set(job)

    @rule(handlers=st.sampled_from([HANDLERS, HANDLERS[:1], HANDLERS[1:]]))
    def claim_suspect(self, handlers: list[str]) -> None:
        suspects = [job for job in self.line(handlers) if job.is_suspect]
        claimed = self.do(self.store.claim_suspect(handlers=handlers, now=self.now))
        assert claimed == next((job.claimed(self.now) for job in suspects), None)
        if claimed is not None:
            self.set(claimed)

    @precondition(lambda self: self.seen)
    @rule(
        which=PICK,
        is_recent=st.booleans(),
        status=st.sampled_from(ENDS),
        tells=st.lists(RECEIVERS, max_size=2),
    )
    def end(
        self, which: int, is_recent: bool, status: Status, tells: list[tuple[str, bool]]
    ) -> None:
        job = self.pick(which, is_recent=is_recent)
        is_kept = self.may_change(job, Status.QUEUED, Status.RUNNING)
        event = self.event(job, is_kept=is_kept)
        posted = [
            delivery(job_id=job.id, due_at=self.now, url=f"https://{host}/", is_guarded=is_guarded)
            for host, is_guarded in tells
        ]
        output = (b"12", "text/csv", 2) if status is Status.SUCCEEDED else (None, None, None)
        ended = self.do(
            self.store.end(
                job,
                status,
                now=self.now,
                output=output[0],
                output_type=output[1],
                events=[event],
                deliveries=posted,
            )
        )
        assert ended == (is_kept or self.is_made(job, status))
        if is_kept:
            self.ends[job.id, job.attempts] += 1
            self.deliveries |= {each.id: each for each in posted}
            current = self.jobs[job.id]
            progress = current.progress if job.progress is None else job.progress
            self.set(
                replace(
                    current,
                    status=status,
                    finished_at=self.now,
                    output=output[0],
                    output_type=output[1],
                    output_size=output[2],
                    error=None,
                    crashes=job.crashes,
                    is_suspect=job.is_suspect,
                    progress=progress,
                )
            )

    @precondition(lambda self: self.seen)
    @rule(
        which=PICK,
        is_recent=st.booleans(),
        wait=st.sampled_from([0.0, 2.0]),
        has_crashed=st.booleans(),
    )
    def put_back(self, which: int, is_recent: bool, wait: float, has_crashed: bool) -> None:
        job = self.pick(which, is_recent=is_recent)
        job = (
            replace(job, crashes=job.crashes + 1, is_suspect=True) if has_crashed else job.cleared()
        )
        is_kept = self.may_change(job, Status.RUNNING)
        event = self.event(job, is_kept=is_kept)
        due_at = self.now + wait
        did = self.do(self.store.put_back(job, due_at=due_at, error=b"e", events=[event]))
        assert did == (is_kept or self.is_made(job, Status.QUEUED))
        if is_kept:
            current = self.jobs[job.id]
            self.set(
                replace(
                    current,
                    status=Status.QUEUED,
                    due_at=due_at,
                    error=b"e",
                    expires_at=None,
                    crashes=job.crashes,
                    is_suspect=job.is_suspect,
                )
            )

    @precondition(lambda self: self.seen)
    @rule(which=PICK, is_recent=st.booleans())
    def retry(self, which: int, is_recent: bool) -> None:
        job = self.pick(which, is_recent=is_recent)
        is_kept = self.may_change(job, Status.FAILED)
        event = self.event(job, is_kept=is_kept)
        retry = self.store.retry(job, attempts_limit=9, now=self.now, events=[event])
        assert is_kept == self.do(retry)
        if is_kept:
            self.ends[job.id, job.attempts] -= 1
            self.set(
                replace(
                    self.jobs[job.id],
                    status=Status.QUEUED,
                    attempts_limit=9,
                    due_at=self.now,
                    finished_at=None,
                    expires_at=None,
                )
            )

    @precondition(lambda self: self.seen)
    @rule(which=PICK, is_recent=st.booleans(), progress=st.sampled_from([None, 0.5]))
    def note(self, which: int, is_recent: bool, progress: float | None) -> None:
        job = self.pick(which, is_recent=is_recent)
        is_kept = self.may_change(job, Status.RUNNING)
        event = self.event(job, is_kept=is_kept)
        self.do(self.store.note(job, progress=progress, message=None, events=[event]))
        if is_kept and progress is not None:
            self.set(replace(self.jobs[job.id], progress=progress))

    @rule(seconds=st.sampled_from([0.5, 1.0, 2.5]))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def expire(self) -> None:
        expected = {
            job.id
            for job in self.line(HANDLERS)
            if job.expires_at is not None and job.expires_at <= self.now
        }
        overdue = self.do(self.store.overdue(now=self.now, limit=1000))
        assert {job.id for job in overdue} == expected
        for job in overdue:
            assert self.do(self.store.end(job, Status.EXPIRED, now=self.now))
            self.ends[job.id, job.attempts] += 1
            self.set(
                replace(job, status=Status.EXPIRED, finished_at=self.now, output=None, error=None)
            )

    @rule()
    def delete(self) -> None:
        undone = {each.job_id for each in self.deliveries.values() if each.due_at is not None}
        gone = [
            job.id
            for job in self.jobs.values()
            if job.finished_at is not None and job.finished_at < self.now and job.id not in undone
        ]
        assert self.do(self.store.delete_ended(before=self.now, limit=1000)) == len(gone)
        for job_id in gone:
            del self.jobs[job_id], self.told[job_id]
            assert self.do(self.store.get(job_id)) is None
        self.deliveries = {
            key: each for key, each in self.deliveries.items() if each.job_id in self.jobs
        }
        self.taken = {key: each for key, each in self.taken.items() if key in self.deliveries}

    @rule(limit=st.integers(1, 3), is_guarded=st.booleans())
    def take(self, limit: int, is_guarded: bool) -> None:
        waiting = [
            each
            for each in self.deliveries.values()
            if each.id not in self.taken and each.is_guarded == is_guarded
        ]
        due = [each for each in waiting if each.due_at is not None and each.due_at <= self.now]
        first = {
            host: min(each.due_at or 0.0 for each in due if each.host == host)
            for host in {each.host for each in due}
        }
        side: dict[str, Any] = {"is_guarded": is_guarded, "full": Full()}
        got = self.do(self.store.take_due(now=self.now, limit=limit, **side))
        owners = {each.owner for each in due}
        assert len(got) == len({each.owner for each in got}) == min(limit, len(owners))
        for each in got:
            assert each == self.deliveries[each.id]
            assert each.due_at == first[each.host]
            self.taken[each.id] = each
        if not got:
            later = [each.due_at for each in waiting if each.due_at is not None]
            assert self.do(self.store.next_due(**side)) == min(later, default=None)

    @precondition(lambda self: self.taken)
    @rule(which=PICK, wait=st.sampled_from([None, 1.0]))
    def tried(self, which: int, wait: float | None) -> None:
        each = self.taken.pop(sorted(self.taken)[which % len(self.taken)])
        next_at = None if wait is None else self.now + wait
        self.do(self.store.tried(each, attempt(each, next_at=next_at, at=self.now)))
        kept = self.deliveries[each.id]
        self.deliveries[each.id] = kept.tried(None if kept.due_at is None else next_at)

    @precondition(lambda self: self.deliveries)
    @rule(which=PICK)
    def stop(self, which: int) -> None:
        stopped = list(self.deliveries.values())[which % len(self.deliveries)]
        self.do(self.store.stop(stopped))
        for key, each in self.deliveries.items():
            if all(
                getattr(each, name) == getattr(stopped, name)
                for name in ("job_id", "url", "is_guarded")
            ):
                self.deliveries[key] = replace(each, due_at=None)

    def pick(self, which: int, *, is_recent: bool) -> StoredJob:
        """Return a job: as it is if ``is_recent``, or as it once was, preferably a lost claim."""
        if is_recent and self.jobs:
            return list(self.jobs.values())[which % len(self.jobs)]
        stale = [job for job in self.seen if self.is_lost(job)]
        return (stale or self.seen)[which % len(stale or self.seen)]

    def is_lost(self, job: StoredJob) -> bool:
        """Return whether the status is unchanged, but the job has been claimed again."""
        current = self.jobs.get(job.id)
        return (
            current is not None and current.status is job.status and current.attempts > job.attempts
        )

    @invariant()
    def is_as_expected(self) -> None:
        newest = sorted(self.jobs.values(), key=lambda job: -job.seq)
        found = self.do(self.store.find(limit=1000))
        assert list(found) == [job.light for job in newest]
        counts = Counter(job.status for job in newest)
        for status in Status:
            assert self.do(self.store.count(status)) == counts[status]
        for number, job in enumerate(self.line(HANDLERS[:1]), start=1):
            assert self.do(self.store.position(job)) == number
        queued = self.line(HANDLERS)
        next_job = self.do(self.store.next_job(HANDLERS))
        due_at = min((job.due_at for job in queued if not job.is_suspect), default=None)
        assert self.due(next_job) == self.due(due_at)

    @invariant()
    def each_claim_ends_at_most_once(self) -> None:
        assert max(self.ends.values(), default=0) <= 1

    @invariant()
    def what_was_told_is_kept(self) -> None:
        for job_id, told in self.told.items():
            assert [event.id for event in self.do(self.store.events(job_id))] == told
        tries = Counter[str | None]()
        for each in self.deliveries.values():
            tries[each.job_id] += each.attempts
        for job_id in self.jobs:
            assert len(self.do(self.store.attempts_of(job_id))) == tries[job_id]

    @invariant()
    def what_was_left_behind_is_known(self) -> None:
        left = [
            job.light
            for job in sorted(self.jobs.values(), key=lambda job: job.seq)
            if job.status is Status.RUNNING and f"{job.id} {job.attempts}" in self.left
        ]
        assert list(self.do(self.store.left_behind())) == ([left] if left else [])


class SqliteStores(Stores):
    """The same for a store in a file, whose process dies now and then."""

    def make(self) -> JobStore:
        self.folder = Path(tempfile.mkdtemp())
        self.generation = 0
        return SqliteStore(self.folder / "0" / "jobs.db")

    def teardown(self) -> None:
        super().teardown()
        shutil.rmtree(self.folder)

    @rule(is_crash=st.booleans())
    def reopen(self, is_crash: bool) -> None:
        path = self.folder / str(self.generation)
        if is_crash:
            self.generation += 1
            path = Path(shutil.copytree(path, self.folder / str(self.generation)))
        self.do(self.store.close())
        self.store = SqliteStore(path / "jobs.db")
        self.do(self.store.open())
        self.taken = {}
        running = (job for job in self.jobs.values() if job.status is Status.RUNNING)
        self.left = [f"{job.id} {job.attempts}" for job in running]


async def _has_another_id(store: PostgresStore, before: str) -> bool:
    return store._server.id != before


class PostgresStores(Stores):
    """The same for several servers on one schema, which take turns, stand still and are killed."""

    def make(self) -> JobStore:
        self.servers = Servers()
        self.claimants: dict[str, str] = {}  # the id of the server by job and attempt
        self.takers: dict[str, JobStore] = {}
        self.heirs: dict[str, PostgresStore] = {}  # by the id of who has lost its lease
        store = PostgresStore(str(self.servers.options.url), self.servers.options)
        self.servers.opened.append(store)
        return store

    def teardown(self) -> None:
        self.do(self.servers.close())
        self.runner.close()

    @property
    def server(self) -> PostgresStore:
        assert isinstance(self.store, PostgresStore)
        return self.store

    def set(self, job: StoredJob) -> None:
        super().set(job)
        if job.status is Status.RUNNING:
            self.claimants.setdefault(f"{job.id} {job.attempts}", self.server._server.id)

    def is_made(self, job: StoredJob, status: Status) -> bool:
        """Return whether the same server has made the same change: its answer may be lost."""
        current = self.jobs.get(job.id)
        claimant = self.claimants.get(f"{job.id} {job.attempts}")
        return (
            job.status is Status.RUNNING
            and current is not None
            and (current.status, current.attempts) == (status, job.attempts)
            and claimant == self.server._server.id
        )

    def due(self, moment: float | None) -> float | None:
        """Return when to look; among those that are due, it does not matter which one is next."""
        return None if moment is None else max(moment, self.now)

    @rule(is_new=st.booleans(), which=PICK)
    def go_to_another_server(self, is_new: bool, which: int) -> None:
        """Let another server do what follows."""
        opened = self.servers.opened
        if is_new and len(opened) < 3:
            self.store = self.do(self.servers.one())
        else:
            self.store = opened[which % len(opened)]

    @rule(is_killed=st.booleans())
    def lose(self, is_killed: bool) -> None:
        """All others stand still until this one has inherited from them, or are killed."""
        heir = self.server
        others = [store for store in self.servers.opened if store is not heir]
        ids = [store._server.id for store in others]

        async def lose() -> None:
            for store in others:
                await (self.servers.kill if is_killed else self.servers.freeze)(store)
            await heir.left_behind()
            await heir.left_behind()  # what they had inherited themselves
            for store, before in zip(others, ids, strict=True):
                if not is_killed:
                    self.servers.thaw(store)
                    await eventually(partial(_has_another_id, store, before))

        self.do(lose())
        self.heirs |= dict.fromkeys([*ids, *self.heirs], heir) if others else {}
        self.taken = {key: one for key, one in self.taken.items() if self.takers[key] is heir}

    @rule(limit=st.integers(1, 3), is_guarded=st.booleans())
    def take(self, limit: int, is_guarded: bool) -> None:
        Stores.take(self, limit=limit, is_guarded=is_guarded)
        self.takers = {key: self.takers.get(key, self.store) for key in self.taken}

    @precondition(lambda self: self.taken)
    @rule(which=PICK, wait=st.sampled_from([None, 1.0]))
    def tried(self, which: int, wait: float | None) -> None:
        here = self.store
        self.store = self.takers[sorted(self.taken)[which % len(self.taken)]]
        Stores.tried(self, which=which, wait=wait)
        self.store = here
        self.takers = {key: self.takers[key] for key in self.taken}

    @invariant()
    def what_was_left_behind_is_known(self) -> None:
        left: dict[str, list[StoredJob]] = {}
        for job in sorted(self.jobs.values(), key=lambda job: job.seq):
            claimant = self.claimants.get(f"{job.id} {job.attempts}", "")
            if job.status is Status.RUNNING and self.heirs.get(claimant) is self.store:
                left.setdefault(claimant, []).append(job.light)
        assert self.do(self.store.left_behind()) == [left[one] for one in sorted(left)]


TestMemoryStores = Stores.TestCase
TestMemoryStores.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestSqliteStores = SqliteStores.TestCase
TestSqliteStores.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
TestPostgresStores = PostgresStores.TestCase
TestPostgresStores.settings = settings(max_examples=5, stateful_step_count=20, deadline=None)
