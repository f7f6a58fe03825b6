"""The ledger of a start: where the time went until the app was ready."""

import logging
from collections.abc import Callable
from typing import Any

import pytest

from potassium import Potassium
from potassium.engine import Operation, WorkerReport
from potassium.engine.service_time import EARLY
from potassium.serving.startup import Startup
from potassium.testing import client


class Imports:
    """What a process has imported, as a test says."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.known: list[str] = []
        self.since: tuple[float, float] | None = None

    def since_process_began(self) -> tuple[float, float] | None:
        return self.since

    def remove(self) -> None: ...


class Bench:
    def __init__(self) -> None:
        self.now = 100.0
        self.imports = Imports()
        self.startup = Startup(self.imports, lambda: self.now)  # type: ignore[arg-type]

    def start(self, init: float, *, by_request: bool = False, **libraries: float) -> None:
        """Start an app whose ``init`` takes some time, with imports in it."""
        self.startup.begin(by_request=by_request)
        with self.startup.phase("init"):
            self.now += init
            for name, seconds in libraries.items():
                self.imports.seconds[name] = self.imports.seconds.get(name, 0) + seconds
        self.now += 0.01
        self.startup.ready()


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    caplog.set_level(logging.INFO, logger="potassium")
    return lambda: [one.getMessage() for one in caplog.records]


def test_one_line_tells_where_the_time_went(bench: Bench, lines: Callable[[], list[str]]) -> None:
    """The import of the app and ``init``, and within each the libraries that took long."""
    bench.imports.since = 0.2, 3.1
    bench.imports.seconds = {"torch": 2.6}
    bench.start(9.0, transformers=1.2, torch=0.001)
    assert lines() == [
        "ready in 12.1 s: import 3.1 s (torch 2.6 s), init 9.0 s (transformers 1.2 s)"
    ]


def test_what_was_imported_before_us_is_told_as_a_whole(
    bench: Bench, lines: Callable[[], list[str]]
) -> None:
    """``import torch`` above ``import potassium`` cannot be measured, but its place is known."""
    bench.imports.since = 2.8, 3.1
    bench.imports.known = ["torch"]
    bench.start(1.0)
    (line,) = lines()
    assert "import 3.1 s, 2.8 s of it before potassium, with torch, init 1.0 s" in line


def test_the_figures_are_in_the_document(bench: Bench) -> None:
    """In seconds, with all libraries, however short."""
    bench.imports.since = 0.2, 3.1
    bench.imports.seconds = {"torch": 2.6}
    bench.start(9.0, torch=0.25)
    assert bench.startup.document() == {
        "seconds": 12.11,
        "phases": {"import": 3.1, "init": 9.0, "other": 0.01},
        "libraries": {"import": {"torch": 2.6}, "init": {"torch": 0.25}},
        "workers": {},
        "worker_phases": {},
        "warmups": {},
        "before_import": 0.2,
        "first_calls": {},
    }


def test_workers_are_told_with_what_each_took(bench: Bench, lines: Callable[[], list[str]]) -> None:
    """Their libraries are those of the one that took longest; the phase is what all took."""

    def worker(name: str, seconds: float, **libraries: float) -> WorkerReport:
        return WorkerReport(
            name=name,
            device=name,
            state="ready",
            states=(),
            activity=None,
            load_seconds=seconds,
            libraries=libraries,
        )

    bench.startup.begin(by_request=True)
    with bench.startup.phase("init"):
        bench.now += 9.0
    one, other = worker("cuda:0", 8.1, torch=2.1), worker("cuda:1", 8.9, torch=2.6, jax=1.0)
    bench.startup.note_workers([one, other])
    bench.startup.ready()
    assert lines() == [
        "ready in 9.0 s: init 9.0 s (cuda:0 8.1 s, cuda:1 8.9 s; torch 2.6 s, jax 1.0 s)"
    ]
    document = bench.startup.document()
    assert document["phases"]["init"] == 9.0
    assert document["workers"] == {"cuda:0": 8.1, "cuda:1": 8.9}
    assert document["libraries"] == {"init": {"torch": 2.6, "jax": 1.0}}


def test_a_start_by_a_request_begins_with_the_request(bench: Bench) -> None:
    """The process may have been there for hours."""
    bench.imports.since = 3600.0, 3601.0
    bench.start(2.0, by_request=True)
    document = bench.startup.document()
    assert document["phases"] == {"init": 2.0, "other": 0.01}
    assert document["seconds"] == 2.01


def test_a_second_start_is_counted_anew(bench: Bench) -> None:
    """Nothing of the first one is left."""
    bench.imports.since = 0.2, 3.1
    bench.start(9.0, torch=1.0)
    bench.imports.since = None
    bench.start(1.0)
    document = bench.startup.document()
    assert document["phases"] == {"init": 1.0, "other": 0.01}
    assert document["libraries"] == {}


def test_a_start_without_anything_long_is_one_short_line(
    bench: Bench, lines: Callable[[], list[str]]
) -> None:
    """Phases of milliseconds are not worth a word."""
    bench.start(0.001)
    assert lines() == ["ready in 0.0 s"]


def first_calls(first: float, later: float, count: int = EARLY) -> Operation:
    operation = Operation("/chat", lambda _: None)
    Startup().watch([operation])
    operation.service_time.add(first)
    for _ in range(count):
        operation.service_time.add(later)
    return operation


def test_a_slow_first_call_is_told_once_beside_those_after_it(
    lines: Callable[[], list[str]],
) -> None:
    """And what spares the first caller this."""
    operation = first_calls(1.84, 0.02)
    operation.service_time.add(0.02)
    (line,) = lines()
    assert line.startswith(
        "/chat took 1.84 s for its first call, and 0.020 s on average for the 10"
    )
    assert line.endswith("to spare the first caller this, give it warmup=, an input")


@pytest.mark.parametrize(("first", "later"), [(0.04, 0.001), (1.0, 0.9), (0.01, 2.0)])
def test_a_first_call_like_the_others_is_not_worth_a_line(
    lines: Callable[[], list[str]], first: float, later: float
) -> None:
    """Nor is one that is short anyway."""
    first_calls(first, later)
    assert lines() == []


async def test_the_status_page_has_the_ledger(
    app: Potassium, lines: Callable[[], list[str]]
) -> None:
    """With the first call of each handler, and the mean of those after it once it is known."""
    app.handler("/a")(lambda cache, json_in: json_in)
    app.handler("/b")(lambda cache, json_in: json_in)

    async def startup() -> Any:
        return (await http.get("/_k/status")).json()["startup"]

    async with client(app) as http:
        before = await startup()
        await http.post("/a", json={})
        after_one = await startup()
        for _ in range(EARLY):
            await http.post("/a", json={})
        after_more = await startup()
    assert before["first_calls"] == {}
    assert before["phases"]["init"] >= 0
    assert before["seconds"] >= before["phases"]["init"]
    assert after_one["first_calls"]["/a"]["seconds"] >= 0
    assert after_one["first_calls"]["/a"]["later_seconds"] is None
    assert after_more["first_calls"].keys() == {"/a"}
    assert after_more["first_calls"]["/a"]["later_seconds"] >= 0
    assert [line for line in lines() if line.startswith("ready in ")]
