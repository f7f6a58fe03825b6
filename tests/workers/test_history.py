"""What is kept of workers that have ended."""

from typing import Any, cast

import pytest

from potassium.workers.death import EndKind, WorkerEnd
from potassium.workers.history import History
from potassium.workers.page import Page
from potassium.workers.view import WorkerView

KILLED = WorkerEnd(EndKind.KILLED, "was killed")


def test_figures_go_on_in_the_next_worker_of_a_device() -> None:
    """The step in which one was killed counts as far as it had come."""
    history = History()
    for busy, since, finished in ((5.0, None, 3), (2.0, 90.0, 4)):
        page = Page()
        page.busy, page.busy_since = busy, since
        view = WorkerView(page)
        view.finished = finished
        history.note(KILLED, view, 100.0)
        page.close()
    assert (history.busy, history.finished) == (17.0, 7)


@pytest.mark.parametrize("ends", [1, 3])
def test_ends_that_were_not_to_be_are_counted(ends: int) -> None:
    """By kind; one that the server has asked for is only the last one."""
    history = History()
    assert history.count() == ""
    history.note(KILLED, cast("Any", _Idle()), 0.0)
    assert history.ends == {}
    assert [history.count() for _ in range(ends)] == ["was killed"] * ends
    assert history.ends == {EndKind.KILLED: ends}


class _Idle:
    finished = 0

    def busy_until(self, _: float) -> float:
        return 0.0
