"""The GPU thread of a worker process."""

from collections.abc import Callable, Iterator, Sequence

import pytest
from support.operations import operation_on

from potassium import Batch, Limits
from potassium.engine import Job
from potassium.engine.bridge import Bridge
from potassium.engine.push_room import PushRoom
from potassium.workers.arrivals import NOBODY, WorkerJob
from potassium.workers.page import Page
from potassium.workers.paged_worker import PagedWorker


class Bench:
    """A worker whose thread is that of the test."""

    def __init__(self) -> None:
        self.page = Page()
        self.ran: list[str] = []
        self.reports: list[tuple[list[Job], bool]] = []
        self.skipped = 0
        self.worker = PagedWorker(
            self.page,
            self._skip,
            self._report,
            Bridge(_never, lambda _: None),
            PushRoom(Limits()),
        )

    def hand_over(self, group: int) -> None:
        job = WorkerJob(operation_on("work", self.ran.append), str(group), NOBODY)
        job.group = job.number = job.slot = group
        self.worker.unbegun[group] = [job]
        self.worker.hand_over([job])

    def hand_over_batch(self, group: int, size: int) -> None:
        operation = operation_on("batch", self.ran.append, batch=Batch(max_size=size))
        jobs = [WorkerJob(operation, str(number), NOBODY) for number in range(size)]
        for number, job in enumerate(jobs):
            job.group, job.number, job.slot = group, number + 1, number
        self.worker.unbegun[group] = jobs
        self.worker.hand_over(jobs)

    def run(self) -> None:
        self.worker.stop()
        self.worker.run()

    def _skip(self) -> None:
        self.skipped += 1

    def _report(self, done: Sequence[Job], ended: bool) -> None:
        self.reports.append((list(done), ended))


def _never(callback: Callable[[], object]) -> None:
    raise AssertionError(f"{callback} is for streams, of which there are none")


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.page.close()


def test_a_group_that_was_given_back_is_not_run(bench: Bench) -> None:
    """Nor reported: whoever gives it back may tell the front only after this."""
    for group in (1, 2, 3):
        bench.hand_over(group)
    assert bench.worker.unbegun.pop(2)
    bench.run()
    assert bench.ran == ["1", "3"]
    assert [len(done) for done, _ in bench.reports] == [1, 1]
    assert bench.skipped == 1


def test_a_group_that_has_begun_cannot_be_given_back(bench: Bench) -> None:
    """It is taken out by the thread that runs it."""
    bench.hand_over(1)
    bench.run()
    assert 1 not in bench.worker.unbegun
    assert bench.page.has_begun(1)


def test_all_calls_of_a_batch_begin_together(bench: Bench) -> None:
    """The page says so, whichever of them the worker dies of."""
    bench.hand_over_batch(1, 3)
    assert not any(bench.page.has_begun(slot) for slot in range(3))
    bench.run()
    assert all(bench.page.has_begun(slot) for slot in range(3))
