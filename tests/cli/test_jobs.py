"""``potassium jobs``, with a real server."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cli.conftest import Run
from click import unstyle

from potassium.cli.remote.job_text import described, event_line, listed
from potassium.client import JobEvent
from potassium.client.job_record import JobRecord

NOW = datetime(2026, 11, 23, 12, 5, tzinfo=UTC)
DOCUMENT = {
    "id": "a1",
    "handler": "/train",
    "status": "queued",
    "created_at": "2026-11-23T12:00:00Z",
    "started_at": None,
    "finished_at": None,
    "attempts": 0,
    "progress": None,
    "message": None,
}


def record(**members: Any) -> JobRecord:
    return JobRecord("/jobs/a1", {**DOCUMENT, **members})


def submitted(run: Run, url: str, *inputs: str) -> str:
    """Run a job to its end, and return its id."""
    run("call", url, "/train", *inputs, "--background")
    (job,) = json.loads(run("jobs", "list", url, "-n", "1", "--json").stdout)
    return str(job["id"])


def test_jobs_are_listed(run: Run, url: str) -> None:
    """Newest first, as many as are wanted, of one state if that is wanted."""
    assert run("jobs", "list", url).stdout == "There are no jobs.\n"
    good, bad = submitted(run, url), submitted(run, url, "fails:=true")
    head, *rows = run("jobs", "list", url).stdout.splitlines()
    assert head.split() == ["ID", "HANDLER", "STATUS", "SUBMITTED", "RAN", "ATTEMPTS"]
    assert [row.split()[:3] for row in rows] == [
        [bad, "/train", "failed"],
        [good, "/train", "succeeded"],
    ]
    assert "handler_error: The handler raised" in rows[0]
    assert len(run("jobs", "list", url, "-n", "1").stdout.splitlines()) == 2
    listed = json.loads(run("jobs", "list", url, "--json", "--status", "failed").stdout)
    assert [job["id"] for job in listed] == [bad]
    assert run("jobs", "list", url, "--status", "queued").stdout == "There are no queued jobs.\n"


def test_a_list_is_watched(run: Run, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is shown anew, until Ctrl-C."""
    naps: list[float] = []

    def sleep(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("potassium.cli.jobs.time", SimpleNamespace(sleep=sleep))
    result = run("jobs", "list", url, "--watch")
    assert (result.exit_code, naps) == (130, [2.0, 2.0])
    assert result.stdout == "There are no jobs.\n\n" * 2


def test_a_job_is_shown(run: Run, url: str) -> None:
    """With its output or its error; as JSON, if that is wanted."""
    shown = run("jobs", "show", url, submitted(run, url)).stdout
    assert "status     succeeded" in shown
    assert "progress   100% first quarter" in shown
    assert shown.endswith('output\n{"loss": 0.1}\n')
    failed = submitted(run, url, "fails:=true")
    assert "error      handler_error: The handler raised" in run("jobs", "show", url, failed).stdout
    assert json.loads(run("jobs", "show", url, failed, "--json").stdout)["status"] == "failed"


def test_the_output_of_a_job_goes_to_a_file(run: Run, url: str) -> None:
    """JSON as it is, and what is not JSON as well; a job without one is said to have none."""
    run("jobs", "show", url, submitted(run, url), "-o", "x.json")
    assert json.loads(Path("x.json").read_text()) == {"loss": 0.1}
    binary = submitted(run, url, "binary:=true")
    assert "3 B, application/octet-stream; --output FILE" in run("jobs", "show", url, binary).stdout
    run("jobs", "show", url, binary, "-o", "x.bin")
    assert Path("x.bin").read_bytes() == b"\x00\xff\x1b"
    result = run("jobs", "show", url, submitted(run, url, "fails:=true"), "-o", "y")
    assert (result.exit_code, Path("y").exists()) == (1, False)
    assert "The job has no output. handler_error" in result.stderr


def test_the_events_of_a_job_are_followed(run: Run, url: str) -> None:
    """To its end, which the exit status tells; as lines of JSON, if that is wanted."""
    good, bad = submitted(run, url), submitted(run, url, "fails:=true")
    result = run("jobs", "show", url, good, "--events")
    lines = result.stdout.splitlines()
    assert lines[:4] == ["queued", "running (attempt 1)", " 25% first quarter", "succeeded"]
    assert result.exit_code == 0
    result = run("jobs", "show", url, bad, "--events", "--json")
    assert result.exit_code == 1
    events = [json.loads(line) for line in result.stdout.splitlines()]
    assert [event["id"] for event in events] == [1, 2, 3, 4]
    assert events[-1]["data"]["status"] == "failed"


def test_jobs_are_cancelled_and_retried(run: Run, url: str) -> None:
    """Each by its id; what cannot be is said, and the others are done nevertheless."""
    good, bad = submitted(run, url), submitted(run, url, "fails:=true")
    result = run("jobs", "retry", url, good, bad)
    assert (result.exit_code, result.stdout) == (1, f"{bad} queued\n")
    assert f"{good}: The server answered 409 job_has_ended" in result.stderr
    run("jobs", "show", url, bad, "--events")
    assert json.loads(run("jobs", "show", url, bad, "--json").stdout)["attempts"] == 2
    result = run("jobs", "cancel", url, good, "0" * 32)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "409 job_has_ended" in result.stderr
    assert "404 not_found" in result.stderr


def test_ended_jobs_are_deleted(run: Run, url: str) -> None:
    """Of one state, or all; those that are too young stay."""
    submitted(run, url)
    submitted(run, url, "fails:=true")
    result = run("jobs", "purge", url, "--older-than", "1h", "--yes")
    assert result.stdout.count("0 ") == 4
    result = run("jobs", "purge", url, "--status", "failed", "-y")
    assert result.stdout == "1 failed job deleted\n"
    assert len(run("jobs", "list", url).stdout.splitlines()) == 2
    run("jobs", "purge", url, "-y")
    assert run("jobs", "list", url).stdout == "There are no jobs.\n"


def test_deletion_is_confirmed(run: Run, url: str) -> None:
    """The question says what is deleted; without a yes, nothing is."""
    submitted(run, url)
    for given in ("n\n", "", "\n"):
        result = run("jobs", "purge", url, "--older-than", "90", input=given)
        assert result.exit_code == 1
        assert "Delete all ended jobs that ended more than 1 min 30 s ago at" in result.stdout
    assert len(run("jobs", "list", url).stdout.splitlines()) == 2
    result = run("jobs", "purge", url, "--status", "succeeded", input="y\n")
    assert "1 succeeded job deleted" in result.stdout


@pytest.mark.parametrize("age", ["3x", "-1", "", "1.5h"])
def test_what_is_no_age_is_said(run: Run, url: str, age: str) -> None:
    """With examples of some."""
    result = run("jobs", "purge", url, "--yes", "--older-than", age)
    assert result.exit_code == 2
    assert "write 90, 30m, 12h or 7d" in result.stderr


def test_times_are_relative() -> None:
    """How long ago it was submitted, and how long it ran, or has run until now."""
    started = {"started_at": "2026-11-23T12:04:00Z", "attempts": 1}
    rows = [
        record(),
        record(status="running", progress=0.5, message="half\nway", **started),
        record(status="failed", finished_at="2026-11-23T12:04:01.5Z", **started),
    ]
    cells = [unstyle(line).split()[2:] for line in listed(rows, NOW)[1:]]
    assert cells == [
        ["queued", "5", "min", "ago", "0"],
        ["running", "5", "min", "ago", "1", "min", "1", "50%", "half", "way"],
        ["failed", "5", "min", "ago", "1.50", "s", "1"],
    ]


def test_a_clock_that_is_behind_that_of_the_server_does_not_matter() -> None:
    """Nothing happens in the future."""
    (_, row) = listed([record()], NOW - timedelta(hours=1))
    assert row.split()[3] == "now"


def test_a_queued_job_shows_its_position() -> None:
    """Among those of its handler."""
    assert any("2 among the queued" in line for line in described(record(position=2), NOW))


@pytest.mark.parametrize(
    ("kind", "data", "line"),
    [
        ("chunk", "text", "text"),
        ("chunk", {"a": 1}, '{"a":1}'),
        ("progress", {"progress": None, "message": "a\nb"}, "a b"),
        ("progress", {"progress": 1.0, "message": None}, "100%"),
        ("status", {"status": "queued", "attempts": 1}, "queued"),
    ],
)
def test_an_event_is_a_line(kind: str, data: Any, line: str) -> None:
    """Whatever its message contains."""
    assert unstyle(event_line(JobEvent(id=1, kind=kind, data=data))) == line
