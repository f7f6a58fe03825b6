"""Whether an app runs in several processes, each with a model of its own."""

import logging
import multiprocessing
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import uvicorn

from potassium import Potassium
from potassium.serving.processes import number_of_processes, tell_processes


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    return lambda: [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING]


@pytest.fixture
def spawned(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that makes this look like a process that another one has spawned."""

    def spawn(name: str = "SpawnProcess-1", **started_with: Any) -> None:
        process = SimpleNamespace(name=name, _kwargs=started_with)
        monkeypatch.setattr(multiprocessing, "parent_process", object)
        monkeypatch.setattr(multiprocessing, "current_process", lambda: process)

    monkeypatch.delenv("WEB_CONCURRENCY", raising=False)
    monkeypatch.setattr(sys, "argv", ["server", "app:app"])
    return spawn


def test_a_process_of_its_own_is_the_only_one(
    lines: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the environment asks of servers that start several: this one does not."""
    monkeypatch.setenv("WEB_CONCURRENCY", "4")
    assert number_of_processes() == 1
    tell_processes()
    assert lines() == []


def test_workers_of_uvicorn_know_how_many_they_are(spawned: Callable[..., None]) -> None:
    """From ``--workers``, ``workers=`` or ``WEB_CONCURRENCY``; one that reloads is alone."""
    spawned(config=uvicorn.Config("app:app", workers=4, log_config=None))
    assert number_of_processes() == 4
    spawned(config=uvicorn.Config("app:app", reload=True, log_config=None))
    assert number_of_processes() == 1


@pytest.mark.parametrize(
    ("arguments", "number"),
    [
        (["--workers", "3"], 3),
        (["--workers=3"], 3),
        (["-w", "3"], 3),
        (["-w3"], 3),
        (["--workers"], 1),
        (["--workers", "many"], 1),
        ([], 1),
    ],
)
def test_workers_of_others_are_told_on_the_command_line(
    spawned: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    number: int,
) -> None:
    """Hypercorn and Granian spawn them; they inherit the command line."""
    spawned()
    monkeypatch.setattr(sys, "argv", ["hypercorn", *arguments, "app:app"])
    assert number_of_processes() == number


def test_workers_of_gunicorn_are_known_by_their_arbiter(
    spawned: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are forked, so that ``multiprocessing`` knows nothing of them."""
    monkeypatch.setenv("WEB_CONCURRENCY", "5")
    assert number_of_processes() == 1
    monkeypatch.setitem(sys.modules, "gunicorn.arbiter", SimpleNamespace())
    assert number_of_processes() == 5


def test_a_model_for_each_process_is_told_with_what_it_takes(
    spawned: Callable[..., None],
    lines: Callable[[], list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of memory, and of each GPU that the process uses; and what to do instead."""
    reserved = [0, 3 * 2**30]
    cuda = SimpleNamespace(
        is_initialized=lambda: True, device_count=lambda: 2, memory_reserved=reserved.__getitem__
    )
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    spawned(config=uvicorn.Config("app:app", workers=4, log_config=None))
    tell_processes()
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace())  # something else of that name
    tell_processes()
    line, other = lines()
    assert "GiB of cuda" not in other
    assert line.startswith("this is one of 4 processes")
    assert "3.0 GiB of cuda:1, so expect 4 times as much" in line
    assert "cuda:0" not in line
    assert "--workers" in line
    if sys.platform == "linux":
        assert "GiB of memory" in line


@pytest.mark.parametrize("shows_metrics", [True, False])
def test_metrics_of_one_process_of_several_are_told(
    spawned: Callable[..., None], lines: Callable[[], list[str]], shows_metrics: bool
) -> None:
    """Each scrape finds another one, so counters leap, and nothing on the page shows why."""
    spawned(config=uvicorn.Config("app:app", workers=4, log_config=None))
    tell_processes(shows_metrics=shows_metrics)
    (line,) = lines()
    assert ("GET /metrics" in line) is shows_metrics


async def test_an_app_says_whether_it_has_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    """As it starts."""
    told: list[bool] = []
    monkeypatch.setattr(
        "potassium.serving.services.tell_processes",
        lambda *, shows_metrics: told.append(shows_metrics),
    )
    for metrics in (True, False):
        app = Potassium("test", metrics=metrics)
        app.handler(lambda cache, json_in: None)
        async with app.lifespan():
            pass
    assert told == [True, False]


def test_of_several_processes_one_says_so(
    spawned: Callable[..., None], lines: Callable[[], list[str]]
) -> None:
    """The first one."""
    spawned("SpawnProcess-2", config=uvicorn.Config("app:app", workers=4, log_config=None))
    tell_processes()
    assert lines() == []
