"""A worker process on the status page."""

from dataclasses import asdict
from typing import Any

from potassium.engine import WorkerReport

__all__ = ["worker_shown"]


def worker_shown(report: WorkerReport) -> dict[str, Any]:
    """Return what the status page says of a worker; in milliseconds, unless a name says seconds."""
    running, progress = report.running, report.last_progress_seconds
    return {
        "name": report.name,
        "device": report.device,
        "state": report.state,
        "activity": report.activity and report.activity.value,
        "pid": report.pid,
        "running": running and {"handler": running[0], "for": round(running[1] * 1000)},
        "last_progress_seconds": round(progress, 3),
        "calls": report.calls,
        "groups": report.groups,
        "open_streams": report.open_streams,
        "finished": report.finished,
        "busy_seconds": round(report.busy_seconds, 3),
        "load_seconds": None if report.load_seconds is None else round(report.load_seconds, 3),
        "libraries": {name: round(seconds, 3) for name, seconds in report.libraries.items()},
        "phases": {name: round(seconds, 3) for name, seconds in report.phases.items()},
        "memory": report.memory,
        "device_memory": {name: asdict(sizes) for name, sizes in report.device_memory.items()},
        "ends": {kind: count for kind, count in report.ends.items() if count},
        "last_end": report.last_end,
    }
