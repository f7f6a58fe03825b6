"""When a device gets its next worker, and when it is given up."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from potassium.workers.restarts import (
    GOOD_STRETCH,
    JITTER,
    PAUSES,
    Restarts,
    given_up_line,
    restart_line,
)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def restarts(clock: Clock, chance: float = 0.5) -> Restarts:
    return Restarts(clock, lambda: chance)


def test_a_worker_that_dies_once_is_replaced_at_once(clock: Clock) -> None:
    """Others that die soon after it wait for 1, 2, 4, 8, 16 and 32 s."""
    device = restarts(clock)
    assert [device.failed() for _ in range(7)] == [0, 1, 2, 4, 8, 16, 32]
    assert not device.is_given_up


def test_a_device_is_given_up_after_eight_failures_in_a_row(clock: Clock) -> None:
    """It stays so, whatever is noted later."""
    device = restarts(clock)
    for _ in range(7):
        device.failed()
    assert device.failed() is None
    assert device.is_given_up
    device.ready()
    clock.now += 10 * GOOD_STRETCH
    assert device.failed() is None
    assert device.is_given_up


def test_a_minute_of_service_makes_up_for_earlier_failures(clock: Clock) -> None:
    """The next death costs no pause."""
    device = restarts(clock)
    for _ in range(7):
        device.failed()
    device.ready()
    clock.now += GOOD_STRETCH
    assert device.failed() == 0
    assert device.failures == 1


def test_loading_is_no_service(clock: Clock) -> None:
    """A worker that takes minutes to load, and dies as it serves, gets no closer to a reset."""
    device = restarts(clock)
    for expected in PAUSES:
        clock.now += 10 * GOOD_STRETCH
        device.ready()
        clock.now += GOOD_STRETCH - 1
        assert device.failed() == expected
    clock.now += 10 * GOOD_STRETCH  # it never becomes ready
    assert device.failed() is None


def test_a_death_that_a_poison_call_explains_does_not_count(clock: Clock) -> None:
    """The device gets a worker at once, and is no closer to its end."""
    device = restarts(clock)
    device.failed()
    device.failed()
    for _ in range(100):
        device.ready()
        assert device.failed(is_explained=True) == 0
    assert device.failures == 2


@pytest.mark.parametrize(("chance", "expected"), [(0.0, 6.4), (0.5, 8.0), (1.0, 9.6)])
def test_pauses_vary(clock: Clock, chance: float, expected: float) -> None:
    """A pause is up to a fifth shorter or longer, at random."""
    device = restarts(clock, chance)
    pauses = [device.failed() for _ in range(5)]
    assert pauses[-1] == pytest.approx(expected)


EVENTS = st.tuples(
    st.sampled_from(["ready", "failed", "explained"]),
    st.floats(0.0, 3 * GOOD_STRETCH),
    st.floats(0.0, 1.0),
)


@given(st.lists(EVENTS, max_size=60))
def test_whatever_happens_pauses_grow_and_eight_failures_end_it(
    events: list[tuple[str, float, float]],
) -> None:
    """Pauses are bounded, and grow in a row; it takes eight failures without a good stretch."""
    clock, chance = Clock(), 0.5
    device = Restarts(clock, lambda: chance)
    in_a_row, ready_at, pause = 0, None, -1.0
    for event, seconds, chance in events:  # noqa: B007 - read by the device
        clock.now += seconds
        if event == "ready":
            device.ready()
            ready_at = clock.now
            continue
        if ready_at is not None and clock.now - ready_at >= GOOD_STRETCH and in_a_row <= 7:
            in_a_row, pause = 0, -1.0
        ready_at, before = None, pause
        got = device.failed(is_explained=event == "explained")
        in_a_row += event == "failed"
        assert device.is_given_up == (in_a_row >= 8)
        assert (got is None) == device.is_given_up
        if got is not None and event == "failed":
            assert 0 <= got <= PAUSES[-1] * (1 + JITTER)
            assert got > before or (got == before == 0.0)
            pause = got


@given(st.lists(st.floats(GOOD_STRETCH + 1, 1e6), min_size=20, max_size=50))
def test_a_device_that_serves_well_is_never_given_up(stretches: list[float]) -> None:
    """However often its worker dies: each one has served for a minute, and each is replaced."""
    clock = Clock()
    device = restarts(clock)
    for stretch in stretches:
        device.ready()
        clock.now += stretch
        assert device.failed() == 0
    assert not device.is_given_up


def test_pauses_never_overlap() -> None:
    """Even the longest variant of one is shorter than the shortest of the next."""
    for one, other in itertools.pairwise(PAUSES):
        assert one * (1 + JITTER) < other * (1 - JITTER)


def test_the_log_says_when_a_worker_is_replaced() -> None:
    """It names the device, what happened, and the pause."""
    line = restart_line("cuda:1", "was aborted (SIGABRT)", 0.0)
    assert line == "the worker of cuda:1 was aborted (SIGABRT); a new one loads now"
    assert restart_line("cpu", "hangs", 31.6).endswith("; a new one loads in 32 s")


def test_the_log_says_why_a_device_is_given_up() -> None:
    """It names the device, what happened last, how often, and what to do."""
    line = given_up_line("cuda:1", "exited with status 3", 8)
    assert "cuda:1 is given up after 8 failures in a row" in line
    assert "Restart the server" in line
