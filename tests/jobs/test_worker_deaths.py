"""Jobs whose worker process died while the server lives: they count as after a server's death."""

import asyncio
import logging
from typing import Any

import orjson
import pytest
from support.crashes import PROBLEM, Server, settle
from support.job_doubles import FakeTerms, FakeWebhooks
from support.job_runs import FakeLane, FakeWork
from support.jobs import NOW, new_job

from potassium.jobs.follower import Follower
from potassium.jobs.model import Status
from potassium.jobs.outcome import Crashed, Done, Failed
from potassium.jobs.runner import Runner
from potassium.jobs.settlement import Settlement
from potassium.jobs.store import JobStore
from potassium.jobs.watch import Watch


async def new_server(*ids: str, attempts: int = 1, places: int = 4) -> Server:
    server = Server(places, workers=True)
    await server.submit(*ids, attempts=attempts)
    await server.start()
    return server


def code_of(error: bytes | None) -> str:
    return str(orjson.loads(error or b"")["code"])


async def test_a_job_whose_worker_died_runs_again_beside_the_others() -> None:
    """Those of other workers notice nothing: neither those that run, nor those that come."""
    server = await new_server("a", "b")
    a, b = await server.work.next(), await server.work.next()
    await server.die(a)
    job = await server.job("a")
    assert (job.status, job.attempts, job.is_suspect) == (Status.RUNNING, 2, True)
    assert (await server.work.next()).job.is_suspect
    await server.submit("c")
    server.runner.wake()
    assert await server.next() == "c"
    await server.end(b, Done(b"1"))
    assert await server.runs() == {"a", "c"}
    await server.close()


async def test_a_job_that_ends_three_workers_alone_is_interrupted() -> None:
    """It is tried no more, and nothing is left of it that keeps others waiting."""
    server = await new_server("a", "b")
    a, b = await server.work.next(), await server.work.next()
    for crashes in (1, 2):
        await server.die(a)
        assert (await server.job("a")).crashes == crashes
        a = await server.work.next()
    await server.die(a)
    job = await server.job("a")
    assert (job.status, job.attempts, code_of(job.error)) == (Status.FAILED, 3, "interrupted")
    assert "The worker process died 3 times" in orjson.loads(job.error or b"")["detail"]
    assert await server.runs() == {"b"}
    await server.end(b, Done(b"1"))
    await server.close()


async def test_deaths_of_workers_and_of_servers_add_up() -> None:
    """Whichever process dies, the job ran alone."""
    server = await new_server("a")
    await server.crash()
    await server.die(await server.work.next())
    assert (await server.job("a")).crashes == 2
    await server.crash()
    assert (await server.job("a")).status is Status.FAILED
    await server.close()


async def test_as_many_attempts_as_its_handler_has_are_more_deaths() -> None:
    """As with a server."""
    server = await new_server("a", attempts=4)
    for crashes in (1, 2, 3):
        await server.die(await server.work.next())
        assert (await server.job("a")).crashes == crashes
    await server.die(await server.work.next())
    assert (await server.job("a")).status is Status.FAILED
    await server.close()


async def test_of_a_batch_all_become_suspects_and_the_one_at_fault_is_found() -> None:
    """They run one at a time, and the others succeed; a job that was not in it runs beside them."""
    server = await new_server(*"abcdefgh", "other", places=9)
    runs = [await server.work.next() for _ in range(9)]
    batch = [run for run in runs if run.job.id != "other"]
    await server.die(*batch)
    jobs = [await server.job(one) for one in "abcdefgh"]
    assert {(job.is_suspect, job.crashes) for job in jobs} == {(True, 0)}
    ran, deaths = [], 1
    while await server.runs() != {"other"}:
        assert len(await server.runs()) == 2
        run = await server.work.next()
        assert run.job.is_suspect
        if run.job.id == "d":
            deaths += 1
            await server.die(run)
        else:
            ran.append(run.job.id)
            await server.end(run, Done(b"1"))
    assert (sorted(ran), deaths) == (list("abcefgh"), 4)
    assert await server.statuses("abcefgh") == {Status.SUCCEEDED}
    assert code_of((await server.job("d")).error) == "interrupted"
    await server.close()


async def test_no_suspect_begins_before_the_outcome_of_the_one_before_is_stored() -> None:
    """Also if others run beside it."""
    server = await new_server("a", "b")
    stored = asyncio.Event()
    end = server.store.end

    async def slow_end(*args: Any, **options: Any) -> bool:
        await stored.wait()
        return await end(*args, **options)

    await server.die(await server.work.next(), await server.work.next())
    server.store.end = slow_end  # type: ignore[method-assign]
    await server.next(Done(b"1"))
    assert await server.runs() == {"a"}
    stored.set()
    assert await server.runs() == {"b"}
    await server.close()


async def test_a_suspect_that_died_beside_another_job_runs_beside_none() -> None:
    """They may have shared a worker, as streams do: otherwise nobody could tell which it was."""
    server = await new_server("a", "b")
    a, b = await server.work.next(), await server.work.next()
    await server.die(a)
    await server.die(await server.work.next(), beside=1)
    assert (await server.job("a")).crashes == 1
    assert await server.runs() == {"b"}
    await server.submit("c")
    server.runner.wake()
    assert await server.runs() == {"b"}
    await server.end(b, Done(b"1"))
    for crashes in (2, 3):
        assert await server.runs() == {"a"}
        await server.die(await server.work.next())
        assert (await server.job("a")).crashes == crashes
    assert await server.runs() == {"c"}
    await server.close()


async def test_after_a_death_of_the_server_suspects_run_beside_nothing() -> None:
    """A job of a worker may have taken the whole machine's memory."""
    server = await new_server("a", "b")
    await server.crash()
    await server.submit("c")
    server.runner.wake()
    assert await server.runs() == {"a"}
    await server.close()


@pytest.mark.parametrize("outcome", [Done(b"1"), Failed(PROBLEM, may_retry=False)])
async def test_any_outcome_clears_a_job_whose_worker_died(outcome: Done | Failed) -> None:
    server = await new_server("a")
    await server.die(await server.work.next())
    await server.next(outcome)
    job = await server.job("a")
    assert (job.crashes, job.is_suspect) == (0, False)
    await server.close()


async def test_a_job_that_was_asked_to_end_is_cancelled_if_its_worker_dies() -> None:
    """Whoever cancelled it was told that it would end."""
    server = await new_server("a")
    run = await server.work.next()
    assert server.runner.cancel("a")
    await server.die(run)
    assert (await server.job("a")).status is Status.CANCELLED
    await server.close()


async def test_a_job_that_another_server_has_taken_up_is_left_to_it() -> None:
    """The death of its former worker is nothing to it."""
    server = await new_server("a")
    run = await server.work.next()
    server.runner.lose_claims()
    await server.die(run)
    job = await server.job("a")
    assert (job.status, job.attempts, job.crashes) == (Status.RUNNING, 1, 0)
    await server.close()


async def test_clients_see_the_same_as_after_a_death_of_the_server() -> None:
    """In the document and among the events, at each of the three deaths."""
    by_server, by_worker = await new_server("a"), await new_server("a")
    for _ in range(3):
        for server in (by_server, by_worker):
            run = await server.work.next()
            run.began()
            await settle()
            await asyncio.sleep(0.015)  # until the beginning is stored
            await (server.crash() if server is by_server else server.die(run))
        one, two = [await each.job("a") for each in (by_server, by_worker)]
        events = [await each.store.events("a") for each in (by_server, by_worker)]
        assert events[0] == events[1]
        if one.status is Status.FAILED:
            assert code_of(one.error) == code_of(two.error) == "interrupted"
        else:
            assert one == two
    assert two.status is Status.FAILED
    for server in (by_server, by_worker):
        await server.close()


async def test_an_interrupted_job_retried_by_hand_is_still_a_suspect() -> None:
    server = await new_server("a")
    for _ in range(3):
        await server.die(await server.work.next())
    job = await server.job("a")
    assert (job.crashes, job.is_suspect) == (3, True)
    await server.store.retry(job, attempts_limit=9, now=NOW)
    server.runner.wake(for_suspect=True)
    assert (await server.work.next()).job.is_suspect
    await server.close()


async def test_a_store_that_fails_delays_the_next_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    """The crash is counted once the store works."""
    monkeypatch.setattr("potassium.jobs.settlement.RETRY_STORE", 0.001)
    monkeypatch.setattr("potassium.jobs.runner.RETRY_STORE", 0.001)
    server = await new_server("a")
    server.store.failures.update({"put_back": 2, "claim_suspect": 2})
    await server.die(await server.work.next())
    assert (await server.work.next()).job.id == "a"
    assert (await server.job("a")).crashes == 1
    await server.close()


async def test_a_suspect_is_not_forgotten_if_another_server_says_that_there_is_none() -> None:
    """What that says is a moment old, and the worker has died since."""
    server = await new_server("a", "b")
    follower = Follower(server.runner, server.watch, FakeWebhooks())
    follower.queued(suspects=True)
    await server.die(await server.work.next())
    assert await server.runs() == {"b"}
    follower.cleared()
    assert await server.runs() == {"a", "b"}
    await server.close()


async def test_a_suspect_that_may_end_the_server_does_not_run_beside_others() -> None:
    """Such as one of an async handler that another server has left, and that is first in line."""
    server = Server(workers=True)
    await server.submit("left", handler="/async")
    await server.start()
    left = (await server.work.next()).job
    await server.submit("a", "b")
    server.runner.wake()
    a, _ = await server.work.next(), await server.work.next()
    await server.store.put_back(left.suspected(was_alone=False), due_at=NOW, error=None)
    await server.die(a)
    assert (await server.next(Done(b"1")), (await server.job("left")).status) == ("a", "queued")
    server.runner.wake(for_suspect=True)
    server.work.end_all(Done(b"1"))
    assert await server.next() == "left"
    assert await server.runs() == {"left"}
    await server.close()


async def test_who_shares_the_store_may_tell_of_suspects_that_are_known_here() -> None:
    """Other jobs do not wait for these. Once they have run, the store is asked for more."""
    server = await new_server("a", "b", "long")
    follower = Follower(server.runner, server.watch, FakeWebhooks())
    a, b, _ = [await server.work.next() for _ in range(3)]
    await server.die(a, b)
    follower.queued(suspects=True)
    await server.submit("c")
    server.runner.wake()
    assert await server.runs() == {"a", "c", "long"}
    await server.next(Done(b"1"))
    assert (await server.next(Done(b"1")), await server.next(Done(b"1"))) == ("c", "b")
    await server.submit("d")
    server.runner.wake()
    assert await server.runs() == {"long"}
    follower.cleared()
    assert await server.runs() == {"d", "long"}
    await server.close()


async def test_nothing_waits_if_the_suspects_were_all_that_others_told_of() -> None:
    """They said so before the last one had run."""
    server = await new_server("a", "long")
    follower = Follower(server.runner, server.watch, FakeWebhooks())
    a, _ = await server.work.next(), await server.work.next()
    await server.die(a)
    follower.queued(suspects=True)
    follower.cleared()
    await server.next(Done(b"1"))
    await server.submit("b")
    server.runner.wake()
    assert await server.runs() == {"b", "long"}
    await server.close()


async def test_the_log_names_the_job_whose_worker_died(caplog: pytest.LogCaptureFixture) -> None:
    """And, at its end, why it was given up. Its attempts are counted."""
    server = await new_server("a")
    for _ in range(3):
        await server.die(await server.work.next())
    *died, failed = caplog.records
    assert [one.levelno for one in died] == [logging.WARNING] * 2
    assert died[0].getMessage() == (
        "a worker process died while it ran job a, which now runs again alone (attempt 1 of /train)"
    )
    assert failed.getMessage() == (
        "job a failed: interrupted: The worker process died 3 times while it ran only this job."
    )
    assert all({"request_id", "handler", "job_id"} <= vars(one).keys() for one in caplog.records)
    assert server.settlement.attempts == {("/train", "retried"): 2, ("/train", "failed"): 1}
    await server.close()


async def test_a_job_is_given_up_in_every_store(store: JobStore) -> None:
    """And one that was in its batch is not: it is cleared, and the crash leaves no trace of it."""
    work = FakeWork(FakeLane("/train", places=2, has_workers=True))
    settlement = Settlement(
        store, FakeTerms(0.0, lambda _: []), FakeWebhooks(), Watch(9), clock=store.clock
    )
    runner = Runner(store, work, settlement, Watch(9), clock=store.clock)
    for name in ("bad", "good"):
        await store.submit(new_job(id=name, created_at=store.clock()))
    await runner.start()
    for run in [await work.next(), await work.next()]:
        work.end(run, Crashed(PROBLEM, was_alone=False))
    for _ in range(4):
        run = await work.next()
        is_bad = run.job.id == "bad"
        work.end(run, Crashed(PROBLEM, was_alone=True) if is_bad else Done(b"1"))
    await runner.close()
    bad, good = [await store.get(name) for name in ("bad", "good")]
    assert bad is not None
    assert good is not None
    assert (bad.status, bad.attempts, bad.crashes) == (Status.FAILED, 4, 3)
    assert code_of(bad.error) == "interrupted"
    assert (good.status, good.attempts, good.crashes) == (Status.SUCCEEDED, 2, 0)
    told = [orjson.loads(event.data)["status"] for event in await store.events("bad")]
    assert told == ["queued"] * 3 + ["failed"]
