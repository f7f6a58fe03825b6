"""Jobs that ran when their server died: they run alone until one of them is found to be why."""

import asyncio
import logging

import pytest
from support.crashes import PROBLEM, Server
from support.jobs import NOW

from potassium.jobs.model import Status
from potassium.jobs.outcome import Cancelled, Done, Failed, Outcome


async def test_all_that_ran_at_a_crash_run_again_one_by_one() -> None:
    """In all lanes together, and with no other job beside them: the next crash has one suspect."""
    server = Server()
    await server.submit("a", "b")
    await server.submit("c", handler="/async")
    await server.start()
    assert await server.runs() == {"a", "b", "c"}
    await server.submit("d", "e")
    await server.crash()
    for name in "abc":
        assert await server.runs() == {name}
        await server.next(Done(b"1"))
    assert await server.runs() == {"d", "e"}
    assert await server.statuses("abc") == {Status.SUCCEEDED}
    await server.close()


async def test_the_job_that_ends_the_process_is_found_and_the_others_succeed() -> None:
    """The poison among eight fails at the fourth crash: at one beside them, and three alone."""
    server = Server(places=8)
    await server.submit(*"abcdefg")
    await server.submit("long", handler="/async")
    await server.start()
    crashes = 0
    while (await server.job("d")).status is not Status.FAILED:
        running = await server.runs()
        if "d" in running:
            crashes += 1
            await server.crash()
        else:
            await server.next(Done(b"1"))
    assert crashes == 4
    while await server.runs():
        await server.next(Done(b"1"))
    assert await server.statuses(["a", "b", "c", "e", "f", "g", "long"]) == {Status.SUCCEEDED}
    assert b"interrupted" in ((await server.job("d")).error or b"")
    await server.close()


async def test_a_job_that_always_ran_alone_is_found_at_the_third_crash() -> None:
    """The first crash counts too if no other job ran."""
    server = Server()
    await server.submit("a")
    await server.start()
    for _ in range(3):
        assert await server.runs() == {"a"}
        await server.crash()
    assert (await server.job("a")).status is Status.FAILED
    await server.close()


@pytest.mark.parametrize(
    "outcome",
    [Done(b"1"), Failed(PROBLEM, may_retry=True), Failed(PROBLEM, may_retry=False)],
    ids=["success", "retry", "failure"],
)
async def test_whoever_had_an_outcome_alone_is_cleared(outcome: Outcome) -> None:
    """However it ends: the server has survived it. Its crashes no longer count."""
    server = Server()
    await server.submit("a", attempts=9)
    await server.start()
    await server.crash()
    assert (await server.job("a")).crashes == 1
    await server.next(outcome)
    job = await server.job("a")
    assert (job.crashes, job.is_suspect) == (0, False)
    await server.close()


async def test_a_cancelled_suspect_is_cleared() -> None:
    """It has ended, and the next suspect runs."""
    server = Server()
    await server.submit("a", "b")
    await server.start()
    await server.crash()
    assert server.runner.cancel("a")
    await server.next(Cancelled(PROBLEM))
    assert not (await server.job("a")).is_suspect
    assert await server.runs() == {"b"}
    await server.close()


async def test_a_stop_leaves_a_suspect_as_it_is() -> None:
    """The server survived so far, but the job has no outcome: it goes on alone at the next start.

    The interrupted attempt counts neither as one nor as a crash.
    """
    server = Server()
    await server.submit("a", "b")
    await server.start()
    await server.crash()
    await server.close()
    job = await server.job("a")
    assert (job.status, job.crashes, job.is_suspect) == (Status.QUEUED, 0, True)
    server.store.dead = ()
    await server.start()
    assert await server.runs() == {"a"}
    await server.close()


async def test_kills_make_no_suspect_fail_that_comes_to_an_end() -> None:
    """However often an operator kills the server, only a job that never ends alone is given up."""
    server = Server()
    await server.submit("a", "b")
    await server.start()
    for _ in range(10):
        await server.crash()  # both run
        await server.next(Done(b"1"))
        await server.next(Done(b"1"))
        await server.submit("c", "d")
        server.runner.wake()
        assert await server.runs() == {"c", "d"}
        await server.crash()
        for _ in range(2):
            await server.next(Done(b"1"))
        assert await server.statuses("cd") == {Status.SUCCEEDED}
        await server.store.delete_ended(before=NOW + 1, limit=9)
        await server.submit("a", "b")
        server.runner.wake()
        assert await server.runs() == {"a", "b"}
    await server.close()


async def test_no_suspect_begins_before_the_outcome_of_the_one_before_is_stored() -> None:
    """Otherwise a crash would find two of them."""
    server = Server()
    await server.submit("a", "b")
    await server.start()
    stored = asyncio.Event()
    await server.crash()
    end = server.store.end

    async def slow_end(*args: object, **options: object) -> bool:
        await stored.wait()
        return await end(*args, **options)

    server.store.end = slow_end  # type: ignore[method-assign]
    await server.next(Done(b"1"))
    assert await server.runs() == {"a"}
    stored.set()
    assert await server.runs() == {"b"}
    await server.close()


async def test_a_suspect_retried_by_hand_waits_until_no_other_job_runs() -> None:
    """And no other begins before it: a job that ended the server three times may do so again."""
    server = Server(places=1)
    await server.submit("a")
    await server.start()
    for _ in range(3):
        await server.crash()
    await server.submit("b", "c")
    server.runner.wake()
    assert await server.runs() == {"b"}
    await server.store.retry(await server.job("a"), attempts_limit=9, now=NOW)
    server.runner.wake(for_suspect=True)
    assert await server.runs() == {"b"}
    await server.next(Done(b"1"))
    assert await server.runs() == {"a"}
    await server.next(Done(b"1"))
    assert await server.runs() == {"c"}
    await server.close()


async def test_a_store_that_fails_keeps_suspects_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The question for suspects is asked again; until then no other job runs."""
    monkeypatch.setattr("potassium.jobs.runner.RETRY_STORE", 0.001)
    server = Server()
    await server.submit("a", "b")
    await server.start()
    server.store.failures["claim_suspect"] = 2
    await server.crash()
    assert await server.next() == "a"
    assert await server.runs() == {"a"}
    await server.close()


async def test_the_log_names_what_ran_when_the_server_died(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """And, at its end, the job that was why."""
    server = Server()
    await server.submit("a", "b")
    await server.start()
    await server.crash()
    [logged] = caplog.records
    assert logged.levelno == logging.WARNING
    assert logged.getMessage() == (
        "a server died while it ran 2 background jobs, which now run again one by one, "
        "before all others: b, a"
    )
    for _ in range(3):
        await server.crash()
    [failed] = [one for one in caplog.records if one.getMessage().startswith("job a failed")]
    assert failed.getMessage() == (
        "job a failed: interrupted: The server died 3 times while it ran only this job."
    )
    assert {"request_id", "handler", "job_id"} <= vars(failed).keys()
    await server.close()
