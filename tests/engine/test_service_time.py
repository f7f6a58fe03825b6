"""Measuring how long jobs take."""

from potassium.engine.service_time import ServiceTime


def test_nothing_is_known_before_the_first_job() -> None:
    """Both figures are None until something has been measured."""
    time = ServiceTime()
    assert (time.mean, time.floor) == (None, None)


def test_the_mean_follows_what_callers_wait() -> None:
    """After a lasting change, the mean approaches the new value."""
    time = ServiceTime()
    for _ in range(10):
        time.add(0.001)
    for _ in range(100):
        time.add(0.1)
    assert time.mean is not None
    assert 0.09 < time.mean < 0.1


def test_the_floor_is_not_moved_by_waits_for_the_gil() -> None:
    """Measurements that are a thousand times too long leave the floor where it is."""
    time = ServiceTime()
    for number in range(1000):
        time.add(0.005 if number % 10 else 0.000005)
    assert time.floor is not None
    assert time.floor < 0.00001


def test_the_floor_rises_when_the_work_itself_takes_longer() -> None:
    """After a lasting change, the floor reaches the new value."""
    time = ServiceTime()
    time.add(0.00001)
    for _ in range(200):
        time.add(0.02)
    assert time.floor == 0.02
