"""Running jobs from claim to end, also with a store that fails."""

import asyncio

import orjson
import pytest
from support.job_doubles import FakeWebhooks
from support.runner import OneByOne, RunnerBench

from potassium.jobs import runner, settlement
from potassium.jobs.attempt import Attempt
from potassium.jobs.follower import Follower
from potassium.jobs.model import Status, StoredJob
from potassium.jobs.outcome import Done, Failed, NotDone, Outcome


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "RETRY_STORE", 0.01)
    monkeypatch.setattr(settlement, "RETRY_STORE", 0.01)


class Wide(OneByOne):
    """A lane of five jobs at a time."""

    def room(self, waiting: int, claimed: int, quiet: float) -> int:
        del waiting, quiet
        return 5 - claimed


def code_of(job: StoredJob) -> str:
    return str(orjson.loads(job.error or b"")["code"])


async def test_a_mistake_of_the_server_is_an_end_too() -> None:
    """Whatever a run raises, the job is tried again or fails; it is not left running."""

    async def broken(run: Attempt) -> Outcome:
        raise TypeError

    async with RunnerBench(broken).running() as bench:
        job = await bench.reaches(await bench.submit(attempts_limit=2), Status.FAILED)
        assert job.attempts == 2
        assert code_of(job) == "internal_error"


async def fails_once(run: Attempt) -> Outcome:
    return Failed(b"{}", may_retry=True) if run.job.attempts == 1 else Done(b"1")


@pytest.mark.parametrize("method", ["claim", "last_event", "put_back", "end"])
async def test_a_store_that_fails_once_keeps_no_job_from_its_end(method: str) -> None:
    """Wherever the store fails between the claim and the end, it is asked again."""
    async with RunnerBench(fails_once).running() as bench:
        bench.store.faults[method] = 2
        job = await bench.reaches(await bench.submit(attempts_limit=2), Status.SUCCEEDED)
        assert job.attempts == 2
        assert bench.store.faults[method] == 0


async def test_a_job_whose_attempt_is_over_cannot_be_cancelled_any_more() -> None:
    """``cancel`` returns False while the job is being put back, because the job would not end."""
    async with RunnerBench(fails_once).running() as bench:
        bench.store.faults["put_back"] = 3
        job_id = await bench.submit(attempts_limit=2)
        await bench.reaches(job_id, Status.RUNNING)
        await asyncio.sleep(0.005)
        assert not bench.runner.cancel(job_id)
        assert (await bench.reaches(job_id, Status.SUCCEEDED)).attempts == 2


async def test_a_job_that_fails_when_it_is_cancelled_is_not_tried_again() -> None:
    """The caller that cancelled it was told that it would end."""

    async def cancelled_late(run: Attempt) -> Outcome:
        assert bench.runner.cancel(run.job.id)
        return Failed(b"{}", may_retry=True)

    async with RunnerBench(cancelled_late).running() as bench:
        job = await bench.reaches(await bench.submit(attempts_limit=2), Status.CANCELLED)
        assert job.attempts == 1
        assert code_of(job) == "job_cancelled"


async def test_nothing_is_claimed_where_nothing_can_be_run_any_more() -> None:
    """A server that has failed does not claim the same job over and over until it stops."""

    async def refused(run: Attempt) -> Outcome:
        return NotDone()

    async with RunnerBench(refused).running() as bench:
        job_id = await bench.submit()
        await asyncio.sleep(0.03)
        assert (await bench.reaches(job_id, Status.QUEUED)).attempts == 1


async def test_what_a_handler_tells_last_is_in_the_document_at_the_end() -> None:
    """This also holds for what is posted about the job, and however fast the handler reports."""

    async def tells(run: Attempt) -> Outcome:
        for step in range(1, 5):
            run.progress(step / 4, f"step {step}")
            await asyncio.sleep(0)
        return Done(b"1")

    async with RunnerBench(tells).running() as bench:
        job = await bench.reaches(await bench.submit(), Status.SUCCEEDED)
        assert [(one.progress, one.message) for one in (job, *bench.ended)] == [(1.0, "step 4")] * 2


async def test_every_chunk_is_an_event() -> None:
    """A stream that is faster than the store waits for the store, unless the store fails."""

    async def streams(run: Attempt) -> Outcome:
        for number in range(5000):
            await run.chunk(b"%d" % number)
        return Done(b"1")

    async with RunnerBench(streams).running() as bench:
        bench.store.faults["note"] = 2
        job_id = await bench.submit()
        await bench.reaches(job_id, Status.SUCCEEDED)
        events = await bench.store.events(job_id, limit=10_000)
        assert [event.id for event in events] == [*range(2, 5003)]
        assert [int(e.data) for e in events if e.kind == "chunk"] == [*range(5000)]


@pytest.mark.parametrize("has_result", [False, True])
async def test_of_a_job_whose_claim_is_lost_only_a_result_is_stored(has_result: bool) -> None:
    """Whoever has taken it up stores everything else; a result is not thrown away."""
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def held(run: Attempt) -> Outcome:
        begun.set()
        await go_on.wait()
        assert run.is_cancelled
        return Done(b"1") if has_result else Failed(b"{}", may_retry=False)

    async with RunnerBench(held).running() as bench:
        job_id = await bench.submit()
        await begun.wait()
        bench.runner.lose_claims()
        go_on.set()
        if has_result:
            await bench.reaches(job_id, Status.SUCCEEDED)
        while bench.runner.running:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0)
        assert (await bench.reaches(job_id, Status.RUNNING, Status.SUCCEEDED)).error is None


async def test_a_job_that_is_about_to_begin_is_lost_like_those_that_run() -> None:
    """Its task is still reading which events it has."""

    async def fails_first(run: Attempt) -> Outcome:
        return Failed(b"{}", may_retry=True) if run.job.attempts == 1 else NotDone()

    async with RunnerBench(fails_first).running() as bench:
        asked, answer = asyncio.Event(), asyncio.Event()
        last_event = bench.store.last_event

        async def slowly(job_id: str) -> int:
            asked.set()
            await answer.wait()
            return int(await last_event(job_id))

        bench.store.__dict__["last_event"] = slowly
        await bench.submit(attempts_limit=2)
        await asked.wait()
        bench.runner.lose_claims()
        answer.set()
        async with asyncio.timeout(5):
            while len(bench.runs) < 2 or bench.runner.running:  # noqa: ASYNC110
                await asyncio.sleep(0)
        assert bench.runs[1].is_lost
        assert bench.runs[1].is_cancelled


async def test_a_store_that_is_away_is_one_line_for_all_jobs(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """However many outcomes wait for the store, the log says so once, without a traceback."""
    all_run = asyncio.Barrier(5)

    async def together(run: Attempt) -> Outcome:
        await all_run.wait()
        return Done(b"1")

    bench = RunnerBench(together)
    bench.lanes = [Wide()]
    bench.store.faults["end"] = 20
    async with bench.running():
        jobs = [await bench.submit() for _ in range(5)]
        for job_id in jobs:
            await bench.reaches(job_id, Status.SUCCEEDED)
    (record,) = [one for one in caplog.records if "wait for the store" in one.getMessage()]
    assert record.exc_info is None


async def test_suspects_that_another_server_has_run_are_not_waited_for() -> None:
    """A server claims nothing while it waits to run a suspect alone; then it goes on."""
    go = asyncio.Event()
    second_runs = asyncio.Event()

    async def held(run: Attempt) -> Outcome:
        if len(bench.runs) > 1:
            second_runs.set()
        await go.wait()
        return Done(b"1")

    bench = RunnerBench(held)
    bench.lanes = [Wide()]
    follower = Follower(bench.runner, bench.watch, FakeWebhooks())
    async with bench.running():
        await bench.reaches(await bench.submit(), Status.RUNNING)
        follower.queued(suspects=True)
        await bench.submit()
        await asyncio.sleep(0.02)
        assert len(bench.runs) == 1
        follower.cleared()
        async with asyncio.timeout(5):
            await second_runs.wait()
        go.set()
