"""What a store promises about new jobs and their idempotency keys."""

import asyncio
import hashlib
import os
from dataclasses import fields, replace

import pytest

from potassium.http.spooled import SpooledBody
from potassium.jobs import IdempotencyKeyReused, Input, JobStore, NewJob, Status, StoredJob
from potassium.jobs.inputs import size_of
from potassium.testing.job_store.promises import Promises
from potassium.testing.job_store.samples import NOW, claim, new_job

__all__ = ["Submissions"]

LARGE = os.urandom(2 * 1024 * 1024)


def _digest(body: Input) -> str:
    """Return a hash of an input: where two of them differ, nobody wants to see all of both."""
    if isinstance(body, bytes):
        return hashlib.sha256(body).hexdigest()
    shared = body.share()
    try:
        return hashlib.sha256(shared.read()).hexdigest()
    finally:
        shared.close()


class Submissions(Promises):
    """What a store promises about new jobs and their idempotency keys."""

    async def test_a_job_is_kept_as_it_was_submitted(self, store: JobStore) -> None:
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

    @pytest.mark.parametrize("is_on_disk", [False, True])
    async def test_a_large_input_is_kept(self, store: JobStore, *, is_on_disk: bool) -> None:
        """However it was given. The caller closes what is on disk as soon as the job is stored."""
        given = SpooledBody.new()
        given.write(LARGE)
        job = await store.submit(new_job(body=given if is_on_disk else LARGE))
        given.close()
        for _ in range(2):
            (running,) = await claim(store)
            assert running.id == job.id
            assert size_of(running.body) == len(LARGE)
            assert _digest(running.body) == _digest(LARGE)
            await store.put_back(running, due_at=NOW, error=None)

    async def test_an_unknown_job_is_none(self, store: JobStore) -> None:
        """An id that was never submitted has no job and no events."""
        assert await store.get("nothing") is None
        assert list(await store.events("nothing")) == []

    async def test_one_idempotency_key_is_one_job(self, store: JobStore) -> None:
        """Of many submits at once, one is kept, and all return it."""
        jobs = await asyncio.gather(
            *(store.submit(new_job(idempotency_key="k", fingerprint=b"1")) for _ in range(10))
        )
        assert len({job.id for job in jobs}) == 1
        assert await store.count(Status.QUEUED) == 1
        await claim(store)
        again = await store.submit(new_job(idempotency_key="k", fingerprint=b"1"))
        assert (again.id, again.status) == (jobs[0].id, Status.RUNNING)

    async def test_a_key_with_other_content_is_refused(self, store: JobStore) -> None:
        """The job that the key names stays, and jobs submitted at the same time are kept."""
        await store.submit(new_job(idempotency_key="k", fingerprint=b"1"))
        outcomes = await asyncio.gather(
            store.submit(new_job()),
            store.submit(new_job(idempotency_key="k", fingerprint=b"2")),
            store.submit(new_job(idempotency_key="l", fingerprint=b"2")),
            return_exceptions=True,
        )
        assert [type(outcome) for outcome in outcomes] == [
            StoredJob,
            IdempotencyKeyReused,
            StoredJob,
        ]

    async def test_the_same_key_of_another_handler_is_another_job(self, store: JobStore) -> None:
        """A key names a job of one handler."""
        await store.submit(new_job(idempotency_key="k", fingerprint=b"1"))
        await store.submit(new_job(idempotency_key="k", fingerprint=b"2", handler="/other"))
        assert await store.count(Status.QUEUED) == 2

    async def test_a_key_is_free_when_its_job_was_deleted(self, store: JobStore) -> None:
        """The key then names a new job."""
        job = await store.submit(new_job(idempotency_key="k", fingerprint=b"1"))
        await store.end(job, Status.CANCELLED, now=NOW)
        assert (await store.submit(new_job(idempotency_key="k", fingerprint=b"1"))).id == job.id
        await store.delete_ended(before=NOW + 1, limit=1)
        assert (await store.submit(new_job(idempotency_key="k", fingerprint=b"2"))).id != job.id

    async def test_a_key_that_is_known_is_found(self, store: JobStore) -> None:
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

    async def test_the_same_key_of_another_owner_is_another_job(self, store: JobStore) -> None:
        """An idempotency key means something only to whose it is."""
        same = {"idempotency_key": "k", "fingerprint": b"1"}
        mine = await store.submit(new_job(owner="a", **same))
        other = await store.submit(new_job(owner="b", **{**same, "fingerprint": b"2"}))
        nobodys = await store.submit(new_job(**same))
        again = await store.submit(new_job(owner="a", **same))
        assert (again.id, again.owner) == (mine.id, "a")
        assert len({mine.id, other.id, nobodys.id}) == 3

    async def test_a_key_of_an_owner_is_free_when_its_job_was_deleted(
        self, store: JobStore
    ) -> None:
        """Also while another owner uses the same key."""
        job = await store.submit(new_job(owner="a", idempotency_key="k"))
        await store.submit(new_job(owner="b", idempotency_key="k"))
        assert await store.end(job, Status.CANCELLED, now=NOW)
        await store.delete_ended(before=NOW + 1, limit=9)
        assert (await store.submit(new_job(owner="a", idempotency_key="k"))).id != job.id
