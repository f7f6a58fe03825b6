"""Background jobs as people read them."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from potassium.cli.remote.results import pretty
from potassium.cli.remote.terminal import ago, one_line, seconds_shown, size_shown, styled, table
from potassium.client import JobEvent
from potassium.client.job_record import JobRecord

__all__ = ["COLOURS", "described", "event_line", "listed", "now"]

COLOURS = {
    "queued": "cyan",
    "running": "blue",
    "succeeded": "green",
    "failed": "red",
    "cancelled": "yellow",
    "expired": "yellow",
}
HEAD = ("ID", "HANDLER", "STATUS", "SUBMITTED", "RAN", "ATTEMPTS", "")
AT_RIGHT = (3, 4, 5)
WIDE = 60  # characters of the last column


def now() -> datetime:
    """Return the time, as this machine has it."""
    return datetime.now(UTC)


def listed(jobs: Sequence[JobRecord], at: datetime) -> list[str]:
    """Return the lines of a table of jobs, with times relative to ``at``."""
    rows = [
        (
            job.id,
            job.handler,
            _status(job),
            ago(_since(job.created_at, at)),
            _ran(job, at),
            str(job.attempts),
            _note(job),
        )
        for job in jobs
    ]
    return table([HEAD, *rows], AT_RIGHT)


def described(job: JobRecord, at: datetime) -> Iterator[str]:
    """Yield lines with all that is known of a job."""
    rows = [("job", job.id), ("handler", job.handler), ("status", _status(job))]
    if job.position is not None:
        rows.append(("position", f"{job.position} among the queued jobs of its handler"))
    rows.append(("submitted", _moment(job.created_at, at)))
    if job.started_at is not None:
        rows.append(("started", f"{_moment(job.started_at, at)}, attempt {job.attempts}"))
    if job.finished_at is not None:
        rows.append(("ended", _moment(job.finished_at, at)))
        rows += [("ran for", _ran(job, at))] if job.started_at is not None else []
    if job.progress is not None:
        rows.append(("progress", f"{job.progress:.0%} {one_line(job.message or '')}".rstrip()))
    error = job.document.get("error")
    if error is not None:
        rows.append(("error", f"{error.get('code')}: {one_line(error.get('detail', ''))}"))
        rows += [("request", str(error["request_id"]))] if error.get("request_id") else []
    if "output_url" in job.document:
        size, kind = job.document["output_size"], job.document["output_type"]
        rows.append(("output", f"{size_shown(size)}, {kind}; --output FILE writes it"))
    yield from table(rows)
    if "output" in job.document:
        yield "output"
        yield pretty(orjson.dumps(job.document["output"]))


def event_line(event: JobEvent) -> str:
    """Return a line that says what has happened to a job."""
    data: Any = event.data
    match event.kind:
        case "status":
            status = data["status"]
            shown = styled(status, fg=COLOURS.get(status))
            return f"{shown} (attempt {data['attempts']})" if status == "running" else shown
        case "progress":
            share = data.get("progress")
            shown = "" if share is None else f"{share:4.0%} "
            return f"{shown}{one_line(data.get('message') or '')}".rstrip()
        case _:
            return one_line(data if isinstance(data, str) else orjson.dumps(data).decode())


def _status(job: JobRecord) -> str:
    return styled(job.status, fg=COLOURS.get(job.status))


def _note(job: JobRecord) -> str:
    """Return what matters most about a job besides its state."""
    if error := job.document.get("error"):
        text = f"{error.get('code')}: {error.get('detail', '')}"
    elif job.status == "running" and job.progress is not None:
        text = f"{job.progress:.0%} {job.message or ''}"
    else:
        return ""
    text = one_line(text)
    return text if len(text) <= WIDE else f"{text[: WIDE - 1]}…"


def _ran(job: JobRecord, at: datetime) -> str:
    if job.started_at is None:
        return ""
    end = job.finished_at or (at if job.status == "running" else None)
    return "" if end is None else seconds_shown(_since(job.started_at, end))


def _since(begin: datetime, end: datetime) -> float:
    """Return the seconds from one time to another; none if clocks differ."""
    return max(end - begin, timedelta()).total_seconds()


def _moment(moment: datetime, at: datetime) -> str:
    shown = moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")
    return f"{shown} ({ago(_since(moment, at))})"
