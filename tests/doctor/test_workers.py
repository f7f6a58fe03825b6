"""What is said of the accelerators that workers would have."""

from collections.abc import Sequence

import pytest
from doctor.conftest import Build, seen

from potassium.doctor.workers import workers

TWO = ["cuda:0", "cuda:1"]


@pytest.mark.parametrize(
    ("visible", "usable", "level", "why"),
    [
        (TWO, TWO, "ok", '2 visible: workers="auto" is 2 workers, on cuda:0, cuda:1'),
        (TWO, TWO[:1], "ok", '2 visible: workers="auto" is one worker, on cuda:0'),
        ([], [], "ok", 'No accelerator is visible: workers="auto" is one worker, on the CPU'),
    ],
)
def test_what_auto_would_use_is_said(
    machine: Build, visible: Sequence[str], usable: Sequence[str], level: str, why: str
) -> None:
    """With how many accelerators there are."""
    one = machine(accelerators=lambda: (visible, usable))
    assert seen(workers(one)) == [(level, why)]


def test_accelerators_that_torch_cannot_use_are_told_of(machine: Build) -> None:
    """With what to do about it."""
    (found,) = workers(machine(accelerators=lambda: (TWO, [])))
    assert str(found.level) == "note"
    assert "cuda:0, cuda:1 visible, but torch is not built for them" in found.why
    assert "workers=['cuda:0', 'cuda:1']" in (found.fix or "")
