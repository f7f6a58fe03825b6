"""What becomes of a replica that has failed, that is to stop, or that gets SIGTERM."""

import asyncio

import pytest

from potassium.errors import WorkerFailed
from potassium.ray.replica import Replica
from potassium.ray.sigterm import Sigterm
from potassium.ray.watch import CONTROLLER, HELD, LAST_ANSWERS, STALE, Watch


class App:
    """A runtime, as far as it is watched."""

    def __init__(self) -> None:
        self.has_failed = False
        self.is_idle = True
        self.drains: list[bool] = []

    def drain(self, *, calls: bool = True) -> None:
        self.drains.append(calls)


class Watched:
    """A watch whose time passes when the test says so."""

    def __init__(self) -> None:
        self.app, self.sigterm = App(), Sigterm()
        self.now, self.told, self.ends = 1000.0, False, list[int]()
        self.watch = Watch(
            self.app,
            self.sigterm,
            told=lambda: self.told,
            end=self.ends.append,
            clock=lambda: self.now,
        )

    def after(self, seconds: float) -> None:
        self.now += seconds
        self.watch.look()


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    monkeypatch.delenv("RAY_SERVE_ENABLE_HA_PROXY", raising=False)
    return Watched()


def test_nothing_happens_to_a_replica_that_is_well(watched: Watched) -> None:
    watched.after(1000)
    assert (watched.app.drains, watched.ends) == ([], [])


def test_a_failed_replica_ends_once_its_callers_are_told(watched: Watched) -> None:
    watched.app.has_failed = True
    watched.after(0)
    assert watched.ends == []
    watched.after(LAST_ANSWERS)
    assert watched.ends == [1]


async def test_a_failed_replica_does_not_refuse_fast(watched: Watched) -> None:
    """Otherwise a balancer would prefer it to those that work."""
    await watched.watch.hold()  # returns at once
    watched.app.has_failed = True
    watched.after(0)
    watched.now += HELD - 0.06
    held = asyncio.create_task(watched.watch.hold())
    await asyncio.sleep(0.01)
    assert not held.done()
    await held


def test_a_replica_that_stops_drains_once_no_more_calls_come(watched: Watched) -> None:
    """It begins no more jobs at once, and refuses calls only then."""
    watched.told = True
    watched.after(0)
    watched.after(STALE - 0.1)
    assert watched.app.drains == [False]
    watched.after(0.1)
    watched.after(10)
    assert watched.app.drains == [False, True]
    assert watched.ends == []  # Ray ends it


def test_behind_haproxy_calls_come_for_longer(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as Ray listens; whoever comes then is sent elsewhere, so that none is refused."""
    monkeypatch.setenv("RAY_SERVE_ENABLE_HA_PROXY", "1")
    monkeypatch.delenv("RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S", raising=False)
    watched.told = True
    watched.after(0)
    watched.after(30)
    assert watched.app.drains == [False]
    watched.after(STALE)
    assert watched.app.drains == [False, True]


def test_sigterm_leaves_the_stop_to_ray(watched: Watched) -> None:
    """Which first takes it off the list of those that get calls."""
    watched.sigterm.received = True
    watched.after(0)
    watched.told = True
    watched.after(6)
    assert watched.app.drains == [False]
    watched.after(STALE)
    assert watched.app.drains == [False, True]
    assert watched.ends == []


def test_sigterm_without_a_controller_drains_and_ends(watched: Watched) -> None:
    watched.app.is_idle = False
    watched.sigterm.received = True
    watched.after(0)
    watched.after(CONTROLLER)
    assert watched.app.drains == [False, True]
    assert watched.ends == []
    watched.app.is_idle = True
    watched.after(0.1)
    assert watched.ends == [0]


async def test_it_watches_as_long_as_the_app_runs(watched: Watched) -> None:
    over = asyncio.Event()
    watched.app.has_failed = True
    running = asyncio.create_task(watched.watch.beside(_until(over)))
    await asyncio.sleep(0.01)
    watched.now += LAST_ANSWERS
    while not watched.ends:  # noqa: ASYNC110 - it looks ten times a second
        await asyncio.sleep(0.01)
    over.set()
    await running
    await asyncio.sleep(0)
    assert "potassium-ray-watch" not in {one.get_name() for one in asyncio.all_tasks()}


async def _until(over: asyncio.Event) -> None:
    await over.wait()


@pytest.mark.parametrize("why", ["failed", "sigterm"])
def test_ray_is_told_to_replace_it(watched: Watched, why: str) -> None:
    """By the check of its health."""
    replica = Replica("app:app", watched.sigterm)
    replica._runtime = watched.app  # type: ignore[assignment]
    replica.check_health()
    watched.app.has_failed = why == "failed"
    watched.sigterm.received = why == "sigterm"
    with pytest.raises(WorkerFailed):
        replica.check_health()
