"""``potassium status``: one look, and a view that goes on."""

import io
import json
from typing import Any

import pytest
from cli.conftest import Run
from click import unstyle

from potassium.cli.remote.server import Server
from potassium.cli.remote.status_text import Seen, lines
from potassium.cli.remote.terminal import Lines
from potassium.cli.status import Watch
from potassium.client import CallFailed, NotFound
from potassium.client.errors import Problem
from potassium.client.problems import connection_failed

DOCUMENT: dict[str, Any] = {
    "name": "tested",
    "state": "ready",
    "activity": "idle",
    "last_progress_seconds": 0.0,
    "queue": {"length": 0, "limit": 256},
    "lanes": {},
    "started_at": None,
    "startup": {"seconds": None, "phases": {}, "first_calls": {}},
    "open_streams": 0,
    "stalled_streams": 0,
    "running": None,
    "counts": {"admitted": 10, "refused": 0, "succeeded": 10, "failed": 0, "cancelled": 0},
    "service_time": {},
    "estimated_wait": {},
    "open_calls": 0,
    "jobs": None,
    "webhooks": None,
}


def shown(before: Seen | None = None, at: float = 0.0, **members: Any) -> str:
    seen = Seen({**DOCUMENT, **members}, at)
    return unstyle("\n".join(lines("http://a", seen, before)))


def test_a_server_is_looked_at_once_where_nobody_watches(run: Run, url: str) -> None:
    """Or as JSON."""
    run("call", url, "/echo")
    text = run("status", url).stdout
    assert text.startswith(f"tested  ready  http://{url}  up ")
    assert "GPU thread  idle" in text
    assert "1 succeeded" in text
    assert "/echo" in text
    assert json.loads(run("status", url, "--json").stdout)["state"] == "ready"


def test_what_the_gpu_thread_does_is_shown() -> None:
    """And for how long nothing has come of it."""
    running = {"handler": "/train", "for": 83_000}
    busy = shown(activity="busy", running=running, last_progress_seconds=1.5)
    assert "GPU thread  busy, /train for 1 min 23 s, last progress 1.50 s ago" in busy
    stuck = shown(activity="stuck", last_progress_seconds=90, oldest_step="/train")
    assert "GPU thread  stuck, a step of /train, last progress 1 min 30 s ago" in stuck


def worker(name: str, **members: Any) -> dict[str, Any]:
    return {
        "name": name,
        "state": "ready",
        "activity": "idle",
        "running": None,
        "finished": 1200,
        "open_streams": 0,
        "busy_seconds": 10.0,
        "memory": 3 * 2**29,
        "device_memory": {},
        "ends": {},
        "last_end": None,
        **members,
    }


def test_workers_are_shown_in_a_table() -> None:
    """With what each runs, the share of the time that it was busy, and how others have ended."""
    memory = {"cuda:0": {"allocated": 1.0, "reserved": 2.0**31, "total": 2.0**33}}
    running = {"handler": "/train", "for": 83_000}
    one = worker("cuda:0", activity="busy", running=running, device_memory=memory)
    gone = worker(
        "cuda:1",
        state="given_up",
        activity=None,
        memory=None,
        ends={"killed": 2, "hung": 1},
        last_end="was killed by signal 9 (SIGKILL)",
    )
    before = Seen({**DOCUMENT, "workers": [{**one, "busy_seconds": 9.0}, gone]}, 100.0)
    text = shown(before, 102.0, activity="busy", workers=[one, gone])
    assert "GPU thread" not in text
    assert "workers     busy" in text
    rows = [line.split() for line in text.splitlines() if line.startswith(("WORKER", "cuda:"))]
    assert rows == [
        ["WORKER", "STATE", "RUNS", "BUSY", "CALLS", "STREAMS", "MEMORY", "ENDS"],
        [
            *("cuda:0", "ready", "/train", "for", "1", "min", "23", "s", "50%", "1,200", "0"),
            *("1.5", "GiB", "+", "2.0", "GiB", "0"),
        ],
        ["cuda:1", "given_up", "0%", "1,200", "0", "3"],
        ["cuda:1:", *["the", "last", "one", "was", "killed", "by", "signal", "9", "(SIGKILL)"]],
    ]


def test_without_workers_none_are_shown() -> None:
    """Nor by a server that does not know of them."""
    assert "WORKER" not in shown(workers=[])
    assert "WORKER" not in shown()


def test_the_queue_is_shown_with_the_time_to_wait() -> None:
    """That of the handler for which it is longest."""
    text = shown(
        queue={"length": 3, "limit": 256},
        service_time={"/a": 20.0, "/b": 1.5},
        estimated_wait={"/a": 60.0, "/b": 4.5},
        lanes={"/c": {"length": 1, "limit": 8}},
    )
    assert "queue       3 of 256 waiting, a new call waits about 60.0 ms" in text
    rows = [line.split() for line in text.splitlines() if line.startswith("/")]
    assert rows == [
        ["/a", "20.0", "ms", "60.0", "ms"],
        ["/b", "1.50", "ms", "4.50", "ms"],
        ["/c", "1", "of", "8"],
    ]


def test_rates_are_those_since_the_last_look() -> None:
    """Of what has happened since."""
    before = Seen(DOCUMENT, 5.0)
    counts = {**DOCUMENT["counts"], "succeeded": 30, "refused": 4}
    assert "(10/s succeeded, 2/s refused)" in shown(before, 7.0, counts=counts)
    assert "(none now)" in shown(before, 7.0)
    restarted = dict.fromkeys(counts, 0)
    assert "(none now)" in shown(before, 7.0, counts=restarted)


def test_jobs_and_webhooks_are_shown_where_there_are_any() -> None:
    """And how the start went."""
    text = shown(
        jobs={"queued": 2, "failed": 1, "running": 0},
        webhooks={"waiting": 3, "attempts": {"delivered": 5, "given_up": 1}, "dropped": 0},
        startup={
            "seconds": 4.0,
            "phases": {"import": 3.0, "init": 1.0},
            "first_calls": {
                "/a": {"seconds": 0.5, "later_seconds": 0.01},
                "/b": {"seconds": 0.001, "later_seconds": None},
            },
        },
    )
    assert "jobs        2 queued, 1 failed" in text
    assert "webhooks    3 waiting, 5 attempts delivered, 1 attempts given up" in text
    assert "start       4.00 s: import 3.00 s, init 1.00 s" in text
    assert "first call of /a 500 ms, the next ones 10.0 ms" in text
    assert "/b" not in text
    without = shown()
    assert "jobs" not in without
    assert "webhooks" not in without


def test_an_older_server_is_shown_as_far_as_it_says() -> None:
    """Members may be missing."""
    old = {"name": "old", "state": "failed", "counts": {}}
    assert unstyle("\n".join(lines("http://a", Seen(old, 0.0), None))).startswith("old  failed")


class Screen(io.StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        return True

    def last(self) -> str:
        """Return what was written since this was last asked for."""
        text = self.getvalue()
        self.seek(0)
        self.truncate()
        return unstyle(text)


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Screen:
    monkeypatch.setenv("TERM", "xterm")
    return Screen()


def test_a_view_survives_a_server_that_goes_away(screen: Screen) -> None:
    """It says for how long there was no answer, above what was last seen."""
    answers: Any = iter(
        [
            DOCUMENT,
            connection_failed(ConnectionRefusedError()),
            connection_failed(ConnectionRefusedError()),
            {**DOCUMENT, "state": "starting"},
        ]
    )

    def page(path: str) -> Any:
        assert path == "/_k/status"
        answer = next(answers)
        if isinstance(answer, CallFailed):
            raise answer
        return answer

    now = iter([0.0, 0.0, 1.0, 3.0, 4.0])
    watch = Watch(Server("http://a"), page, Lines(screen), clock=lambda: next(now))
    watch.look()
    assert "No answer" not in screen.last()
    watch.look()
    screen.last()
    watch.look()
    text = screen.last()
    assert "No answer for 3 s." in text
    assert "Nothing listens at http://a" in text
    assert "tested  ready  http://a" in text
    watch.look()
    text = screen.last()
    assert "No answer" not in text
    assert "tested  starting" in text


def test_a_view_of_what_is_no_potassium_ends(screen: Screen) -> None:
    """As that does not change by itself."""

    def page(path: str) -> Any:
        raise NotFound(Problem(code="not_found", detail="", status=404))

    with pytest.raises(NotFound):
        Watch(Server("http://a"), page, Lines(screen), sleep=lambda _: None).run()


def test_a_view_looks_each_second(screen: Screen) -> None:
    """Until it is interrupted."""
    naps: list[float] = []

    def sleep(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) == 3:
            raise KeyboardInterrupt

    watch = Watch(Server("http://a"), lambda _: DOCUMENT, Lines(screen), sleep=sleep)
    with pytest.raises(KeyboardInterrupt):
        watch.run()
    assert naps == [1.0] * 3
    assert screen.last().count("tested  ready") == 3
