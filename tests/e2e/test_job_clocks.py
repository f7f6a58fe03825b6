"""Clocks that are set move no job and delete no result."""

import os
import time
from pathlib import Path

import pytest
from e2e.jobs import IMPORTS, SERVE, Document, document, end_of, get, post, reaches, submit
from e2e.server import Server, Start, wait_until
from e2e.wire import call, events

HOUR = 3600.0
DAY = 24 * HOUR

# The machine's clock, as far as Python tells it; set before anything imports it.
SOURCE = (
    """
import os
import time

real, shift = time.time, [float(os.environ.get("SHIFT", "0"))]
time.time = lambda: real() + shift[0]
"""
    + IMPORTS
    + """
app = Potassium("server", jobs=Jobs(keep_for=3600))


@app.background("/hold")
def held(cache, json_in):
    return hold(json_in)


@app.background("/echo")
def echo(cache, json_in):
    return json_in


@app.background("/fails", attempts=2, backoff=0.5)
def fails(cache, json_in):
    raise ValueError


@app.handler("/clock", concurrency=1)
async def clock(cache, json_in):
    shift[0] = json_in["shift"]
    return {}
"""
    + SERVE
)


def set_clock(server: Server, shift: float) -> None:
    assert post(server, "/clock", {"shift": shift}).status_code == 200


def holding(server: Server, name: str, gate: Path) -> tuple[Document, Document]:
    """Return a job that runs, and one that waits behind it."""
    running = submit(server, "/hold", call(name, gate))
    waiting = submit(server, "/echo", {"a": 1})
    reaches(server, running, "running")
    wait_until(lambda: events(server, name), "the job at work")
    return running, waiting


@pytest.mark.parametrize("step", [-HOUR, 25 * HOUR])
def test_a_job_that_waits_is_not_moved(start: Start, name: str, gate: Path, step: float) -> None:
    """Jobs submitted before and after the clock was set run as soon as the thread is free."""
    server = start(SOURCE)
    running, waiting = holding(server, name, gate)
    set_clock(server, step)
    later = submit(server, "/echo", {"b": 2})
    gate.touch()
    assert end_of(server, running)["status"] == "succeeded"
    assert end_of(server, waiting)["output"] == {"a": 1}
    assert end_of(server, later)["output"] == {"b": 2}
    assert end_of(server, submit(server, "/fails"))["attempts"] == 2


def test_no_result_is_deleted(start: Start) -> None:
    """The clock is a day ahead for a while, and jobs are looked for that are old enough."""
    server = start(SOURCE)
    job = end_of(server, submit(server, "/echo", {"a": 1}))
    set_clock(server, 25 * HOUR)
    end_of(server, submit(server, "/fails"))  # a second has passed, and with it a sweep
    time.sleep(1.5)
    assert get(server, f"/jobs/{job['id']}").status_code == 200
    set_clock(server, 0.0)
    assert document(server, job) == job


@pytest.mark.parametrize("step", [-HOUR, 25 * HOUR])
def test_a_restart_with_another_time_changes_nothing(
    start: Start, name: str, gate: Path, step: float
) -> None:
    """What waited before runs, and what has ended is kept."""
    server = start(SOURCE)
    ended = end_of(server, submit(server, "/echo", {"a": 1}))
    running, waiting = holding(server, name, gate)
    server.process.kill()
    server.process.wait()
    gate.touch()
    server = start(SOURCE, env={**os.environ, "SHIFT": str(step)})
    assert end_of(server, running)["status"] == "succeeded"
    assert end_of(server, waiting)["status"] == "succeeded"
    time.sleep(1.5)
    assert document(server, ended)["output"] == {"a": 1}


def test_times_are_shown_as_the_clock_tells_them(start: Start) -> None:
    """After a correction, a job of just now is shown as one of just now."""
    server = start(SOURCE)
    before = submit(server, "/echo")
    set_clock(server, 400 * DAY)
    shown = document(server, before)["created_at"]
    assert int(shown[:4]) > int(before["created_at"][:4])
