"""The suite that whoever writes a store of jobs can run, in a project of their own."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

GOOD = """
from support.own_store import OwnStore
from potassium.testing.job_store import JobStoreSuite

class TestOwnStore(JobStoreSuite):
    def new_store(self):
        return OwnStore()
"""

BROKEN = """
from dataclasses import replace
from potassium.jobs.memory_store import MemoryStore
from potassium.testing.job_store import DurableStoreSuite, JobStoreSuite, SharedStoreSuite

class Unordered(MemoryStore):
    async def claim(self, *, handlers, limit, now):
        jobs = [job for handler in handlers for job in self._queued(handler) if job.is_due(now)]
        return [self._set(job.claimed(now)) for job in jobs[::-1][:limit]]

class Unfenced(MemoryStore):
    def _same(self, job, *statuses):
        return self._jobs.get(job.id)

class Credulous(MemoryStore):
    async def put_back(self, job, **options):
        now = self._jobs[job.id]
        return await super().put_back(replace(job, attempts=now.attempts), **options)

class Trusting(MemoryStore):
    async def put_back(self, job, **options):
        return await super().put_back(job.cleared(), **options)

class Keyless(MemoryStore):
    async def known(self, job):
        return None

class Forgetful(MemoryStore):
    async def note(self, job, *, progress, message, events=()):
        await super().note(job, progress=progress, message=message)

class Generous(MemoryStore):
    async def take_due(self, **options):
        return [replace(one) for one in await super().take_due(**options)] * 2

class Boastful(MemoryStore):
    is_durable = True

class Fleeting(Boastful):
    pass  # calls itself durable, and is not

class Apart(MemoryStore):
    # calls itself shared, and is not
    is_shared = True

class Incomplete:
    def __init__(self):
        self.inner = MemoryStore()
    def __getattr__(self, name):
        if name == "claim_suspect":
            raise AttributeError(name)
        return getattr(self.inner, name)

def suite(store):
    class Suite(JobStoreSuite):
        def new_store(self):
            return store()
    return Suite

TestUnordered = suite(Unordered)
TestUnfenced = suite(Unfenced)
TestCredulous = suite(Credulous)
TestTrusting = suite(Trusting)
TestKeyless = suite(Keyless)
TestForgetful = suite(Forgetful)
TestGenerous = suite(Generous)
TestBoastful = suite(Boastful)
TestIncomplete = suite(Incomplete)

class TestFleeting(JobStoreSuite, DurableStoreSuite):
    def new_store(self):
        return Fleeting()

class TestApart(JobStoreSuite, SharedStoreSuite):
    def new_store(self):
        return Apart()
"""

FOUND = {
    "Unordered": "jobs_run_in_the_order_of_submission",
    "Unfenced": "a_job_ends_once",
    "Credulous": "a_job_that_has_ended_or_begun_anew_becomes_no_suspect",
    "Trusting": "of_several_that_run_those_whose_worker_died_become_suspects",
    "Keyless": "one_idempotency_key_is_one_job",
    "Forgetful": "events_are_read_from_any_on",
    "Generous": "a_turn_is_one_delivery_of_each_host",
    "Boastful": "what_it_says_of_itself_is_tested",
    "Fleeting": "queued_jobs_outlive_the_process",
    "Apart": "each_server_sees_what_another_stored",
    "Incomplete": "it_has_all_that_a_store_has",
}


def run(folder: Path, text: str, *options: str) -> str:
    """Run a file of tests with nothing but pytest and its plugin; return what that prints."""
    (folder / "test_own.py").write_text(text)
    path = os.pathsep.join([str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--strict-markers", *options],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize("mode", ["strict", "auto"])
def test_a_store_of_ones_own_passes(tmp_path: Path, mode: str) -> None:
    """With pytest-asyncio as it is installed, in whichever mode."""
    output = run(tmp_path, GOOD, f"--asyncio-mode={mode}")
    assert re.search(r"= (\d{2,}) passed in", output), output


@pytest.fixture(scope="module")
def failures(tmp_path_factory: pytest.TempPathFactory) -> str:
    return run(tmp_path_factory.mktemp("broken"), BROKEN, "-q", "-k", " or ".join(FOUND.values()))


@pytest.mark.parametrize("store", FOUND)
def test_a_store_that_breaks_a_promise_is_found(failures: str, store: str) -> None:
    """By the test that has the name of the promise."""
    assert f"FAILED test_own.py::Test{store}::test_{FOUND[store]}" in failures


def test_a_failure_says_which_promise_was_broken_and_how(failures: str) -> None:
    """Its name, in words, with what it means, and the values that were compared."""
    about = failures.partition("_ TestUnfenced.test_a_job_ends_once _")[2]
    about = about.partition("\n_____")[0]
    assert "assert (True, True) == (True, False)" in about
    assert (
        "Every store promises: a job ends once. Of two ends at once, one has no effect, and its "
        "events and deliveries are not stored." in about
    )
    assert "claim_suspect" in failures.partition("TestIncomplete.test_it_has_all")[2]


def test_a_missing_plugin_is_named() -> None:
    """Only the suite needs pytest: its error says what to type."""
    code = (
        "import sys; sys.modules['pytest_asyncio'] = None\n"
        "import potassium.testing\n"
        "try: import potassium.testing.job_store\n"
        "except ModuleNotFoundError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install pytest pytest-asyncio" in done.stdout


def test_nothing_else_needs_pytest() -> None:
    """Neither the interface of stores nor the client for tests, and none brings in much."""
    code = (
        "import sys, potassium.jobs\n"
        "assert not {'httpx', 'starlette', 'pydantic', 'psycopg', 'aiosqlite'} & {*sys.modules}\n"
        "import potassium.testing; assert 'pytest' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
