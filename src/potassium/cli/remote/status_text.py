"""What a server does, as people read it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from potassium.cli.remote.job_text import COLOURS, now
from potassium.cli.remote.terminal import seconds_shown, styled, table

__all__ = ["Seen", "lines"]

STATES = {"ready": "green", "starting": "cyan", "draining": "yellow"}  # any other is red
WORKER_STATES = {"ready": "green", "loading": "cyan", "waiting": "cyan", "paused": "yellow"}
ACTIVITIES = {"idle": None, "busy": "blue"}
NAME = 12  # characters
SLOW = 0.1  # seconds from which a first call matters


@dataclass(frozen=True)
class Seen:
    """A status document, and when it was seen.

    Attributes:
        document: as the server sent it.
        at: monotonic seconds.

    """

    document: Mapping[str, Any]
    at: float


def lines(url: str, seen: Seen, before: Seen | None) -> Iterator[str]:
    """Yield lines about a server; with rates since ``before``, if there is one."""
    document = seen.document
    state = document["state"]
    up = _since(document.get("started_at"))
    yield "  ".join(
        [
            styled(document.get("name", ""), bold=True),
            styled(state, fg=STATES.get(state, "red"), bold=True),
            url,
            *([] if up is None else [f"up {seconds_shown(up)}"]),
        ]
    )
    workers = document.get("workers") or []
    yield _row("workers" if workers else "GPU thread", _activity(document))
    yield _row("queue", _queue(document))
    yield _row("open", _open(document))
    yield _row("calls", _calls(seen, before))
    yield from _workers(workers, before, seen)
    yield from _handlers(document)
    yield from _stored(document)
    yield from _startup(document.get("startup") or {})


def _row(name: str, value: str) -> str:
    return f"{name:<{NAME}}{value}"


def _activity(document: Mapping[str, Any]) -> str:
    activity = document.get("activity", "")
    shown = styled(activity, fg=ACTIVITIES.get(activity, "red"))
    if activity == "idle":
        return shown
    parts = []
    if running := document.get("running"):
        parts.append(f"{running['handler']} for {seconds_shown(running['for'] / 1000)}")
    elif step := document.get("oldest_step"):
        parts.append(f"a step of {step}")
    since = seconds_shown(document.get("last_progress_seconds", 0.0))
    return ", ".join([shown, *parts, f"last progress {since} ago"])


def _queue(document: Mapping[str, Any]) -> str:
    queue = document.get("queue") or {}
    limit = "" if queue.get("limit") is None else f" of {queue['limit']}"
    waits = (document.get("estimated_wait") or {}).values()
    expected = f", a new call waits about {_ms(max(waits))}" if any(waits) else ""
    return f"{queue.get('length', 0)}{limit} waiting{expected}"


def _open(document: Mapping[str, Any]) -> str:
    streams, stalled = document.get("open_streams", 0), document.get("stalled_streams", 0)
    calls = f"calls without a result {document['open_calls']}, " if "open_calls" in document else ""
    behind = f", {stalled} of them waiting for their clients" if stalled else ""
    return f"{calls}streams {streams}{behind}"


def _calls(seen: Seen, before: Seen | None) -> str:
    counts = seen.document.get("counts") or {}
    shown = ", ".join(f"{count:,} {name}" for name, count in counts.items())
    if before is None or seen.at <= before.at:
        return shown
    earlier = before.document.get("counts") or {}
    seconds = seen.at - before.at
    rates = [
        f"{max(counts.get(name, 0) - earlier.get(name, 0), 0) / seconds:,.0f}/s {name}"
        for name in ("succeeded", "failed", "refused")
        if counts.get(name, 0) > earlier.get(name, 0)
    ]
    return f"{shown} ({', '.join(rates) or 'none now'})"


def _handlers(document: Mapping[str, Any]) -> Iterator[str]:
    """Yield a table with what is known of each handler: how long it takes, and its queue."""
    times, lanes = document.get("service_time") or {}, document.get("lanes") or {}
    waits = document.get("estimated_wait") or {}
    rows = [
        (
            path,
            _ms(times[path]) if path in times else "",
            _ms(waits[path]) if path in waits else "",
            f"{lanes[path]['length']} of {lanes[path]['limit']}" if path in lanes else "",
        )
        for path in dict.fromkeys([*times, *lanes])
    ]
    if rows:
        yield ""
        yield from table([("HANDLER", "TAKES", "WAIT", "OWN QUEUE"), *rows], (1, 2, 3))
        yield ""


def _workers(workers: Sequence[Any], before: Seen | None, seen: Seen) -> Iterator[str]:
    """Yield a table of the workers, and below it what has happened to those that have ended."""
    if not workers:
        return
    earlier = {one["name"]: one for one in (before.document.get("workers") or [])} if before else {}
    rows = [
        (
            one["name"],
            styled(one["state"], fg=WORKER_STATES.get(one["state"], "red")),
            _runs(one),
            _busy(one, earlier.get(one["name"]), before, seen),
            f"{one['finished']:,}",
            f"{one['open_streams']:,}",
            _memory(one),
            f"{sum(one['ends'].values()):,}",
        )
        for one in workers
    ]
    yield ""
    heads = ("WORKER", "STATE", "RUNS", "BUSY", "CALLS", "STREAMS", "MEMORY", "ENDS")
    yield from table([heads, *rows], (3, 4, 5, 6, 7))
    for one in workers:
        if one["last_end"] is not None:
            yield f"{one['name']}: the last one {one['last_end']}"
    yield ""


def _runs(worker: Mapping[str, Any]) -> str:
    running = worker["running"]
    if running is None:
        return worker["activity"] or ""
    return f"{running['handler']} for {_ms(running['for'])}"


def _busy(
    worker: Mapping[str, Any], earlier: Mapping[str, Any] | None, before: Seen | None, seen: Seen
) -> str:
    """Return the share of the time that a worker was busy since ``before``."""
    if earlier is None or before is None or seen.at <= before.at:
        return ""
    spent = worker["busy_seconds"] - earlier["busy_seconds"]
    return f"{min(max(spent / (seen.at - before.at), 0.0), 1.0):.0%}"


def _memory(worker: Mapping[str, Any]) -> str:
    """Return what a worker takes of the machine's memory, and of its devices'."""
    sizes = [worker["memory"], *(one["reserved"] for one in worker["device_memory"].values())]
    return " + ".join(f"{size / 2**30:.1f} GiB" for size in sizes if size)


def _stored(document: Mapping[str, Any]) -> Iterator[str]:
    if jobs := document.get("jobs"):
        shown = [
            styled(f"{n:,} {status}", fg=COLOURS.get(status)) for status, n in jobs.items() if n
        ]
        yield _row("jobs", ", ".join(shown) or "none")
    if webhooks := document.get("webhooks"):
        attempts = webhooks.get("attempts") or {}
        parts = [f"{webhooks.get('waiting'):,} waiting"] if webhooks.get("waiting") else []
        parts += [f"{n:,} attempts {name.replace('_', ' ')}" for name, n in attempts.items() if n]
        parts += [f"{webhooks['dropped']:,} dropped"] if webhooks.get("dropped") else []
        if parts:
            yield _row("webhooks", ", ".join(parts))


def _startup(startup: Mapping[str, Any]) -> Iterator[str]:
    if startup.get("seconds") is None:
        return
    phases = [f"{name} {seconds_shown(took)}" for name, took in startup.get("phases", {}).items()]
    yield _row("start", f"{seconds_shown(startup['seconds'])}: {', '.join(phases)}")
    for path, first in startup.get("first_calls", {}).items():
        if first["seconds"] < SLOW:
            continue
        later = first.get("later_seconds")
        then = "" if later is None else f", the next ones {seconds_shown(later)}"
        yield _row("", f"first call of {path} {seconds_shown(first['seconds'])}{then}")


def _since(started_at: str | None) -> float | None:
    if started_at is None:
        return None
    return max((now() - datetime.fromisoformat(started_at)).total_seconds(), 0.0)


def _ms(milliseconds: float) -> str:
    return seconds_shown(milliseconds / 1000)
