"""How jobs are run from their claim to their end, and what a store that fails does to that."""

import pytest
from support.runner import RunnerBench

from potassium.jobs import runner
from potassium.jobs.model import Status
from potassium.jobs.run import Outcome, Run


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "RETRY_STORE", 0.01)


async def test_a_mistake_of_the_server_is_an_end_too() -> None:
    """Whatever running a job raises, the job is tried again or fails; it is not left running."""

    async def broken(run: Run) -> Outcome:
        raise TypeError

    async with RunnerBench(broken).running() as bench:
        job = await bench.reaches(await bench.submit(attempts_limit=2), Status.FAILED)
        assert job.attempts == 2
        assert job.error == b'{"code":"internal_error"}'
