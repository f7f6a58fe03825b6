"""The clock by which stores wait, expire and delete."""

import time

import pytest

from potassium.webhooks.steady_clock import SteadyClock, boot_id, seconds_passed

NOW = 1_800_000_000.0
HOUR = 3600.0

Kept = tuple[str | None, float, float]


class Machine:
    """A machine whose clocks a test sets."""

    def __init__(self) -> None:
        self.wall = NOW
        self.passed = 100.0
        self.boot: str | None = "first"

    def clock(self) -> SteadyClock:
        return SteadyClock(
            wall=lambda: self.wall, passed=lambda: self.passed, boot=lambda: self.boot
        )

    def run(self, seconds: float) -> None:
        self.wall += seconds
        self.passed += seconds

    def restart(self, *, boot: str | None = "second") -> None:
        self.boot = boot
        self.passed = 1.0

    def resumed(self, kept: Kept, latest: float = 0.0) -> SteadyClock:
        clock = self.clock()
        clock.resume(*kept, latest=latest)
        return clock


def kept(clock: SteadyClock) -> Kept:
    """Return what a file keeps of a clock."""
    return clock.boot, clock.ahead, clock.offset


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.mark.parametrize("step", [-HOUR, 25 * HOUR])
def test_it_goes_on_whatever_the_wall_clock_does(machine: Machine, step: float) -> None:
    """It begins at the time on the wall, and then only counts the seconds that pass."""
    clock = machine.clock()
    assert clock() == NOW
    machine.run(10)
    machine.wall += step
    assert clock() == NOW + 10


def test_what_is_shown_follows_the_wall_clock(machine: Machine) -> None:
    """A moment of an hour ago is shown as an hour ago, also after the wall clock was set."""
    clock = machine.clock()
    machine.run(10)
    assert clock.shown(NOW) == NOW
    machine.wall -= HOUR
    assert clock.shown(NOW) == NOW - HOUR
    machine.wall += HOUR
    assert clock.shown(NOW) == NOW


def test_what_is_shown_does_not_follow_small_corrections(machine: Machine) -> None:
    """A document shows the same time whenever it is asked for."""
    clock = machine.clock()
    machine.wall += 0.4
    assert clock.shown(NOW) == NOW


@pytest.mark.parametrize("step", [-HOUR, 0.0, 25 * HOUR])
def test_a_restart_of_the_process_loses_nothing(machine: Machine, step: float) -> None:
    """The machine says how much time has passed meanwhile, whatever the wall clock says."""
    before = kept(machine.clock())
    machine.run(60)
    machine.wall += step
    clock = machine.resumed(before, NOW)
    assert clock() == NOW + 60
    assert clock.shown(NOW) == NOW + step


@pytest.mark.parametrize("boot", ["second", None])
def test_after_a_restart_of_the_machine_the_wall_clock_counts(
    machine: Machine, boot: str | None
) -> None:
    """Nothing else says how long the machine was off."""
    before = kept(machine.clock())
    machine.wall += 5 * HOUR
    machine.restart(boot=boot)
    assert machine.resumed(before, NOW)() == NOW + 5 * HOUR


def test_a_clock_set_back_with_the_machine_off_does_not_go_back(machine: Machine) -> None:
    """What was due already is still due, and what is shown agrees with the wall."""
    before = kept(machine.clock())
    machine.restart()
    machine.wall -= HOUR
    clock = machine.resumed(before, latest=NOW + 30)
    assert clock() == NOW + 30
    assert clock.shown(NOW + 30) == NOW - HOUR


def test_a_correction_before_a_restart_of_the_machine_is_no_time_that_passed(
    machine: Machine,
) -> None:
    """A machine that began in 1970 and was corrected since has not run for decades."""
    machine.wall = 50.0
    clock = machine.clock()
    machine.wall = NOW
    before = kept(clock)
    machine.restart()
    machine.wall += 60
    assert machine.resumed(before)() == pytest.approx(50.0 + 60)


def test_the_real_clock_is_that_of_the_wall() -> None:
    """Its seconds pass as those of the machine do."""
    first, clock = seconds_passed(), SteadyClock()
    assert clock() == pytest.approx(time.time(), abs=1)
    assert seconds_passed() >= first
    assert boot_id() == boot_id()
