"""What is said while a model loads, on a clock that only the tests advance."""

import logging
import threading
from collections.abc import Callable
from io import StringIO
from typing import Any

import httpx
import pytest
from support.manual_time import ManualLoop

from potassium import Potassium
from potassium.serving.loading import Loading


class Terminal(StringIO):
    def __init__(self, *, is_one: bool = True) -> None:
        super().__init__()
        self.is_one = is_one

    def isatty(self) -> bool:
        return self.is_one


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    return lambda: [one.getMessage() for one in caplog.records]


def load(
    seconds: int,
    terminal: Any = None,
    place: str | None = None,
    *,
    worker: str | None = None,
    by_workers: bool = False,
) -> None:
    """Load for so many seconds."""
    loop = ManualLoop()
    faults: list[Any] = []
    loop.set_exception_handler(lambda _, context: faults.append(context))

    async def enter() -> Loading:
        where = None if by_workers else lambda: place
        shown = terminal or Terminal(is_one=False)
        return Loading(where, worker=worker, terminal=shown).__enter__()

    loading = loop.run_until_complete(enter())
    for _ in range(seconds):
        loop.now += 1
        loop.rest()
    loading.__exit__(None, None, None)
    loop.now += 1000
    loop.rest()
    loop.close()
    assert faults == []


def test_a_long_start_is_told_at_growing_intervals(lines: Callable[[], list[str]]) -> None:
    """After 30 s, a minute, two, four: an hour makes eight lines."""
    load(3600)
    assert lines() == [
        f"loading, {seconds} s so far" for seconds in (30, 60, 120, 240, 480, 960, 1920)
    ]


def test_a_worker_tells_where_it_loads(lines: Callable[[], list[str]]) -> None:
    """With the line at which its init is; the terminal belongs to the front."""
    terminal = Terminal()
    load(40, terminal, "app.py:7", worker="cuda:1")
    assert lines() == ["loading on cuda:1, 30 s so far; init is at app.py:7"]
    assert terminal.getvalue() == ""


def test_the_front_of_workers_leaves_that_to_them(lines: Callable[[], list[str]]) -> None:
    """It shows the seconds on the terminal only."""
    terminal = Terminal()
    load(40, terminal, by_workers=True)
    assert lines() == []
    assert "loading... 40 s" in terminal.getvalue()


def test_a_short_start_is_not_told(lines: Callable[[], list[str]]) -> None:
    """Nor is anything said once it is over."""
    load(29)
    assert lines() == []


def test_the_line_tells_where_init_is(lines: Callable[[], list[str]]) -> None:
    """So that a download can be told from a computation, and both from a deadlock."""
    load(30, place="app.py:12 in load (ssl.py:1166)")
    assert lines() == ["loading, 30 s so far; init is at app.py:12 in load (ssl.py:1166)"]


def test_a_terminal_shows_the_seconds_in_one_line_that_goes_with_the_end() -> None:
    """It is rewritten in place, and the cursor is at its beginning for whatever comes next."""
    terminal = Terminal()
    load(3, terminal)
    assert terminal.getvalue() == (
        "loading... 1 s\rloading... 2 s\rloading... 3 s\r" + " " * len("loading... 3 s") + "\r"
    )


def test_a_start_of_less_than_a_second_shows_nothing() -> None:
    """Not even for a moment."""
    terminal = Terminal()
    load(0, terminal)
    assert terminal.getvalue() == ""


def test_what_is_no_terminal_stays_as_it_is() -> None:
    """A file or a pipe gets the lines of the log alone."""
    terminal = Terminal(is_one=False)
    load(100, terminal)
    assert terminal.getvalue() == ""


def test_a_terminal_that_is_closed_does_not_keep_the_model_from_loading() -> None:
    """Somebody has closed stderr."""
    terminal = Terminal()
    terminal.close()
    load(3, terminal)


async def test_the_place_is_the_line_of_the_apps_own_init(app: Potassium) -> None:
    """With what it has called, in parentheses; None before and after."""
    inside, go = threading.Event(), threading.Event()

    @app.init
    def init() -> dict[str, Any]:
        inside.set()
        assert go.wait(10)
        return {}

    place = app._parts.plan.loading_at
    assert place() is None

    def look() -> str | None:
        assert inside.wait(10)
        try:
            return place()
        finally:
            go.set()

    with_init: list[str | None] = []
    looking = threading.Thread(target=lambda: with_init.append(look()))
    looking.start()
    async with app.lifespan():
        looking.join(10)
        assert place() is None
    (seen,) = with_init
    assert seen is not None
    assert seen.startswith("test_loading.py:")
    assert ".init" in seen


async def test_a_start_by_a_request_is_told_as_well(
    app: Potassium, monkeypatch: pytest.MonkeyPatch, lines: Callable[[], list[str]]
) -> None:
    """The request waits, and so does whoever looks at the log."""
    monkeypatch.setattr("potassium.serving.loading.FIRST", 0.0)
    monkeypatch.setattr("potassium.serving.loading.PERIOD", 0.01)
    told = threading.Event()

    class Told(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "so far" in record.getMessage():
                told.set()

    handler = Told()
    logging.getLogger("potassium").addHandler(handler)
    app.init(lambda: {"told": told.wait(10)})
    app.handler(lambda cache, json_in: cache)
    try:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
            assert (await http.post("/", json={})).json() == {"told": True}
    finally:
        logging.getLogger("potassium").removeHandler(handler)
