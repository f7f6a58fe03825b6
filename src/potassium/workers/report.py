"""What operators are shown of a worker."""

import os
from pathlib import Path

from potassium.engine import DeviceMemory, WorkerReport
from potassium.workers.death import EndKind
from potassium.workers.placement import Placement
from potassium.workers.post import Post, PostState
from potassium.workers.pulse import FleetPulse
from potassium.workers.remote import RemoteWorker

__all__ = ["report_of"]

STATES = tuple(state.value for state in PostState)


def report_of(post: Post, pulse: FleetPulse, now: float) -> WorkerReport:
    """Return what there is to say of a device and its worker, as of ``now``."""
    worker, placement, end = post.worker, post.start.placement, post.history.last_end
    busy, running, beat = post.history.busy, None, None
    if worker is not None and post.is_ready:
        its = pulse.of(worker)
        busy += its.busy_seconds()
        beat = its.beat()
        running = _running(worker, now)
    streams = [] if worker is None else [opened for opened, _, _ in worker.slots.values()]
    return WorkerReport(
        name=post.name,
        device=placement.device,
        state=post.state.value,
        activity=None if beat is None else beat.activity,
        states=STATES,
        pid=None if worker is None else worker.process.pid,
        ends={kind.value: post.history.ends[kind] for kind in EndKind},
        last_end=None if end is None else end.what,
        load_seconds=post.history.load_seconds,
        libraries=post.about.get("libraries", {}),
        phases=post.about.get("phases", {}),
        busy_seconds=busy,
        finished=post.history.finished + (0 if worker is None else worker.finished),
        running=running,
        last_progress_seconds=0.0 if beat is None else beat.last_progress_seconds,
        groups=0 if worker is None else worker.dispatcher.load,
        calls=0 if worker is None else len(worker.calls),
        open_streams=sum(streams),
        memory=None if worker is None else _resident_bytes(worker.process.pid),
        device_memory={} if worker is None else _memory(worker, placement),
    )


def _running(worker: RemoteWorker, now: float) -> tuple[str, float] | None:
    job = worker.current
    return None if job is None else (job.operation.name, max(now - worker.since, 0.0))


def _memory(worker: RemoteWorker, placement: Placement) -> dict[str, DeviceMemory]:
    """Return the memory of the devices that a worker uses, by the names that this process has."""
    return {
        placement.device if name == placement.told else name: DeviceMemory(*kinds)
        for name, kinds in worker.device_memory.items()
    }


def _resident_bytes(pid: int) -> int | None:
    """Return what a process has of memory, with what it shares; None if that is not known."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1])
    except (OSError, ValueError, IndexError):  # it has ended, or this is not Linux
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")
