"""The garbage collector does not run while an app starts, and is put back as it was."""

import asyncio
import gc
import subprocess
import sys
import textwrap
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from e2e.server import Server, Start, free_port, serve, wait_until
from support.manual_time import ManualLoop

from potassium import Potassium
from potassium.serving.collector import LATEST, NEVER, QUIET, Collector

USUAL = 700  # what is set here before each test, as the interpreter does


@pytest.fixture(autouse=True)
def _put_back() -> Iterator[None]:
    before, enabled = gc.get_threshold(), gc.isenabled()
    gc.set_threshold(USUAL, 10, 10)
    yield
    gc.set_threshold(*before)
    (gc.enable if enabled else gc.disable)()


@pytest.fixture
def collected(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that gets an entry for each collection that is asked for."""
    entries: list[str] = []
    monkeypatch.setattr(gc, "collect", lambda: entries.append("collected"))
    return entries


@pytest.fixture
def loop() -> Iterator[ManualLoop]:
    loop = ManualLoop()
    yield loop
    loop.close()


def test_nothing_is_collected_while_it_is_paused() -> None:
    """Whatever is made meanwhile; afterwards collections go on."""
    ran: list[Any] = []

    def note(phase: str, _: dict[str, int]) -> None:
        ran.append(phase)

    gc.callbacks.append(note)
    try:
        with Collector().paused():
            made: list[list[object]] = [[] for _ in range(10 * USUAL)]
            assert ran == []
            assert gc.isenabled()
        made += [[] for _ in range(10 * USUAL)]
        assert ran != []
    finally:
        gc.callbacks.remove(note)


def test_the_intervals_are_put_back_also_after_an_error() -> None:
    """All three of them."""
    gc.set_threshold(123, 4, 5)

    def start() -> None:
        with Collector().paused():
            assert gc.get_threshold() == (NEVER, 4, 5)
            raise ValueError("init")

    with pytest.raises(ValueError, match="init"):
        start()
    assert gc.get_threshold() == (123, 4, 5)


def test_an_app_that_does_without_the_collector_goes_on_without() -> None:
    """If it was disabled before, or is disabled meanwhile."""
    collector = Collector()
    gc.disable()
    with collector.paused():
        pass
    assert not gc.isenabled()
    gc.enable()
    with collector.paused():
        gc.disable()
    assert not gc.isenabled()
    assert gc.get_threshold()[0] == USUAL


def test_what_is_set_meanwhile_holds() -> None:
    """Also if that is to collect nothing."""
    collector = Collector()
    for threshold in (5000, 0):
        with collector.paused():
            gc.set_threshold(threshold)
            assert not collector.is_paused
        assert gc.get_threshold()[0] == threshold


def test_to_pause_twice_is_to_pause_once() -> None:
    """The command does before it imports the app, and the server does."""
    collector = Collector()
    with collector.paused(), collector.paused():
        assert collector.is_paused
    assert gc.get_threshold()[0] == USUAL


def test_after_the_start_it_collects_once_and_goes_on(
    loop: ManualLoop, collected: list[str]
) -> None:
    """A moment later, when nobody waits."""
    collector = Collector()
    collector.pause()
    loop.call_soon(collector.resume_when, lambda: True)
    loop.rest()
    loop.now += QUIET * 0.9
    loop.rest()
    assert (collected, collector.is_paused) == ([], True)
    loop.now += QUIET
    loop.rest()
    assert (collected, collector.is_paused) == (["collected"], False)
    assert gc.get_threshold()[0] == USUAL


def test_it_waits_for_calls_but_not_for_long(loop: ManualLoop, collected: list[str]) -> None:
    """There may be calls at all times."""
    collector = Collector()
    collector.pause()
    loop.call_soon(collector.resume_when, lambda: False)
    loop.rest()
    for _ in range(LATEST - 1):
        loop.now += QUIET
        loop.rest()
    assert collected == []
    loop.now += QUIET
    loop.rest()
    assert (collected, collector.is_paused) == (["collected"], False)


def test_nothing_is_collected_for_an_app_that_does_without(
    loop: ManualLoop, collected: list[str]
) -> None:
    """It has disabled the collector, or has taken it over."""
    for do in (gc.disable, lambda: gc.set_threshold(0)):
        gc.enable()
        gc.set_threshold(USUAL)
        collector = Collector()
        collector.pause()
        do()
        loop.call_soon(collector.resume_when, lambda: True)
        loop.rest()
        loop.now += QUIET
        loop.rest()
    assert collected == []


def test_modules_are_spared_without_what_nobody_has_any_more() -> None:
    """Garbage that is spared would stay for good."""

    class Node:
        def __init__(self) -> None:
            self.itself = self

    gc.disable()  # it would find this at a time of its own
    left = weakref.ref(Node())
    assert left() is not None
    before = gc.get_freeze_count()
    Collector().spare_modules()
    assert left() is None
    assert gc.get_freeze_count() > before


SERVED = """
import gc
import uvicorn
from potassium import Potassium

async def serve_nothing(server): ...

uvicorn.Server.main_loop = serve_nothing
app = Potassium("collected")
app.handler(lambda cache, json_in: json_in)

@app.init
def init():
    print(gc.get_threshold()[0])
    assert not {fails}

gc.set_threshold(123)
try:
    app.serve(port=0)
except SystemExit:
    print("failed")
print(gc.get_threshold()[0])
"""


@pytest.mark.parametrize("fails", [False, True])
def test_it_is_paused_while_our_server_starts(*, fails: bool) -> None:
    """It is put back when the server ends, however early, and if the start fails."""
    code = SERVED.format(fails=fails)
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert ran.stdout.split() == [str(NEVER), *(["failed"] if fails else []), "123"]


async def test_it_is_not_touched_in_a_process_of_somebody_else(app: Potassium) -> None:
    """Neither by importing the package nor by starting an app in its lifespan."""
    seen: list[int] = []
    app.init(lambda: seen.append(gc.get_threshold()[0]))
    app.handler(lambda cache, json_in: json_in)
    async with app.lifespan():
        await asyncio.sleep(0)
    assert seen == [USUAL]
    assert gc.get_threshold()[0] == USUAL


APP = """
import gc
from potassium import Potassium

app = Potassium("collected")
at_import = gc.get_threshold()[0]


@app.init
def init():
    return {"init": gc.get_threshold()[0]}


@app.handler("/")
def handle(cache, json_in):
    return {
        **cache,
        "import": at_import,
        "now": gc.get_threshold()[0],
        "on": gc.isenabled(),
        "spared": gc.get_freeze_count() > 0,
    }
"""
MAIN = '\n\nif __name__ == "__main__":\n    app.serve()\n'


@pytest.fixture
def serve_app(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    with_contexts: list[Any] = []

    def start(*command: str, **env: str) -> Server:
        (tmp_path / "app.py").write_text(textwrap.dedent(APP) + MAIN)
        context = serve(
            [sys.executable, *command], tmp_path / "log", port=free_port(), cwd=tmp_path, env=env
        )
        with_contexts.append(context)
        return context.__enter__()

    yield start
    for context in with_contexts:
        context.__exit__(None, None, None)


def settled(server: Server) -> dict[str, Any]:
    """Return what a handler sees once the collector runs."""
    last: dict[str, Any] = {}

    def runs() -> bool:
        last.update(server.post(json={}).json())
        return bool(last["now"] != NEVER)

    wait_until(runs, "the collector to run again")
    return last


def test_potassium_serve_pauses_it_before_it_imports_the_app(
    serve_app: Callable[..., Server],
) -> None:
    """``python app.py`` has imported the app's libraries before it gets to ``serve()``."""
    usual = gc.get_threshold()[0]
    seen = settled(serve_app("-m", "potassium", "serve", "app.py"))
    assert (seen["import"], seen["init"], seen["on"]) == (NEVER, NEVER, True)
    assert (seen["now"], seen["spared"]) == (usual, True)
    server = serve_app("app.py")
    seen = settled(server)
    assert (seen["import"], seen["init"], seen["now"]) == (usual, NEVER, usual)


def test_worker_processes_pause_it_too(serve_app: Callable[..., Server]) -> None:
    """While they import the app, and while they load the model."""
    seen = settled(serve_app("app.py", POTASSIUM_WORKERS="cpu"))
    assert (seen["import"], seen["init"], seen["spared"]) == (NEVER, NEVER, True)
    assert seen["now"] != NEVER


WATCHED = """
import threading
import time
from potassium import Potassium
from potassium.serving.collector import COLLECTOR

app = Potassium("watched")
TELLERS, LATER = [], []
COLLECTOR.resume_when = TELLERS.append  # each tells whether nobody waits


def look_later():
    while not TELLERS[0]():
        time.sleep(0.005)
    LATER.append("idle")


@app.handler("/")
def handle(cache, json_in):
    if not LATER:
        threading.Thread(target=look_later, daemon=True).start()
    return {"now": [is_idle() for is_idle in TELLERS], "later": LATER[:1]}


if __name__ == "__main__":
    app.serve()
"""


@pytest.mark.parametrize("workers", ["0", "cpu"])
def test_the_first_collection_waits_for_calls(start: Start, workers: str) -> None:
    """Where the model is, and where the calls arrive."""
    server = start(WATCHED, env={"POTASSIUM_WORKERS": workers})
    seen: list[Any] = []

    def was_idle() -> bool:
        seen.append(server.post(json={}).json())
        return bool(seen[-1]["later"])

    wait_until(was_idle, "a moment between two calls")
    assert {tuple(one["now"]) for one in seen} == {(False,)}
    assert seen[-1]["later"] == ["idle"]
