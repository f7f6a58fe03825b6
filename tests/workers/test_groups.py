"""The groups of a worker: what is given back is not run, and what is run is not given back."""

from collections.abc import Sequence
from typing import Any, cast

import pytest
from support.operations import operation_on

from potassium.engine import Failure
from potassium.workers.arrivals import NOBODY, WorkerJob
from potassium.workers.frames import FromWorker, frame
from potassium.workers.groups import Groups
from potassium.workers.notes import NUMBER

GROUP = 7


class Bench:
    """Groups whose GPU thread, pool and link only note what they get."""

    def __init__(self) -> None:
        self.jobs: list[WorkerJob] = []
        self.forgotten: list[WorkerJob] = []
        self.ran: list[Sequence[WorkerJob]] = []
        self.preparing: list[WorkerJob] = []
        self.sent: list[bytes] = []
        self.unbegun: dict[int | None, Sequence[WorkerJob]] = {}
        this = cast("Any", self)
        self.groups = Groups(this, this, this, this, lambda job: [b"done %d" % job.number])

    def take(self, *are_unprepared: bool) -> list[WorkerJob]:
        self.jobs = []
        for number, is_unprepared in enumerate(are_unprepared):
            job = WorkerJob(operation_on("work", lambda _: None), None, NOBODY)
            job.number, job.group, job.is_unprepared = number, GROUP, is_unprepared
            self.jobs.append(job)
        self.groups.take(b"")
        return self.jobs

    def told(self, kind: FromWorker) -> bool:
        return b"".join(frame(kind, NUMBER.pack(GROUP))) in b"".join(self.sent)

    # As the others see it.

    def group(self, _: bytes) -> tuple[int, list[WorkerJob]]:
        return GROUP, self.jobs

    def forget(self, job: WorkerJob) -> None:
        self.forgotten.append(job)

    def prepare(self, job: WorkerJob) -> None:
        self.preparing.append(job)

    def hand_over(self, jobs: Sequence[WorkerJob]) -> None:
        self.ran.append(jobs)

    def send(self, buffers: Sequence[bytes]) -> None:
        self.sent += buffers


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_group_runs_once_all_of_it_is_prepared(bench: Bench) -> None:
    """In the order in which it came."""
    jobs = bench.take(True, False, True)
    assert bench.preparing == [jobs[0], jobs[2]]
    bench.groups.prepared(jobs[2])
    assert not bench.ran
    bench.groups.prepared(jobs[0])
    assert bench.ran == [jobs]


def test_a_group_that_has_not_begun_is_given_back(bench: Bench) -> None:
    """It is forgotten here."""
    jobs = bench.take(False)
    bench.groups.give_back(GROUP)
    assert bench.told(FromWorker.RETURNED)
    assert bench.forgotten == jobs


def test_a_group_that_has_begun_is_not_given_back(bench: Bench) -> None:
    bench.take(False)
    del bench.unbegun[GROUP]  # as the GPU thread does
    bench.groups.give_back(GROUP)
    assert not bench.sent


def test_a_group_that_is_wanted_back_while_it_is_prepared_is_given_back(bench: Bench) -> None:
    """As soon as it is prepared; the front asks only once."""
    jobs = bench.take(True, False)
    bench.groups.give_back(GROUP)
    assert not bench.sent
    bench.groups.prepared(jobs[0])
    assert bench.told(FromWorker.RETURNED)
    assert bench.forgotten == jobs
    assert not bench.ran
    assert not bench.unbegun


def test_what_could_not_be_prepared_of_such_a_group_has_failed(bench: Bench) -> None:
    """The rest goes back; if there is no rest, the group is done."""
    first, second = bench.take(True, True)
    bench.groups.give_back(GROUP)
    first.outcome = Failure(ValueError("no"))
    bench.groups.prepared(first)
    bench.groups.prepared(second)
    assert bench.sent[0] == b"done 0"
    assert bench.told(FromWorker.RETURNED)
    assert bench.forgotten == [second]

    (only,) = bench.take(True)
    bench.sent.clear()
    bench.groups.give_back(GROUP)
    only.outcome = Failure(ValueError("no"))
    bench.groups.prepared(only)
    assert bench.told(FromWorker.GROUP_DONE)
    assert not bench.told(FromWorker.RETURNED)


def test_a_later_group_of_the_same_number_is_not_wanted_back(bench: Bench) -> None:
    """What was noted for one that was given back is gone with it."""
    (job,) = bench.take(True)
    bench.groups.give_back(GROUP)
    bench.groups.prepared(job)
    jobs = bench.take(False)
    assert bench.ran == [jobs]
