"""The clock of a database, as servers on different machines know it."""

import pytest

from potassium.jobs.postgres.clock import DatabaseClock


class Machine:
    """A machine whose wall clock is wrong, and the clock that its server has."""

    def __init__(self, *, ahead: float = 0.0) -> None:
        self.passed = 100.0
        self.ahead = ahead
        self.clock = DatabaseClock(
            wall=lambda: self.true() + self.ahead, passed=lambda: self.passed
        )

    def true(self) -> float:
        return 1_000_000.0 + self.passed

    def ask(self, *, before: float = 0.0, after: float = 0.0) -> None:
        """Ask the database for the time, and wait for the question and the answer to arrive."""
        asked_at = self.clock()
        self.passed += before
        there = self.true()
        self.passed += after
        self.clock.follow(there, asked_at=asked_at)

    def error(self) -> float:
        return self.clock() - self.true()


@pytest.mark.parametrize("ahead", [-3600.0, -0.2, 0.2, 3600.0])
def test_a_wall_clock_that_is_wrong_does_not_matter(ahead: float) -> None:
    """Servers on machines whose clocks differ have the same time."""
    machine = Machine(ahead=ahead)
    machine.ask(before=0.001, after=0.001)
    assert abs(machine.error()) <= 0.002


def test_a_server_that_stands_still_does_not_set_its_clock() -> None:
    """An answer that is read late is not taken for a clock that is ahead."""
    machine = Machine()
    machine.ask(before=0.001, after=30.0)
    assert machine.error() == pytest.approx(0.0)
    machine.ask(before=30.0, after=0.001)
    assert machine.error() == pytest.approx(0.0)


def test_all_servers_show_the_same_times() -> None:
    """A moment is shown as the database has it, whatever the wall says here."""
    machine = Machine(ahead=3600.0)
    machine.ask()
    machine.ahead = -7200.0
    assert machine.clock.shown(1_000_000.25) == 1_000_000.25
